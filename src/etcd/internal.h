/*
 * Between the files of etcd/: what a request must be answered with, encoding, decoding, and the
 * requests that are under way.
 */
#ifndef ZB_ETCD_INTERNAL_H
#define ZB_ETCD_INTERNAL_H

#include <stdlib.h>

#include <curl/curl.h>

#include "base/log.h"
#include "etcd/etcd.h"

/* p, or the end of the process when it is NULL. */
static inline void *
must(void *p)
{
    if (p == NULL) {
        zb_out_of_memory();
    }
    return p;
}

/* The texts that a NULL may stand for are NULL. */
struct zb_etcd_identity {
    char *ca, *cert, *key;
    char *user, *password;
};

struct zb_etcd_request;

struct zb_etcd {
    uv_timer_t deadline;    /* the earliest of a request, or now: callbacks are due */
    uv_timer_t curl_timer;  /* when libcurl wants to be called */
    uint32_t closing_count; /* handles that are not closed yet */
    bool freed;
    CURLM *multi;
    char endpoints[ZB_ETCD_ENDPOINTS_MAX][ZB_ETCD_ENDPOINT_SIZE];
    uint32_t endpoints_count;
    uint32_t endpoint; /* the next attempt goes there */
    struct zb_etcd_identity identity;
    uint32_t request_ms;
    char *token;           /* of a login; NULL: none */
    bool login_not_needed; /* etcd said so: RBAC is off */
    uint64_t cluster_id;   /* of the last answer, with the highest raft term of it */
    uint64_t raft_term;
    uint64_t ids_count;
    uint32_t running_count;
    struct zb_etcd_request **requests; /* in the order of their ids */
    size_t requests_count;
};

enum zb_etcd_call {
    ZB_ETCD_CALL_TXN,
    ZB_ETCD_CALL_COMPACT,
};

/* What was asked, as far as the answer is checked against it. Owns its texts. */
struct zb_etcd_asked {
    enum zb_etcd_call call;
    struct {
        uint32_t count;
        struct {
            enum zb_etcd_kind kind;
            char *key;       /* RANGE */
            char *range_end; /* RANGE; NULL: key alone */
        } ops[ZB_ETCD_OPS_MAX];
    } branches[2]; /* failure, success: by "succeeded" */
};

void zb_etcd_asked_close(struct zb_etcd_asked *asked);

/* The body of a request; a heap string. *asked must be zeroed. On failure both are left as they
 * were: ZB_E_USAGE, ZB_E_LIMIT. */
enum zb_rc zb_etcd_txn_encode(const struct zb_etcd_txn *txn, char **body,
                              struct zb_etcd_asked *asked, struct zb_err *err) ZB_CHECKED;
enum zb_rc zb_etcd_compact_encode(int64_t revision, char **body, struct zb_err *err) ZB_CHECKED;
char *zb_etcd_login_encode(const char *user, const char *password);

/* Checks an answer of status 200 against what was asked and fills the fields that hold with ZB_OK;
 * *answer must be zeroed, and is left so on failure: ZB_E_FORMAT. */
enum zb_rc zb_etcd_answer_decode(const char *body, size_t size, const struct zb_etcd_asked *asked,
                                 struct zb_etcd_answer *answer, struct zb_err *err) ZB_CHECKED;
/* Frees the kvs. */
void zb_etcd_answer_close(struct zb_etcd_answer *answer);

/* The token of an answer to a login, a heap string. ZB_E_FORMAT. */
enum zb_rc zb_etcd_login_decode(const char *body, size_t size, char **token,
                                struct zb_err *err) ZB_CHECKED;

/* What an answer with another status than 200 means. */
struct zb_etcd_refusal {
    enum zb_rc rc;         /* as of struct zb_etcd_answer */
    bool token;            /* a (new) token is needed, then it may be done */
    bool login_not_needed; /* RBAC is off */
    char text[200];        /* printable ASCII */
};

void zb_etcd_refusal_decode(long status, const char *body, size_t size,
                            struct zb_etcd_refusal *refusal);

/* ZB_E_USAGE unless it is as struct zb_etcd_options says. */
enum zb_rc zb_etcd_endpoint_check(const char *endpoint, bool *tls, struct zb_err *err) ZB_CHECKED;

enum zb_etcd_state {
    ZB_ETCD_LOGIN, /* a token is asked for */
    ZB_ETCD_CALL,  /* the request itself is sent */
    ZB_ETCD_DONE,  /* its callback is due */
};

struct zb_etcd_request {
    struct zb_etcd *etcd;
    uint64_t id;
    enum zb_etcd_state state;
    zb_etcd_cb *cb;
    void *ctx;
    uint64_t deadline_ms; /* of uv_now */
    uint32_t endpoint;
    bool logged_in; /* by this request: not twice */
    struct zb_etcd_asked asked;
    char *body;
    struct zb_etcd_answer answer;
    /* The transfer under way; NULL and zero without one. */
    CURL *easy;
    struct curl_slist *headers;
    char *login; /* its body */
    char *token; /* that it goes with */
    bool sent;   /* at least begun: what was not is certainly not done */
    char *got;   /* the answer's body */
    size_t got_size;
    bool got_too_much;
    char reason[CURL_ERROR_SIZE];
};

/* etcd.c: the end of a request, whose callback comes out of the loop. */
void zb_etcd_request_finish(struct zb_etcd_request *r, enum zb_rc rc, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* attempt.c: sends the request, after a login where one is needed. It ends in
 * zb_etcd_request_finish. */
void zb_etcd_attempt_begin(struct zb_etcd_request *r);
/* Ends the transfer, if there is one, wherever it stands. */
void zb_etcd_attempt_end(struct zb_etcd_request *r);
/* The transfer came to its end. */
void zb_etcd_attempt_done(struct zb_etcd_request *r, CURLcode code);

/* multi.c: libcurl on the loop. ZB_E_FAILED. */
enum zb_rc zb_etcd_multi_open(struct zb_etcd *etcd, struct zb_err *err) ZB_CHECKED;
/* No transfer may be under way. */
void zb_etcd_multi_close(struct zb_etcd *etcd);

/* Wipes and frees; NULL is fine. */
void zb_etcd_secret_free(char *text);

#endif
