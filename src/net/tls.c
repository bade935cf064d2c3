#include "net/tls.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/log.h"
#include "net/x509.h"

/* AES-128 first: a quarter faster than AES-256 and no weaker in practice. */
#define CIPHERS "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define READ_BUFFER (64u << 10) /* of OpenSSL, per connection: one read(2) for several records */
#define EXPORTER_LABEL "EXPORTER-zbaton-join"

static SSL_CTX *
context_new(const SSL_METHOD *method)
{
    SSL_CTX *ctx = SSL_CTX_new(method);
    if (ctx == NULL || SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(ctx, CIPHERS) != 1 || SSL_CTX_set_num_tickets(ctx, 0) != 1) {
        zb_out_of_memory(); /* or not the library that we were built with */
    }
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_default_read_buffer_len(ctx, READ_BUFFER);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    return ctx;
}

static bool
identity_use(SSL_CTX *ctx, X509 *ca, X509 *cert, EVP_PKEY *key)
{
    return SSL_CTX_use_certificate(ctx, cert) == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1 &&
           X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), ca) == 1;
}

enum zb_rc
zb_tls_init(struct zb_tls *tls, struct zb_pem ca, struct zb_pem cert, struct zb_pem key,
            struct zb_err *err)
{
    X509 *ca_x509 = NULL, *x509 = NULL;
    EVP_PKEY *pkey = NULL;
    enum zb_rc rc = zb_x509_cert_load(ca, &ca_x509, err);

    if (rc == ZB_OK) {
        rc = zb_x509_cert_load(cert, &x509, err);
    }
    if (rc == ZB_OK) {
        rc = zb_x509_key_load(key, &pkey, err);
    }
    if (rc != ZB_OK) {
        goto out;
    }
    struct zb_tls made = {context_new(TLS_server_method()), context_new(TLS_client_method())};
    /* The server sends the CA too: a joiner knows only its fingerprint. */
    if (!identity_use(made.server, ca_x509, x509, pkey) ||
        !identity_use(made.client, ca_x509, x509, pkey) ||
        SSL_CTX_add1_chain_cert(made.server, ca_x509) != 1) {
        rc = zb_x509_err(err, ZB_E_FAILED, cert.name);
        zb_tls_close(&made);
        goto out;
    }
    *tls = made;
out:
    EVP_PKEY_free(pkey);
    X509_free(x509);
    X509_free(ca_x509);
    return rc;
}

void
zb_tls_close(struct zb_tls *tls)
{
    SSL_CTX_free(tls->server);
    SSL_CTX_free(tls->client);
    memset(tls, 0, sizeof *tls);
}

/* SSL_CTX_cert_verify_callback: the certificate of the chain with the pinned fingerprint is the
 * only one trusted; everything else is checked as always. */
static int
pinned_verify(X509_STORE_CTX *ctx, void *pinned)
{
    STACK_OF(X509) *chain = X509_STORE_CTX_get0_untrusted(ctx), *trusted = sk_X509_new_null();
    char fingerprint[ZB_FINGERPRINT_SIZE];

    if (trusted == NULL) {
        zb_out_of_memory();
    }
    for (int i = 0; i < sk_X509_num(chain); i++) {
        zb_x509_fingerprint(sk_X509_value(chain, i), fingerprint);
        if (strcmp(fingerprint, pinned) == 0) {
            (void)sk_X509_push(trusted, sk_X509_value(chain, i));
        }
    }
    X509_STORE_CTX_set0_trusted_stack(ctx, trusted);
    int verified = X509_verify_cert(ctx);
    X509_STORE_CTX_set0_trusted_stack(ctx, NULL);
    sk_X509_free(trusted);
    return verified;
}

SSL_CTX *
zb_tls_join_context(char *fingerprint)
{
    SSL_CTX *ctx = context_new(TLS_client_method());
    SSL_CTX_set_cert_verify_callback(ctx, pinned_verify, fingerprint);
    return ctx;
}

SSL *
zb_tls_open(SSL_CTX *ctx, int fd, bool client)
{
    SSL *ssl = SSL_new(ctx);
    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1) {
        zb_out_of_memory();
    }
    if (client) {
        SSL_set_connect_state(ssl);
    } else {
        SSL_set_accept_state(ssl);
    }
    return ssl;
}

void
zb_tls_peer_get(SSL *ssl, struct zb_tls_peer *peer)
{
    memset(peer, 0, sizeof *peer);
    X509 *cert = SSL_get0_peer_certificate(ssl);
    peer->has_cert = cert != NULL;
    if (cert == NULL) {
        return;
    }
    zb_x509_fingerprint(cert, peer->fingerprint);
    if (!zb_x509_common_name(X509_get_subject_name(cert), peer->name, sizeof peer->name) ||
        !zb_node_name_valid(peer->name)) {
        peer->name[0] = '\0';
    }
}

void
zb_tls_binding(SSL *ssl, uint8_t binding[ZB_JOIN_BINDING_SIZE])
{
    if (SSL_export_keying_material(ssl, binding, ZB_JOIN_BINDING_SIZE, EXPORTER_LABEL,
                                   sizeof EXPORTER_LABEL - 1, NULL, 0, 0) != 1) {
        zb_out_of_memory();
    }
}

static void
protocol_reason(SSL *ssl, unsigned long code, char *reason, size_t size)
{
    long verify = SSL_get_verify_result(ssl);
    if (verify != X509_V_OK) {
        (void)snprintf(reason, size, "certificate: %s", X509_verify_cert_error_string(verify));
        return;
    }
    const char *words = ERR_reason_error_string(code);
    if (words != NULL && strstr(words, "alert") != NULL) {
        (void)snprintf(reason, size, "TLS: the other side says: %s", words);
    } else {
        (void)snprintf(reason, size, "TLS: %s", words != NULL ? words : "protocol error");
    }
}

enum zb_tls_status
zb_tls_status(SSL *ssl, int ssl_rc, char *reason, size_t size)
{
    int number = errno;
    int error = SSL_get_error(ssl, ssl_rc);
    unsigned long code = ERR_peek_error();

    ERR_clear_error();
    switch (error) {
    case SSL_ERROR_WANT_READ:
        return ZB_TLS_WANT_READ;
    case SSL_ERROR_WANT_WRITE:
        return ZB_TLS_WANT_WRITE;
    case SSL_ERROR_ZERO_RETURN:
        (void)snprintf(reason, size, "closed by the other side");
        return ZB_TLS_CLOSED;
    case SSL_ERROR_SSL:
        if (ERR_GET_REASON(code) != SSL_R_UNEXPECTED_EOF_WHILE_READING) {
            protocol_reason(ssl, code, reason, size);
            return ZB_TLS_PROTOCOL;
        }
        (void)snprintf(reason, size, "connection lost");
        return ZB_TLS_CLOSED;
    default:
        (void)snprintf(reason, size, "connection lost%s%s", number != 0 ? ": " : "",
                       number != 0 ? strerror(number) : "");
        return ZB_TLS_CLOSED;
    }
}
