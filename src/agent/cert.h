/*
 * The certificate of this node: when it ends, and its renewal while everything goes on.
 *
 * A renewal has four steps: a new key and request are made here, and signed by the node that holds
 * the CA's key; the configuration says that the new certificate is this node's too; it is made
 * durable here (in the history: the files beside it are root's) and used for every connection from
 * then on; the configuration says that it alone is. Ended anywhere, one certificate that the others
 * accept is here; the last step is made up for later.
 *
 * A node that knows neither certificate refuses this one, and no change reaches it any more. So a
 * renewal begins only while every node of the configuration is up, and the third and fourth step
 * wait until each has said that it has that configuration durably: a majority is not enough.
 *
 * The node that holds the CA's key signs for a node what it asked for over its own connection, and
 * nothing else.
 */
#ifndef ZB_AGENT_CERT_H
#define ZB_AGENT_CERT_H

#include <jansson.h>

#include "agent/agent.h"

#define ZB_CERT_SAY_SIZE 96
#define ZB_CERT_META "identity"     /* in the history: {"cert", "key"}, both PEM; "": none */
#define ZB_CERT_WARN_S (30 * 86400) /* before its end it is warned of */

struct zb_certs;

/* Before the net: the certificate that was renewed takes the place of the one in the files, unless
 * that is the newer one. The one in the files is worth nothing then: an error, where the renewed
 * one cannot be used. */
enum zb_rc zb_cert_load(struct zb_agent *a, struct zb_err *err) ZB_CHECKED;
/* Once there is a net and a configuration. */
struct zb_certs *zb_certs_new(struct zb_agent *a);
void zb_certs_close(struct zb_agent *a);

struct zb_cert_order {
    const char *who; /* copied */
    /* It is used from now on; the last step may close connections. */
    void (*on_used)(void *ctx, struct zb_wall ends);
    /* Exactly once, possibly before zb_cert_renew returns, within about a minute and a half. err
     * NULL: it is used from now on, and *ends is when it ends. ZB_E_REFUSED: a node is not up;
     * ZB_E_TIMEOUT: one did not answer, and nothing is changed. */
    void (*on_done)(void *ctx, const struct zb_wall *ends, const struct zb_err *err);
    void *ctx;
};
void zb_cert_renew(struct zb_agent *a, const struct zb_cert_order *order);
/* For the node of that name, which made the request (PEM). *cert for zb_pki_text_free. */
enum zb_rc zb_cert_sign(struct zb_agent *a, const char *node, const char *csr, char **cert,
                        struct zb_err *err) ZB_CHECKED;

/* When this node's ends; 0: not known. */
struct zb_wall zb_cert_ends(const struct zb_agent *a);
/* Of the one that it uses; "": not known. */
const char *zb_cert_fingerprint(const struct zb_agent *a);

/* --- pure --- */

/* "its certificate ends 2026-12-24T06:00:00Z, in 12 days", or that it has ended; false: there is
 * more time than ZB_CERT_WARN_S, or the end is not known (0). text of
 * ZB_CERT_SAY_SIZE. */
bool zb_cert_say(struct zb_wall ends, struct zb_wall now, char *text);

#endif
