/*
 * The acceptor of config_rules.h and its texts, durable in the history.
 */
#ifndef ZB_AGENT_CONFIG_STORE_H
#define ZB_AGENT_CONFIG_STORE_H

#include "agent/config_doc.h"
#include "history/history.h"

struct zb_config_store {
    struct zb_config_acceptor acceptor;
    char *committed_text; /* canonical; owned; NULL: none */
    char *accepted_text;  /* of acceptor.accepted; owned; NULL: none */
};

/* ZB_E_FORMAT when what is stored does not decode. A history without a configuration loads as zero.
 */
enum zb_rc zb_config_store_load(struct zb_history *h, struct zb_config_store *s,
                                struct zb_err *err) ZB_CHECKED;
/* The three steps of an acceptor: the answer, durable when it is YES. On an error of the history
 * nothing changed and nothing may be answered. */
enum zb_rc zb_config_store_ask(struct zb_history *h, struct zb_config_store *s, uint64_t version,
                               const struct zb_config_ballot *ballot, enum zb_config_answer *answer,
                               struct zb_err *err) ZB_CHECKED;
enum zb_rc zb_config_store_propose(struct zb_history *h, struct zb_config_store *s,
                                   const struct zb_config_ballot *ballot,
                                   const struct zb_config_doc *doc, enum zb_config_answer *answer,
                                   struct zb_err *err) ZB_CHECKED;
/* *news: it was not known. ZB_E_MISMATCH: the same version with another text. */
enum zb_rc zb_config_store_commit(struct zb_history *h, struct zb_config_store *s,
                                  const struct zb_config_doc *doc, bool *news,
                                  struct zb_err *err) ZB_CHECKED;
void zb_config_store_close(struct zb_config_store *s);

#endif
