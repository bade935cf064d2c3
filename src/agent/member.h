/*
 * Who is a node: tokens, joins, what nodes tell of themselves ("node.info" at peer up).
 *
 * A token is issued and honoured only by a node that holds the CA's key. Its record (no secret in
 * it) is durable in the history before the token is told, and marked used before a certificate is
 * signed: a crash in between wastes the token, it never gives two certificates.
 */
#ifndef ZB_AGENT_MEMBER_H
#define ZB_AGENT_MEMBER_H

#include "agent/agent.h"
#include "net/join.h"

#define ZB_TOKENS_MAX 64 /* kept; an expired or used one makes room, else ZB_E_LIMIT */
#define ZB_TOKEN_LIFETIME_MAX_S (30 * 86400)

/* Loads the tokens. */
enum zb_rc zb_member_init(struct zb_agent *a, struct zb_err *err) ZB_CHECKED;
void zb_member_close(struct zb_agent *a);
void zb_member_peer_up(struct zb_agent *a, uint8_t node);
/* net's on_join: checks the token, signs, adds the node to the configuration (a majority must
 * agree), answers. */
void zb_member_join(struct zb_agent *a, const struct zb_join_request *request);

/* What a node told of itself; "" while unknown. */
const char *zb_member_version(const struct zb_agent *a, uint8_t node);
const char *zb_member_root(const struct zb_agent *a, uint8_t node);         /* dataset */
struct zb_wall zb_member_cert_ends(const struct zb_agent *a, uint8_t node); /* 0: not known */
bool zb_member_is_issuer(const struct zb_agent *a, uint8_t node);           /* holds the CA's key */

/* --- tokens (cmd_token.c) --- */

struct zb_member_token {
    struct zb_token_record record;
    char used_by[ZB_NODE_NAME_SIZE]; /* "" */
};

/* Those kept, oldest first; borrowed. */
const struct zb_member_token *zb_member_tokens(const struct zb_agent *a, uint32_t *count);
/* Durable, or unchanged on an error. */
enum zb_rc zb_member_token_add(struct zb_agent *a, const struct zb_token_record *record,
                               struct zb_err *err) ZB_CHECKED;
/* ZB_E_NOTFOUND. */
enum zb_rc zb_member_token_remove(struct zb_agent *a, const char *id,
                                  struct zb_err *err) ZB_CHECKED;
/* ZB_OK where the CA's key is; ZB_E_REFUSED with a hint where it is otherwise. */
enum zb_rc zb_member_issuer_check(const struct zb_agent *a, struct zb_err *err) ZB_CHECKED;

#endif
