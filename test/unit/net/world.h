/*
 * A cluster in one loop: a CA, hosts with certificates and nets that record what they are told.
 * Also a raw TLS client, for what a net would never send.
 */
#ifndef ZB_TEST_NET_WORLD_H
#define ZB_TEST_NET_WORLD_H

#include "unit.h"

#include <jansson.h>
#include <openssl/ssl.h>
#include <uv.h>

#include "net/net.h"
#include "wire/frame.h"

#define WORLD_CLUSTER "11111111-2222-4333-8444-555555555555"
#define WORLD_OTHER_CLUSTER "99999999-2222-4333-8444-555555555555"

struct world {
    uv_loop_t loop;
    char *ca_cert;
    char *ca_key;
};

enum host_callback {
    HOST_NONE,
    HOST_MESSAGE,
    HOST_DOWN,
    HOST_STREAM,
    HOST_END,
    HOST_REPLY,
    HOST_CLOSED,
};

/* A stream as a test sees it, on either side. */
struct flow {
    struct zb_stream *stream;
    struct host *host; /* of this side; the sender's may be NULL */
    int replies;
    int ends;
    int closes;
    bool behind; /* closed because the others of its source go on without it */
    int drains;
    json_t *reply;
    json_t *end;
    json_t *header;
    char reason[256];
};

#define HOST_FLOWS_MAX 64

struct host {
    struct world *world;
    struct zb_net *net;
    char name[ZB_NODE_NAME_SIZE];
    char address[ZB_ADDRESS_SIZE];
    char fingerprint[ZB_FINGERPRINT_SIZE];
    char *key;
    char *cert;
    struct zb_net_timing timing;
    const char *cluster_id;
    enum host_callback free_in; /* this callback frees the net */
    int ups;
    int downs;
    int messages;
    int refusals;
    int joins;
    json_t *message; /* the last one */
    char down_reason[256];
    char refused_reason[256];
    void (*on_flow)(struct host *host, struct flow *flow); /* what to do with an accepted stream */
    int flows_count;
    struct flow flows[HOST_FLOWS_MAX]; /* accepted */
    void (*on_join)(struct host *host, const struct zb_join_request *request);
};

void world_open(struct world *w);
void world_close(struct world *w); /* runs the loop empty; asserts that it gets empty */
void world_step(struct world *w);
uint64_t world_now_ms(void);

/* Runs the loop until the condition holds; fails after 30 s. */
#define WAIT(w, condition)                                                                         \
    do {                                                                                           \
        uint64_t wait_end_ms = world_now_ms() + 30000;                                             \
        while (!(condition)) {                                                                     \
            if (world_now_ms() > wait_end_ms) {                                                    \
                fail_msg("waited 30 s for: %s", #condition);                                       \
            }                                                                                      \
            world_step(w);                                                                         \
        }                                                                                          \
    } while (0)

/* Asserts that a text has these words, and shows it where it has not. text may be NULL. */
void assert_about(const char *text, const char *words);

/* Key and certificate of a node, signed by the world's CA. */
void host_init(struct host *h, struct world *w, const char *name);
void host_start(struct host *h);
void host_stop(struct host *h);
void host_close(struct host *h);
/* Makes `to` the only peer of `of`. */
void host_knows(struct host *of, const struct host *to);
/* A world with the hosts alfa and bravo, not started. */
void pair_init(struct world *w, struct host *a, struct host *b);
/* Both are up with each other: a dials b. */
void pair_start(struct world *w, struct host *a, struct host *b);
/* Both in one. */
void pair_open(struct world *w, struct host *a, struct host *b);
void pair_close(struct world *w, struct host *a, struct host *b);

extern const struct zb_stream_callbacks flow_callbacks; /* ctx: the flow */
void flow_close(struct flow *f);
/* Opens a stream to `to`, header {"n": n}. */
void flow_open(struct host *from, const struct host *to, struct flow *f, int n);
void flow_finish(struct flow *f);
/* The default of on_flow: a sink whose reader has left. What comes is swallowed. */
void flow_swallow(struct host *h, struct flow *f);

/* A TLS client driven by hand while the loop runs. cert may be NULL. */
struct raw {
    struct world *world;
    SSL_CTX *ctx;
    SSL *ssl;
    int fd;
};
void raw_connect(struct raw *r, struct world *w, const char *address);
/* False: the handshake failed. */
bool raw_tls(struct raw *r, const char *ca, const char *cert, const char *key);
void raw_send(struct raw *r, const void *bytes, size_t size);
void raw_frame(struct raw *r, enum zb_frame_type type, const char *payload);
/* The next frame's JSON, or NULL when the connection ends before. */
json_t *raw_json(struct raw *r);
/* Runs the loop until the other side closed. */
void raw_wait_closed(struct raw *r);
void raw_close(struct raw *r);

#endif
