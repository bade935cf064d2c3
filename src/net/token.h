/*
 * The joiner's half of the proof; for join_client.c. The rest of tokens is in join.h.
 */
#ifndef ZB_NET_TOKEN_H
#define ZB_NET_TOKEN_H

#include "net/join.h"

/* Fills proof from the token's secret and all other fields but id and from. */
void zb_join_request_sign(struct zb_join_request *request, const struct zb_token *token);

#endif
