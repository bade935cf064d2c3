/*
 * A cluster's certificates, and the other end of a TLS connection in the same process, for what
 * bytes of a peer can do behind the handshake.
 */
#ifndef ZB_TEST_FUZZ_TLS_PEER_H
#define ZB_TEST_FUZZ_TLS_PEER_H

#include <openssl/ssl.h>
#include <uv.h>

#include "net/net.h"

#define FUZZ_CLUSTER_ID "11111111-2222-4333-8444-555555555555"

/* One identity; texts are PEM and live as long as the process. */
struct fuzz_identity {
    char *key;
    char *cert;
};

/* The one cluster of the process, made at the first call. */
struct fuzz_pki {
    char *ca_cert;
    char *ca_key;
    char ca_fingerprint[ZB_FINGERPRINT_SIZE];
};
const struct fuzz_pki *fuzz_pki(void);
void fuzz_identity_make(struct fuzz_identity *identity, const char *node);

struct fuzz_tls {
    SSL *ssl; /* NULL: no connection */
    int fd;
};

/* A connection that net has accepted, with the handshake done. ctx: a client's context. */
void fuzz_tls_open(struct fuzz_tls *tls, struct zb_net *net, uv_loop_t *loop, SSL_CTX *ctx);
/* Sends the bytes while the loop runs; what comes back is thrown away. False: the other side has
 * closed. */
bool fuzz_tls_send(struct fuzz_tls *tls, uv_loop_t *loop, const void *bytes, size_t size);
/* The same with a frame's header in front. */
bool fuzz_tls_frame(struct fuzz_tls *tls, uv_loop_t *loop, enum zb_frame_type type,
                    const void *payload, size_t size);
void fuzz_tls_close(struct fuzz_tls *tls);
/* Lets the loop do all that can be done without waiting. */
void fuzz_loop_settle(uv_loop_t *loop);

#endif
