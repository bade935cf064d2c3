/*
 * TLS 1.3 as the peers speak it: one CA, mutual certificates, no tickets, no sessions.
 */
#ifndef ZB_NET_TLS_H
#define ZB_NET_TLS_H

#include <openssl/ssl.h>

#include "net/join.h"
#include "net/pki.h"

#define ZB_TLS_REKEY_BYTES (1ull << 30) /* far below the 2^24.5 records of RFC 8446 5.5 */

struct zb_tls {
    SSL_CTX *server;
    SSL_CTX *client;
};

/* Who is at the other end: certificate of our CA (the handshake saw to that). */
struct zb_tls_peer {
    bool has_cert;
    char name[ZB_NODE_NAME_SIZE]; /* the CN, or empty when it is not a node name */
    char fingerprint[ZB_FINGERPRINT_SIZE];
};

/* Contexts for both directions. *tls zero before, unchanged on errors. ZB_E_FORMAT and the like
 * naming the file. A server context takes clients without a certificate too: they may only join. */
enum zb_rc zb_tls_init(struct zb_tls *tls, struct zb_pem ca, struct zb_pem cert, struct zb_pem key,
                       struct zb_err *err) ZB_CHECKED;
void zb_tls_close(struct zb_tls *tls);

/* A client context for joining: no certificate of ours, and the server's chain must end in a CA of
 * this fingerprint, or the handshake fails before anything of ours but the ClientHello was sent.
 * fingerprint is borrowed for the life of the context, and not changed. */
SSL_CTX *zb_tls_join_context(char *fingerprint);

/* One connection on a non-blocking socket (which stays the caller's). */
SSL *zb_tls_open(SSL_CTX *ctx, int fd, bool client);

/* After the handshake. */
void zb_tls_peer_get(SSL *ssl, struct zb_tls_peer *peer);
/* Secret of both ends of this connection only (RFC 9266). */
void zb_tls_binding(SSL *ssl, uint8_t binding[ZB_JOIN_BINDING_SIZE]);

/* Outcome of a failed SSL call; ssl_rc is what it returned. */
enum zb_tls_status {
    ZB_TLS_WANT_READ,
    ZB_TLS_WANT_WRITE,
    ZB_TLS_CLOSED,   /* the other side closed or the connection broke: reason says how */
    ZB_TLS_PROTOCOL, /* TLS itself refused: other CA, garbage, alert: reason says which */
};
/* reason of size bytes is filled for the last two. Empties OpenSSL's error queue. */
enum zb_tls_status zb_tls_status(SSL *ssl, int ssl_rc, char *reason, size_t size);

#endif
