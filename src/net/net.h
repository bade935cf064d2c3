/*
 * Peers over TLS 1.3 with mutual certificates, all on one port: JSON messages between every pair
 * of nodes, and streams of bytes (zfs send) beside them.
 *
 * It decides who is a peer, nothing else: what a message or a stream means is the caller's. It
 * opens no file. One libuv loop, one thread; nothing here blocks.
 *
 * Callbacks come only out of the loop, never out of a zb_net_* or zb_stream_* call, so any of these
 * may be called in any callback. Strings and json_t given to a callback are borrowed for the call.
 * json_t given to a function are borrowed too and encoded before it returns.
 *
 * A peer is who has a certificate of this cluster's CA whose CN is the name it claims and the name
 * of an entry of the peers table, with a pinned fingerprint if there is one, and the same cluster
 * id. Everybody else is refused before anything of it is looked at, with an on_refused event. The
 * only thing accepted without a certificate is a join request (join.h).
 *
 * Wire: frames of wire/frame.h. Each connection starts with {"hello":1, "cluster", "node", "kind",
 * "version", "nonce"} from the dialler and one back; {"error": reason} before closing where a
 * reason can be told. In control messages the keys "hello", "error", "ping" and "pong" at the top
 * level are reserved.
 */
#ifndef ZB_NET_NET_H
#define ZB_NET_NET_H

#include <jansson.h>
#include <uv.h>

#include "base/types.h"
#include "net/join.h"
#include "net/pki.h"

#define ZB_NET_VERSION 1
#define ZB_NET_REASON_SIZE 256
/* Queued bytes to a peer; past it the connection is dropped. */
#define ZB_NET_QUEUE_MAX (8u << 20)
/* Accepted connections without a hello; past it the oldest is closed. */
#define ZB_NET_PENDING_MAX 64
/* Data connections per peer and direction; more streams wait ... */
#define ZB_NET_DATA_CONNS_MAX 4
/* ... and past so many per peer are refused, ZB_E_LIMIT. */
#define ZB_NET_STREAMS_WAITING_MAX 1024
/* Payload of a DATA frame; a longer one closes the connection. */
#define ZB_STREAM_CHUNK_MAX (256u << 10)
/* Unsent bytes of a stream; past it zb_stream_write says ZB_E_BUSY. */
#define ZB_STREAM_BUFFER_MAX (512u << 10)
/* Bytes that a stream may be behind the fastest of those that share its source. */
#define ZB_STREAM_LAG_MAX (1u << 20)

struct zb_net;
struct zb_stream;

struct zb_net_peer {
    char name[ZB_NODE_NAME_SIZE];
    char address[ZB_ADDRESS_SIZE];         /* numeric: "10.77.0.1:7979", "[fd00::1]:7979" */
    char fingerprint[ZB_FINGERPRINT_SIZE]; /* pinned certificate, or empty: any of the CA */
    char next[ZB_FINGERPRINT_SIZE];        /* one that takes its place; or empty */
};

struct zb_net_callbacks {
    /* The control connection to peer stands: messages can be sent. Never twice without a down. */
    void (*on_peer_up)(void *ctx, const char *peer);
    void (*on_peer_down)(void *ctx, const char *peer, const char *reason);
    void (*on_message)(void *ctx, const char *peer, json_t *msg);
    /* A stream from peer begins. Must call zb_stream_accept (or zb_stream_abort) before returning;
     * no byte of it is read before zb_stream_pump_to_fd. */
    void (*on_stream)(void *ctx, const char *peer, struct zb_stream *stream, json_t *header);
    /* Somebody wants to join (join.h): answer with zb_net_join_reply or _refuse, now or later.
     * NULL: joins are refused. */
    void (*on_join)(void *ctx, const struct zb_join_request *request);
    /* A connection was refused, by us or by the peer dialled; address is the other side's. The
     * same reason for the same host is told once a minute. */
    void (*on_refused)(void *ctx, const char *address, const char *reason);
};

/* Milliseconds; 0 is the default in the comment. */
struct zb_net_timing {
    uint32_t connect_ms;    /* 5000: until TCP and TLS stand */
    uint32_t hello_ms;      /* 10000: accepted until the hello (or join request) is whole */
    uint32_t ping_ms;       /* 2000: nothing received on control: ping */
    uint32_t dead_ms;       /* 8000: still nothing: down */
    uint32_t redial_min_ms; /* 200: doubled at each failure up to ... */
    uint32_t redial_max_ms; /* 3000 */
    uint32_t watchdog_ms;   /* 60000: no byte of a stream moved; zb_stream_callbacks overrides */
};

/* Texts are copied or parsed; nothing is kept but loop and ctx. */
struct zb_net_options {
    uv_loop_t *loop;
    const char *node;
    const char *cluster_id;
    uint64_t nonce; /* of this start (M5); 0: made here */
    struct zb_pem ca;
    struct zb_pem cert;
    struct zb_pem key;
    const char *listen; /* "0.0.0.0:7979", "[::]:7979"; port 0 picks one */
    struct zb_net_callbacks callbacks;
    void *ctx;
    struct zb_net_timing timing;
};

/* Checks the identity (zb_pki_identity_check), binds and listens; dials nobody before
 * zb_net_peers_set. Sets SIGPIPE to ignored: a lost peer or pipe is an error, not a signal.
 * ZB_E_USAGE, ZB_E_SYS (bind), errors of the identity check. */
enum zb_rc zb_net_new(const struct zb_net_options *options, struct zb_net **out,
                      struct zb_err *err) ZB_CHECKED;
/* Closes everything; no callback comes after it. The memory goes when the loop has run its closing
 * handles (uv_run until it returns 0). NULL is fine. */
void zb_net_free(struct zb_net *net);

/* Where it listens, with the port that was picked. buf of ZB_ADDRESS_SIZE. */
void zb_net_listen_address(const struct zb_net *net, char *buf);

/* Replaces the peers table (own name: ignored). Connections of peers that are gone, whose pin is
 * another certificate now, or whose dialled address changed are closed. All or nothing:
 * ZB_E_USAGE naming the bad entry, ZB_E_LIMIT (ZB_NODES_MAX). */
enum zb_rc zb_net_peers_set(struct zb_net *net, const struct zb_net_peer *peers, size_t count,
                            struct zb_err *err) ZB_CHECKED;

/* New certificate (renewed): checked, then used for connections made from now on. */
enum zb_rc zb_net_identity_set(struct zb_net *net, struct zb_pem ca, struct zb_pem cert,
                               struct zb_pem key, struct zb_err *err) ZB_CHECKED;

/* Queues a message (an object) to a peer that is up; leaves with others of this loop turn.
 * Delivered in order or the peer goes down; delivered does not mean handled. ZB_E_NOTFOUND,
 * ZB_E_CLOSED (not up), ZB_E_LIMIT (longer than ZB_WIRE_FRAME_MAX: nothing happens; or queue over
 * ZB_NET_QUEUE_MAX: the peer goes down). */
enum zb_rc zb_net_send(struct zb_net *net, const char *peer, json_t *msg,
                       struct zb_err *err) ZB_CHECKED;

struct zb_net_peer_status {
    bool up;
    uint64_t nonce;  /* the peer's, from its last hello; 0: never up */
    int64_t up_ms;   /* how long it has been up */
    uint32_t rtt_us; /* of the last ping; 0 unknown */
    size_t queued_bytes;
    uint32_t streams_out; /* under way or waiting */
    uint32_t streams_in;
    char reason[ZB_NET_REASON_SIZE]; /* why it is down or was down last; empty: never was up */
};

/* False: no such peer. */
bool zb_net_peer_status(const struct zb_net *net, const char *peer, struct zb_net_peer_status *out);

/* Answers a join request. cert, CA, cluster and nodes of result go out; the connection closes.
 * ZB_E_CLOSED: it is gone (the joiner gave up). */
enum zb_rc zb_net_join_reply(struct zb_net *net, uint64_t join_id,
                             const struct zb_join_result *result, struct zb_err *err) ZB_CHECKED;
/* Refuses it with a sentence for the operator of the joining node. Fine when it is gone. */
void zb_net_join_refuse(struct zb_net *net, uint64_t join_id, const char *reason);

/*
 * --- Streams ---
 * header, DATA..., END, reply: the sender opens, the receiver replies. One stream at a time on a
 * data connection; connections stay open for the next stream of the same direction. An empty DATA
 * frame says that a limit holds the sender back.
 *
 * Life of the handle: the sender's ends with on_reply or on_closed (gone when the callback
 * returns), the receiver's with zb_stream_reply or on_closed; both with zb_stream_abort. Exactly
 * one of these happens. zb_net_free ends all of them without a callback.
 */
struct zb_stream_callbacks {
    void *ctx;
    uint32_t watchdog_ms; /* no byte moved for so long: on_closed; 0 is the net's */
    /* Sender, after ZB_E_BUSY: half of the buffer is free. May be NULL if zb_stream_write is not
     * used. */
    void (*on_drain)(void *ctx, struct zb_stream *stream);
    /* Sender: the answer. May come before the end was sent: the receiver does not want more, the
     * source was closed and the connection stays good. */
    void (*on_reply)(void *ctx, struct zb_stream *stream, json_t *reply);
    /* Receiver: END came, every byte is in the pipe, the pipe is closed. */
    void (*on_end)(void *ctx, struct zb_stream *stream, json_t *end);
    /* Connection lost, peer removed, watchdog: no reply will come. Pipes are closed. */
    void (*on_closed)(void *ctx, struct zb_stream *stream, const char *reason);
};

/* Opens a stream to a peer that is up: on an idle data connection, on a new one, or when
 * ZB_NET_DATA_CONNS_MAX are busy as soon as one is free, in order. *out can be written to at once.
 * ZB_E_NOTFOUND, ZB_E_CLOSED (peer not up), ZB_E_LIMIT. */
enum zb_rc zb_stream_open(struct zb_net *net, const char *peer, json_t *header,
                          const struct zb_stream_callbacks *callbacks, struct zb_stream **out,
                          struct zb_err *err) ZB_CHECKED;

/* Sends size bytes (at most ZB_STREAM_CHUNK_MAX), copied: all or nothing. ZB_E_BUSY: the buffer is
 * full, on_drain will come. ZB_E_USAGE after zb_stream_finish or beside a pump. */
enum zb_rc zb_stream_write(struct zb_stream *stream, const void *data, size_t size,
                           struct zb_err *err) ZB_CHECKED;

/* Bytes per second of all streams that are pumped out of here, to all peers together; 0: no limit.
 * Streams under it take turns, so that each gets as much as any other. */
void zb_net_limit_set(struct zb_net *net, uint64_t bytes_per_s);

struct zb_stream_limit {
    uint32_t group;       /* its streams are under one limit, together */
    uint64_t bytes_per_s; /* of the group; 0: no limit */
    bool first; /* waited for: not under the group's limit, before others under the net's */
};

/* A sender's pump is under a limit from now on; beside the net's. A stream that is held back is not
 * stuck: the watchdogs of both sides know. */
void zb_stream_limit_set(struct zb_stream *stream, const struct zb_stream_limit *limit);

/* Sends what comes out of fd (the reading end of a pipe) until its end of file. Takes fd in any
 * case and closes it; makes it non-blocking. A read error closes the stream. */
enum zb_rc zb_stream_pump_from_fd(struct zb_stream *stream, int fd, struct zb_err *err) ZB_CHECKED;

/* Sends the bytes of the source that `with` has, which is read once for both (and all that share
 * it): before its first byte was read. Each may be ZB_STREAM_LAG_MAX bytes behind the fastest; who
 * takes well below half of what the others could, or is waiting for a connection meanwhile, is let
 * go after a few seconds: on_closed with zb_stream_is_behind. ZB_E_USAGE: no source, or it was
 * read. ZB_E_CLOSED. */
enum zb_rc zb_stream_pump_share(struct zb_stream *stream, struct zb_stream *with,
                                struct zb_err *err) ZB_CHECKED;
/* In on_closed: the peer is well, but the others of its source go on without it. */
bool zb_stream_is_behind(const struct zb_stream *stream);

/* Says how it ended: the END frame leaves when the pump's end of file was read and everything was
 * sent. Then the reply is waited for. Once. ZB_E_LIMIT, ZB_E_USAGE. */
enum zb_rc zb_stream_finish(struct zb_stream *stream, json_t *end, struct zb_err *err) ZB_CHECKED;

/* Receiver, inside on_stream: these are the callbacks of this stream. */
void zb_stream_accept(struct zb_stream *stream, const struct zb_stream_callbacks *callbacks);

/* Receiver: writes the bytes into fd (the writing end of a pipe), no faster than it takes them; TCP
 * holds the sender back. Takes fd in any case and closes it after the last byte. When the reading
 * end is closed early, the rest is swallowed and on_end comes as usual: who read knows why. */
enum zb_rc zb_stream_pump_to_fd(struct zb_stream *stream, int fd, struct zb_err *err) ZB_CHECKED;

/* Receiver: answers; the handle is gone on success. Before on_end too (a refusal): then the pipe is
 * closed, the rest swallowed, and the sender stops. ZB_E_LIMIT: too long, nothing happened. */
enum zb_rc zb_stream_reply(struct zb_stream *stream, json_t *reply, struct zb_err *err) ZB_CHECKED;

/* Either side: closes pipe and connection; the handle is gone, no callback comes. The other side
 * gets on_closed. */
void zb_stream_abort(struct zb_stream *stream);

/* Payload bytes moved so far: read from the source, written into the sink. */
uint64_t zb_stream_bytes(const struct zb_stream *stream);

#endif
