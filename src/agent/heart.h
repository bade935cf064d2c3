/*
 * This node's session in etcd: its heartbeats, and what is known of the others' (core/session.h
 * decides; this carries it out). Keys under /zbaton/<cluster id>/: session/<node>, the value a JSON
 * object {"life","id","nonce","timeout_ms","fenced","fingerprint"}; probe/<node>, which says
 * nothing.
 */
#ifndef ZB_AGENT_HEART_H
#define ZB_AGENT_HEART_H

#include <jansson.h>

#include "agent/agent.h"
#include "core/session.h"
#include "etcd/etcd.h"

struct zb_heart;

/* What the engine reads before it gives up root. Zero is none. */
struct zb_heart_secrets {
    char *ca; /* texts; owned */
    char *cert;
    char *key;
    char *password;
};
enum zb_rc zb_heart_secrets_read(const struct zb_conf_node *conf, struct zb_heart_secrets *secrets,
                                 struct zb_err *err) ZB_CHECKED;
void zb_heart_secrets_close(struct zb_heart_secrets *secrets);

/* NULL where no etcd is configured: the functions below accept that. */
enum zb_rc zb_heart_new(struct zb_agent *a, const struct zb_heart_secrets *secrets,
                        struct zb_heart **out, struct zb_err *err) ZB_CHECKED;
/* The memory goes when the loop has run its closing handles. */
void zb_heart_free(struct zb_agent *a);

/* Ends the session such that nobody counts on this node's deadline any more; on_left once, within a
 * few seconds, whether that was done or not. False: there is nothing to end, or it is being ended
 * already: no call comes for this. */
bool zb_heart_leave(struct zb_agent *a, void (*on_left)(void *ctx), void *ctx);

/* The node has been proven not to write at some moment after `after` (M4): by the certificate of
 * its session's end. */
bool zb_heart_is_fenced(const struct zb_agent *a, uint8_t node, struct zb_mono after);
/* The life of its session, as read last. */
enum zb_life zb_heart_life(const struct zb_agent *a, uint8_t node);
/* How long ago it was read that a session is dead, which is dead; and that session's timeout. */
int64_t zb_heart_dead_ms(const struct zb_agent *a, uint8_t node);
uint32_t zb_heart_timeout_ms(const struct zb_agent *a, uint8_t node);
/* Its node is kept from writing once its session is over, and that session is in this etcd (E10).
 */
bool zb_heart_fences(const struct zb_agent *a, uint8_t node);
/* The own session is open and the others' ends are believed: this node may act by itself. */
bool zb_heart_may_judge(const struct zb_agent *a);
/* How long it takes, usually, from a node's last heartbeat until its end is known here. */
uint32_t zb_heart_wait_ms(const struct zb_agent *a);
/* Reads again at once. */
void zb_heart_hurry(struct zb_agent *a);

/* The client of etcd, for the loop's thread, as long as the heart is; NULL where none is
 * configured.
 */
struct zb_etcd *zb_heart_etcd(const struct zb_agent *a);
/* How long ago etcd was read; -1: never. */
int64_t zb_heart_read_ms(const struct zb_agent *a);
/* A node that is known to have its session in another etcd than this one, or in none (E10);
 * ZB_NODE_NONE: there is none. Members or not: who was one may still lead by what another etcd
 * granted. */
uint8_t zb_heart_elsewhere(const struct zb_agent *a);
/* An answer has this node's session as it was known before, or newer: etcd did not go back. kv: of
 * the key session/<this node>. */
bool zb_heart_is_own(const struct zb_agent *a, const struct zb_etcd_kv *kv);

/* Who is told of everything that was read. Embedded in the caller's struct, linked while
 * subscribed; on_read may unsubscribe itself. */
struct zb_heart_reader {
    void (*on_read)(void *ctx);
    void *ctx;
    bool linked;
    struct zb_heart_reader *next;
};
void zb_heart_subscribe(struct zb_agent *a, struct zb_heart_reader *reader);
/* Nothing happens when it is not subscribed. */
void zb_heart_unsubscribe(struct zb_agent *a, struct zb_heart_reader *reader);

/* For status, as doc/control-protocol.md has it;
 * null where no etcd is configured. */
json_t *zb_heart_json(const struct zb_agent *a);

/* Sentences for status: what is not as it should be. */
void zb_heart_warn(const struct zb_agent *a, json_t *warnings);

/* --- pure --- */

json_t *zb_heart_value_json(const struct zb_session_value *value, const char *fingerprint);
/* Strict. A value of another certificate than those given (of its node, "" none) is not fenced: it
 * is of a host that was there before. False: it is none. */
bool zb_heart_value_parse(const char *text, size_t size, const char *fingerprint, const char *next,
                          struct zb_session_value *value);

#endif
