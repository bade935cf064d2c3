#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "net/socket.h"

uint64_t
world_now_ms(void)
{
    return uv_hrtime() / 1000000;
}

void
world_open(struct world *w)
{
    struct zb_err err;
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(zb_pki_ca_create("test", &w->ca_cert, &w->ca_key, &err), ZB_OK);
}

void
world_close(struct world *w)
{
    uint64_t end_ms = world_now_ms() + 5000;
    while (uv_run(&w->loop, UV_RUN_NOWAIT) != 0) {
        assert_true(world_now_ms() < end_ms);
    }
    assert_int_equal(uv_loop_close(&w->loop), 0);
    zb_pki_text_free(w->ca_cert);
    zb_pki_text_free(w->ca_key);
}

void
world_step(struct world *w)
{
    (void)uv_run(&w->loop, UV_RUN_ONCE);
}

/* --- what a host is told --- */

/* True: the test wants the net freed in this callback, and it was. */
static bool
freed(struct host *h, enum host_callback callback)
{
    if (h == NULL || h->free_in != callback) {
        return false;
    }
    host_stop(h);
    return true;
}

static void
on_peer_up(void *ctx, const char *peer)
{
    struct host *h = ctx;
    assert_non_null(peer);
    assert_int_equal(h->ups, h->downs);
    h->ups++;
}

static void
on_peer_down(void *ctx, const char *peer, const char *reason)
{
    struct host *h = ctx;
    assert_non_null(peer);
    h->downs++;
    assert_int_equal(h->ups, h->downs);
    zb_strcopy(h->down_reason, sizeof h->down_reason, reason);
    (void)freed(h, HOST_DOWN);
}

static void
on_message(void *ctx, const char *peer, json_t *msg)
{
    struct host *h = ctx;
    assert_non_null(peer);
    h->messages++;
    json_decref(h->message);
    h->message = json_incref(msg);
    (void)freed(h, HOST_MESSAGE);
}

static void
on_refused(void *ctx, const char *address, const char *reason)
{
    struct host *h = ctx;
    assert_non_null(address);
    h->refusals++;
    zb_strcopy(h->refused_reason, sizeof h->refused_reason, reason);
}

static void
on_join(void *ctx, const struct zb_join_request *request)
{
    struct host *h = ctx;
    h->joins++;
    if (h->on_join != NULL) {
        h->on_join(h, request);
    }
}

static void
on_drain(void *ctx, struct zb_stream *stream)
{
    struct flow *f = ctx;
    assert_ptr_equal(f->stream, stream);
    f->drains++;
}

static void
on_reply(void *ctx, struct zb_stream *stream, json_t *reply)
{
    struct flow *f = ctx;
    assert_ptr_equal(f->stream, stream);
    f->replies++;
    f->reply = json_incref(reply);
    f->stream = NULL;
    (void)freed(f->host, HOST_REPLY);
}

static void
on_end(void *ctx, struct zb_stream *stream, json_t *end)
{
    struct flow *f = ctx;
    struct zb_err err;
    f->ends++;
    f->end = json_incref(end);
    if (freed(f->host, HOST_END)) {
        return;
    }
    json_t *reply = json_pack("{s:b}", "ok", 1);
    assert_int_equal(zb_stream_reply(stream, reply, &err), ZB_OK);
    json_decref(reply);
    f->stream = NULL;
}

static void
on_closed(void *ctx, struct zb_stream *stream, const char *reason)
{
    struct flow *f = ctx;
    assert_ptr_equal(f->stream, stream);
    f->closes++;
    f->behind = zb_stream_is_behind(stream);
    f->stream = NULL;
    zb_strcopy(f->reason, sizeof f->reason, reason);
    (void)freed(f->host, HOST_CLOSED);
}

const struct zb_stream_callbacks flow_callbacks = {
    .on_drain = on_drain,
    .on_reply = on_reply,
    .on_end = on_end,
    .on_closed = on_closed,
};

void
flow_swallow(struct host *h, struct flow *f)
{
    int fds[2];
    struct zb_err err;
    (void)h;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    close(fds[0]);
    enum zb_rc rc = zb_stream_pump_to_fd(f->stream, fds[1], &err);
    assert_true(rc == ZB_OK || rc == ZB_E_CLOSED); /* the sender may have left by now */
}

static void
on_stream(void *ctx, const char *peer, struct zb_stream *stream, json_t *header)
{
    struct host *h = ctx;
    (void)peer;
    if (freed(h, HOST_STREAM)) {
        return;
    }
    assert_true(h->flows_count < HOST_FLOWS_MAX);
    struct flow *f = &h->flows[h->flows_count++];
    memset(f, 0, sizeof *f);
    f->stream = stream;
    f->host = h;
    f->header = json_incref(header);
    struct zb_stream_callbacks callbacks = flow_callbacks;
    callbacks.ctx = f;
    zb_stream_accept(stream, &callbacks);
    if (h->on_flow != NULL) {
        h->on_flow(h, f);
    } else {
        flow_swallow(h, f);
    }
}

/* --- hosts --- */

void
assert_about(const char *text, const char *words)
{
    if (text == NULL || strstr(text, words) == NULL) {
        fail_msg("\"%s\" is not about \"%s\"", text == NULL ? "(nothing)" : text, words);
    }
}

void
host_init(struct host *h, struct world *w, const char *name)
{
    struct zb_err err;
    char *csr = NULL;
    memset(h, 0, sizeof *h);
    h->world = w;
    h->cluster_id = WORLD_CLUSTER;
    h->timing.redial_min_ms = 50;
    h->timing.redial_max_ms = 200;
    zb_strcopy(h->name, sizeof h->name, name);
    assert_int_equal(zb_pki_key_create(&h->key, &err), ZB_OK);
    assert_int_equal(zb_pki_csr_create((struct zb_pem){"key", h->key}, name, &csr, &err), ZB_OK);
    assert_int_equal(zb_pki_sign((struct zb_pem){"ca", w->ca_cert},
                                 (struct zb_pem){"ca key", w->ca_key}, (struct zb_pem){"csr", csr},
                                 name, &h->cert, &err),
                     ZB_OK);
    zb_pki_text_free(csr);
    struct zb_pki_cert_info info;
    assert_int_equal(zb_pki_cert_info((struct zb_pem){"cert", h->cert}, &info, &err), ZB_OK);
    zb_strcopy(h->fingerprint, sizeof h->fingerprint, info.fingerprint);
    zb_strcopy(h->address, sizeof h->address, "127.0.0.1:0");
}

void
host_start(struct host *h)
{
    struct zb_err err = {0};
    struct zb_net_options options = {
        .loop = &h->world->loop,
        .node = h->name,
        .cluster_id = h->cluster_id,
        .ca = {"ca.crt", h->world->ca_cert},
        .cert = {"node.crt", h->cert},
        .key = {"node.key", h->key},
        .listen = h->address,
        .callbacks = {on_peer_up, on_peer_down, on_message, on_stream, on_join, on_refused},
        .ctx = h,
        .timing = h->timing,
    };
    if (zb_net_new(&options, &h->net, &err) != ZB_OK) {
        fail_msg("%s", err.msg);
    }
    zb_net_listen_address(h->net, h->address);
}

void
host_stop(struct host *h)
{
    zb_net_free(h->net);
    h->net = NULL;
}

void
flow_close(struct flow *f)
{
    json_decref(f->reply);
    json_decref(f->end);
    json_decref(f->header);
    memset(f, 0, sizeof *f);
}

void
host_close(struct host *h)
{
    host_stop(h);
    for (int i = 0; i < h->flows_count; i++) {
        flow_close(&h->flows[i]);
    }
    json_decref(h->message);
    zb_pki_text_free(h->key);
    zb_pki_text_free(h->cert);
}

void
host_knows(struct host *of, const struct host *to)
{
    struct zb_err err;
    struct zb_net_peer peer = {0};
    zb_strcopy(peer.name, sizeof peer.name, to->name);
    zb_strcopy(peer.address, sizeof peer.address, to->address);
    zb_strcopy(peer.fingerprint, sizeof peer.fingerprint, to->fingerprint);
    assert_int_equal(zb_net_peers_set(of->net, &peer, 1, &err), ZB_OK);
}

void
pair_init(struct world *w, struct host *a, struct host *b)
{
    world_open(w);
    host_init(a, w, "alfa");
    host_init(b, w, "bravo");
}

void
pair_start(struct world *w, struct host *a, struct host *b)
{
    host_start(a);
    host_start(b);
    host_knows(a, b);
    host_knows(b, a);
    WAIT(w, a->ups == 1 && b->ups == 1);
}

void
pair_open(struct world *w, struct host *a, struct host *b)
{
    pair_init(w, a, b);
    pair_start(w, a, b);
}

void
pair_close(struct world *w, struct host *a, struct host *b)
{
    host_close(a);
    host_close(b);
    world_close(w);
}

void
flow_open(struct host *from, const struct host *to, struct flow *f, int n)
{
    struct zb_err err;
    struct zb_stream_callbacks callbacks = flow_callbacks;
    memset(f, 0, sizeof *f);
    callbacks.ctx = f;
    json_t *header = json_pack("{s:i}", "n", n);
    assert_int_equal(zb_stream_open(from->net, to->name, header, &callbacks, &f->stream, &err),
                     ZB_OK);
    json_decref(header);
}

void
flow_finish(struct flow *f)
{
    struct zb_err err;
    json_t *end = json_pack("{s:b}", "whole", 1);
    assert_int_equal(zb_stream_finish(f->stream, end, &err), ZB_OK);
    json_decref(end);
}

/* --- raw client --- */

void
raw_connect(struct raw *r, struct world *w, const char *address)
{
    struct zb_socket_address to;
    struct zb_err err;
    memset(r, 0, sizeof *r);
    r->world = w;
    assert_int_equal(zb_socket_address_parse(address, &to, &err), ZB_OK);
    assert_int_equal(zb_socket_connect(&to, &r->fd, &err), ZB_OK);
    struct pollfd pfd = {.fd = r->fd, .events = POLLOUT};
    WAIT(w, poll(&pfd, 1, 0) == 1);
}

static X509 *
cert_of(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    assert_non_null(cert);
    return cert;
}

static void
raw_identity(struct raw *r, const char *cert_pem, const char *key_pem)
{
    X509 *cert = cert_of(cert_pem);
    BIO *bio = BIO_new_mem_buf(key_pem, -1);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    assert_int_equal(SSL_CTX_use_certificate(r->ctx, cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(r->ctx, key), 1);
    BIO_free(bio);
    EVP_PKEY_free(key);
    X509_free(cert);
}

/* False: it failed for good. */
static bool
again(struct raw *r, int rc)
{
    int error = SSL_get_error(r->ssl, rc);
    ERR_clear_error();
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
        return false;
    }
    world_step(r->world);
    return true;
}

bool
raw_tls(struct raw *r, const char *ca, const char *cert, const char *key)
{
    r->ctx = SSL_CTX_new(TLS_client_method());
    X509 *root = cert_of(ca);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(r->ctx), root);
    X509_free(root);
    SSL_CTX_set_verify(r->ctx, SSL_VERIFY_PEER, NULL);
    if (cert != NULL) {
        raw_identity(r, cert, key);
    }
    r->ssl = SSL_new(r->ctx);
    SSL_set_fd(r->ssl, r->fd);
    for (;;) {
        int rc = SSL_connect(r->ssl);
        if (rc == 1 || !again(r, rc)) {
            return rc == 1;
        }
    }
}

void
raw_send(struct raw *r, const void *bytes, size_t size)
{
    if (r->ssl == NULL) {
        assert_int_equal(write(r->fd, bytes, size), size);
        return;
    }
    for (;;) {
        int rc = SSL_write(r->ssl, bytes, (int)size);
        if (rc > 0 || !again(r, rc)) {
            return;
        }
    }
}

void
raw_frame(struct raw *r, enum zb_frame_type type, const char *payload)
{
    uint8_t header[ZB_FRAME_HEADER_SIZE];
    zb_frame_header_encode(type, (uint32_t)strlen(payload), header);
    raw_send(r, header, sizeof header);
    raw_send(r, payload, strlen(payload));
}

static bool
raw_read(struct raw *r, void *bytes, size_t size)
{
    size_t got = 0;
    while (got < size) {
        int rc = SSL_read(r->ssl, (char *)bytes + got, (int)(size - got));
        if (rc > 0) {
            got += (size_t)rc;
        } else if (!again(r, rc)) {
            return false;
        }
    }
    return true;
}

json_t *
raw_json(struct raw *r)
{
    uint8_t header[ZB_FRAME_HEADER_SIZE];
    struct zb_frame frame;
    struct zb_err err;
    json_error_t error;
    if (!raw_read(r, header, sizeof header)) {
        return NULL;
    }
    assert_int_equal(zb_frame_header_decode(header, ZB_WIRE_FRAME_MAX, &frame, &err), ZB_OK);
    char *text = calloc(1, frame.payload_size + 1);
    bool whole = raw_read(r, text, frame.payload_size);
    json_t *json = whole ? json_loads(text, 0, &error) : NULL;
    free(text);
    return json;
}

void
raw_wait_closed(struct raw *r)
{
    char byte[256];
    ssize_t got;
    do {
        world_step(r->world);
        got = recv(r->fd, byte, sizeof byte, MSG_DONTWAIT);
    } while (got > 0 || (got < 0 && errno == EAGAIN));
}

void
raw_close(struct raw *r)
{
    SSL_free(r->ssl);
    SSL_CTX_free(r->ctx);
    close(r->fd);
}
