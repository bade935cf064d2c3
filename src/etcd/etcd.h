/*
 * A client of etcd v3 through its JSON gateway: transactions and compaction, nothing else.
 *
 * It has no call that only reads. A transaction without a put is answered by a member from what it
 * happens to have, even when it is cut off or its disk stands still; one with a put goes through
 * the quorum, and what it reads in the same breath is the truth. It has no leases (a lease is not a
 * lock) and no watches.
 *
 * It decides nothing: one call is one attempt at one endpoint, and the answer says what is known of
 * it. After an attempt that failed or whose end is unknown the next one goes to the next endpoint;
 * one that answers is stayed with.
 *
 * One libuv loop, one thread; nothing here blocks and no file is opened. Callbacks come only out of
 * the loop, never out of a zb_etcd_* call, so that any of these may be called in any callback. Out
 * of memory is fail-stop.
 */
#ifndef ZB_ETCD_ETCD_H
#define ZB_ETCD_ETCD_H

#include <uv.h>

#include "base/types.h"

#define ZB_ETCD_ENDPOINTS_MAX 8
#define ZB_ETCD_ENDPOINT_SIZE 96      /* "https://[2001:db8::1]:2379" with NUL */
#define ZB_ETCD_OPS_MAX 16            /* compares, and operations of a branch */
#define ZB_ETCD_REQUESTS_MAX 64       /* under way at once; past it ZB_E_LIMIT */
#define ZB_ETCD_BODY_MAX (1u << 20)   /* of a request; past it ZB_E_LIMIT */
#define ZB_ETCD_ANSWER_MAX (1u << 20) /* of an answer; a longer one is not read: unknown */
#define ZB_ETCD_REQUEST_MS_MAX 6000   /* a member without a quorum answers after 7 s */

struct zb_etcd;

/* Texts are copied. */
struct zb_etcd_options {
    uv_loop_t *loop;
    /* "http://ADDRESS:PORT" or "https://ADDRESS:PORT", numeric, IPv6 in brackets. */
    const char *endpoints[ZB_ETCD_ENDPOINTS_MAX];
    uint32_t endpoints_count;
    /* PEM texts. ca: who may have signed a member's certificate, nobody else is believed; https
     * endpoints need it. cert and key: of this client, both or none. NULL: none. */
    const char *ca;
    const char *cert;
    const char *key;
    /* For RBAC, both or none. A client certificate with a CN does not go with it (the gateway
     * refuses it). NULL: none. */
    const char *user;
    const char *password;
    uint32_t request_ms; /* from the call to its callback, authentication included; 1 to _MS_MAX */
};

/* Sets SIGPIPE to ignored: a lost connection is an error, not a signal. Connects to nobody yet.
 * ZB_E_USAGE naming what is wrong; ZB_E_FAILED (libcurl does not start). */
enum zb_rc zb_etcd_new(const struct zb_etcd_options *options, struct zb_etcd **out,
                       struct zb_err *err) ZB_CHECKED;
/* Ends everything under way; no callback comes after it. The memory goes when the loop has run its
 * closing handles (uv_run until it returns 0). NULL is fine. */
void zb_etcd_free(struct zb_etcd *etcd);

/* Is equal; the branch "success" is run when all are. */
struct zb_etcd_compare {
    const char *key;
    int64_t revision; /* of its last change; 0: it is not there */
};

enum zb_etcd_kind {
    ZB_ETCD_PUT,
    ZB_ETCD_RANGE,
};

struct zb_etcd_op {
    enum zb_etcd_kind kind;
    const char *key;
    const char *value;     /* PUT */
    const char *range_end; /* RANGE: the keys from key to before this; NULL: key alone */
};

struct zb_etcd_txn {
    struct zb_etcd_compare compares[ZB_ETCD_OPS_MAX];
    uint32_t compares_count;
    struct zb_etcd_op success[ZB_ETCD_OPS_MAX];
    uint32_t success_count;
    struct zb_etcd_op failure[ZB_ETCD_OPS_MAX];
    uint32_t failure_count;
};

/* Key and value are followed by a NUL, which the sizes do not count; others may have written a NUL
 * into them too. */
struct zb_etcd_kv {
    char *key;
    size_t key_size;
    char *value;
    size_t value_size;
    int64_t mod_revision;
};

/*
 * rc:
 *   ZB_OK          it was decided by the quorum; all fields hold
 *   ZB_E_TIMEOUT   it may or may not have been done, or be done later: nothing came within
 *                  request_ms (a member that stood still goes on with what it was asked)
 *   ZB_E_CLOSED    it may or may not have been done: the connection ended, etcd said 5xx or that
 *                  its space is used up (it says so after it has written), the answer does not
 *                  decode, or is of a lower raft term than one before
 * and it was certainly not done, and nothing of it is under way:
 *   ZB_E_USAGE     the call itself is wrong: no put in success, bad counts, NULL
 *   ZB_E_LIMIT     too many at once, or too long
 *   ZB_E_FAILED    nobody answers at the endpoint, or a login came to no end
 *   ZB_E_AUTH      one of both does not believe the other, or this user may not do that
 *   ZB_E_REFUSED   etcd does not take such a request
 *   ZB_E_STALE     (compact) that revision is compacted already
 *   ZB_E_UNSUPPORTED  what answers is no etcd with a JSON gateway
 *
 * All is borrowed for the callback.
 */
struct zb_etcd_answer {
    enum zb_rc rc;
    char text[256];       /* what happened, for people; "" with ZB_OK */
    const char *endpoint; /* asked; "" when none was */
    /* With ZB_OK: */
    bool succeeded; /* the compares were all equal */
    uint64_t cluster_id;
    int64_t revision; /* of the store; mod_revision of what a txn that succeeded has put */
    uint64_t raft_term;
    struct zb_etcd_kv *kvs; /* of all ranges of the branch that ran, in their order */
    uint32_t kvs_count;
};

typedef void zb_etcd_cb(void *ctx, const struct zb_etcd_answer *answer);

/* One attempt at one endpoint; txn is encoded before it returns. Exactly one callback, also for
 * what is wrong with the call. The success branch must have a put. */
void zb_etcd_txn(struct zb_etcd *etcd, const struct zb_etcd_txn *txn, zb_etcd_cb *cb, void *ctx);

/* Forgets what was before revision (the versions at it stay). Callback as zb_etcd_txn. */
void zb_etcd_compact(struct zb_etcd *etcd, int64_t revision, zb_etcd_cb *cb, void *ctx);

/* The range_end of all keys that begin with prefix, into buf of size bytes. False when it has none
 * or no room. */
bool zb_etcd_prefix_end(const char *prefix, char *buf, size_t size);

#endif
