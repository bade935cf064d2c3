/*
 * What the files of net share: one net, its peers, connections and streams. All on the loop's
 * thread.
 *
 *   net.c        new, free, peers table, messages out, the tick (deadlines, redial)
 *   conn.c       life of a connection: dial, accept, close, what to poll for, whose turn it is
 *   conn_io.c    its bytes: handshake, reading, frames, writing
 *   hello.c      who is there: hello both ways, refusals
 *   control.c    control connections: messages, ping
 *   stream.c     streams as the caller sees them; stream_assign.c which connection they get
 *   stream_io.c  streams as a data connection sees them: frames, sinks
 *   pipe.c       the other end of a stream: its pipe; a source that several streams share
 *   stream_io.c  streams as a data connection sees them: frames, pipes
 *   limit.c      limits of what streams send: groups, the timer (shaper.c: whose turn it is)
 *   join.c       join requests as they come in (token.c, join_client.c: see join.h)
 *
 * Callbacks come only out of the loop: what an API function finds to do is marked on the
 * connection, which is then woken (zb_conn_wake) and served by the idle handle in the same turn of
 * the loop. That is also what puts several small frames into one TLS record. A connection is never
 * freed under a caller: zb_conn_doom marks it, zb_conn_finish (loop only) tells and closes it, the
 * memory goes in the close callback of its handle, in a later phase of the loop.
 */
#ifndef ZB_NET_INTERNAL_H
#define ZB_NET_INTERNAL_H

#include <sys/queue.h>

#include "net/buf.h"
#include "net/net.h"
#include "net/shaper.h"
#include "net/socket.h"
#include "net/tls.h"

#define ZB_NET_TICK_MS 100
#define ZB_NET_LINGER_MS 1000         /* an error frame's time to arrive before the close */
#define ZB_NET_REFUSAL_QUIET_MS 60000 /* the same refusal is told once in this time */
#define ZB_NET_REFUSALS 16            /* remembered for that */
#define ZB_NET_READ_SIZE (256u << 10) /* input buffer; grows to a frame of ZB_WIRE_FRAME_MAX */
#define ZB_NET_TURN_MAX 8             /* rounds of I/O of a connection before the others' turn */
/* Accepted data connections of a peer; those that die count. */
#define ZB_NET_DATA_IN_MAX (2 * ZB_NET_DATA_CONNS_MAX)

enum zb_conn_state {
    ZB_CONN_CONNECTING, /* TCP; dialled ones only */
    ZB_CONN_HANDSHAKE,  /* TLS */
    ZB_CONN_HELLO,      /* the other side's hello, or its join request, is to come */
    ZB_CONN_OPEN,
    ZB_CONN_JOINING, /* the request is with the agent */
    ZB_CONN_LINGER,  /* last words are leaving; input is thrown away */
    ZB_CONN_DEAD,    /* zb_conn_finish is due */
};

enum zb_conn_kind {
    ZB_CONN_UNKNOWN, /* accepted, no hello yet */
    ZB_CONN_CONTROL,
    ZB_CONN_DATA,
};

struct zb_conn {
    TAILQ_ENTRY(zb_conn) link;
    TAILQ_ENTRY(zb_conn) work_link;
    struct zb_net *net;
    struct zb_peer *peer;     /* known from the start when dialled, else after the hello */
    struct zb_stream *stream; /* data: under way and with a handle */
    enum zb_conn_state state;
    enum zb_conn_kind kind;
    bool dialled;
    bool queued;        /* on net->work */
    bool swallow;       /* data, accepted: replied early, the rest until END is dropped */
    bool opened;        /* has been OPEN */
    bool tls_good;      /* handshake done, no fatal error since: may say goodbye */
    bool read_due;      /* there may be something to read */
    bool write_blocked; /* the socket takes no more */
    uv_poll_t poll;
    int fd;
    int events; /* polled for */
    SSL *ssl;
    struct zb_tls_peer tls_peer;
    struct zb_buf in;
    size_t in_need; /* bytes that the first frame needs in `in`; 0 not known */
    struct zb_buf out;
    size_t data_left;     /* bytes of the current DATA frame still to come */
    uint64_t rekey_bytes; /* sent since the last key update */
    uint64_t id;          /* of its join request */
    uint64_t nonce;       /* the peer's */
    uint64_t deadline_ms; /* until OPEN, and of JOINING and LINGER */
    uint64_t rx_ms;       /* last byte received */
    uint64_t io_ms;       /* last byte moved in either direction */
    uint64_t ping_ms;     /* last ping sent */
    uint64_t ping_us;     /* the same for the round trip; 0: none under way */
    char address[ZB_ADDRESS_SIZE];
    char reason[ZB_NET_REASON_SIZE]; /* why it is dead */
};

TAILQ_HEAD(zb_conn_list, zb_conn);

TAILQ_HEAD(zb_stream_list, zb_stream);

/* One end of a pipe in the loop. A sink is of one stream, a source of one or of several, which get
 * the same bytes. Memory of its own: it outlives its streams by the close callback. */
struct zb_pipe {
    uv_poll_t poll;
    int fd;
    int events;
    bool due; /* may be ready: read or write before polling */
    struct zb_net *net;
    struct zb_stream_list streams; /* at least one until it is closed */
    bool begun;                    /* a byte was read */
    uint64_t judged_ms;            /* shared: who is behind was looked at */
    uint64_t held;                 /* ... and how much somebody held the others up lately */
};

struct zb_stream {
    TAILQ_ENTRY(zb_stream) link;      /* in peer->waiting */
    TAILQ_ENTRY(zb_stream) pipe_link; /* in pipe->streams */
    struct zb_net *net;
    struct zb_peer *peer;
    struct zb_conn *conn;
    struct zb_stream_callbacks callbacks;
    bool sender;
    bool waiting;  /* sender: on peer->waiting */
    bool lost;     /* its last callback is running */
    bool accepted; /* receiver: callbacks are there */
    bool chosen;   /* receiver: there is a sink */
    bool ended;    /* END sent or received */
    bool drain;    /* sender: on_drain is owed */
    bool behind;   /* sender: the others of its source go on without it */
    struct zb_pipe *pipe;
    struct zb_buf early; /* sender, waiting for a connection: what will go out first */
    struct zb_buf end;   /* sender: the END frame, when zb_stream_finish came */
    uint64_t bytes;
    uint64_t start_ms; /* got its connection */
    struct zb_turn turn;
};

struct zb_peer {
    TAILQ_ENTRY(zb_peer) link;
    struct zb_net_peer conf;
    bool removed;             /* out of the table; freed when its connections are */
    struct zb_conn *control;  /* open */
    struct zb_conn *dialling; /* control, under way */
    uint64_t redial_at_ms;
    uint32_t redial_ms; /* last wait; 0 none yet */
    uint64_t nonce;
    uint64_t up_ms;
    uint32_t rtt_us;
    char reason[ZB_NET_REASON_SIZE];
    struct zb_stream_list waiting;
    size_t waiting_count;
};

TAILQ_HEAD(zb_peer_list, zb_peer);

struct zb_refusal {
    char host[ZB_ADDRESS_SIZE];
    char reason[ZB_NET_REASON_SIZE];
    uint64_t told_ms; /* 0: unused */
};

TAILQ_HEAD(zb_limit_group_list, zb_limit_group);

struct zb_net {
    uv_loop_t *loop;
    char node[ZB_NODE_NAME_SIZE];
    char cluster_id[ZB_UUID_SIZE];
    uint64_t nonce;
    struct zb_net_callbacks callbacks;
    void *ctx;
    struct zb_net_timing timing;
    struct zb_tls tls;
    uv_poll_t listener;
    int listen_fd;
    bool listen_paused; /* accept failed (too many files): the next tick tries again */
    char listen_address[ZB_ADDRESS_SIZE];
    uv_timer_t tick;
    uint64_t tick_ms;
    uv_idle_t idle;
    struct zb_shaper shaper;
    struct zb_limit_group_list limit_groups;
    uv_timer_t limit_timer;
    bool streams_due; /* waiting streams want connections */
    bool closing;
    size_t handles; /* not closed yet; the last one frees a closing net */
    uint64_t last_id;
    struct zb_conn_list conns;
    struct zb_conn_list work;
    size_t work_count;
    struct zb_peer_list peers;
    struct zb_refusal refusals[ZB_NET_REFUSALS];
};

/* --- net.c --- */

void *zb_net_alloc(size_t size); /* zeroed; aborts when there is none */
uint64_t zb_net_now(const struct zb_net *net);
/* Not removed ones; NULL. */
struct zb_peer *zb_net_peer_find(const struct zb_net *net, const char *name);
/* Whether the certificate is one of those that the peer may come with. */
bool zb_net_peer_pinned(const struct zb_net_peer *peer, const char *fingerprint);
/* A handle of this net was closed; frees the net when it was the last of a closing one. */
void zb_net_handle_closed(struct zb_net *net);
/* The loop will call the work of woken connections and waiting streams in this turn. */
void zb_net_work_start(struct zb_net *net);
/* Loop only. There is something to do at the next tick, which comes within ZB_NET_TICK_MS also on a
 * quiet net. */
void zb_net_tick_soon(struct zb_net *net);
/* on_refused, unless it was just told. */
void zb_net_refused(struct zb_net *net, const char *address, const char *reason);

/* --- conn.c --- */

/* Begins to connect to the peer's address; *out is on its list of connections. ZB_E_SYS. */
enum zb_rc zb_conn_dial(struct zb_net *net, struct zb_peer *peer, enum zb_conn_kind kind,
                        struct zb_conn **out, struct zb_err *err) ZB_CHECKED;
void zb_conn_accepted(struct zb_net *net, int fd, const struct zb_socket_address *from);
/* To be served in this turn of the loop. From anywhere. */
void zb_conn_wake(struct zb_conn *conn);
/* It is over, for this reason; from anywhere. The first reason stands. */
void zb_conn_doom(struct zb_conn *conn, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Loop only: serves a woken connection, or finishes a dead one: tells peer and stream, closes. */
void zb_conn_work(struct zb_conn *conn);
void zb_conn_finish(struct zb_conn *conn);
/* Closes without telling anybody. */
void zb_conn_destroy(struct zb_conn *conn);
/* What is in `out` should still arrive, then it closes. */
void zb_conn_linger(struct zb_conn *conn);
void zb_conn_tick(struct zb_conn *conn, uint64_t now_ms);

/* --- conn_io.c; loop only --- */

/* One round of handshake, reading, frames and writing. True: another round may be of use. */
bool zb_conn_io(struct zb_conn *conn);

/* --- hello.c; loop only --- */

/* After the handshake: checks who it is; the dialler says hello. */
void zb_hello_begin(struct zb_conn *conn);
/* The first frame: a hello, a join request or an error. */
void zb_hello_frame(struct zb_conn *conn, json_t *json);
/* Tells both sides the reason and closes. */
void zb_hello_refuse(struct zb_conn *conn, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Queues {"error": reason} and closes behind it, without an event. From anywhere. */
void zb_hello_error_send(struct zb_conn *conn, const char *reason);

/* --- control.c; loop only --- */

void zb_control_opened(struct zb_conn *conn);
void zb_control_closed(struct zb_conn *conn);
void zb_control_frame(struct zb_conn *conn, json_t *json);
void zb_control_tick(struct zb_conn *conn, uint64_t now_ms);
/* Dials peers that are due. */
void zb_control_redial(struct zb_net *net, uint64_t now_ms);

/* --- stream.c --- */

struct zb_stream *zb_stream_new(struct zb_net *net, struct zb_peer *peer, bool sender);
/* Closes the pipe and frees; tells nobody. */
void zb_stream_free(struct zb_stream *stream);
/* Loop only: on_closed and free. */
void zb_stream_lost(struct zb_stream *stream, const char *reason);

/* --- pipe.c --- */

#define ZB_PIPE_BEHIND "too slow for the others of its source"

/* The stream's own from now on; takes fd in any case. */
enum zb_rc zb_pipe_open(struct zb_stream *stream, int fd, struct zb_err *err) ZB_CHECKED;
/* The stream gets what comes from now on as well; a source. */
void zb_pipe_share(struct zb_pipe *pipe, struct zb_stream *stream);
/* The connections of its streams are served in this turn of the loop. */
void zb_pipe_wake(const struct zb_pipe *pipe);
/* The stream leaves its pipe, if it has one; it is closed when it was the last. */
void zb_pipe_leave(struct zb_stream *stream);
/* A limit keeps one of its streams, and with it the others, waiting. */
bool zb_pipe_is_limited(const struct zb_pipe *pipe);
/* Loop only. Source: to the buffers of its streams, as far as they take it. True: bytes or the end
 * came. */
bool zb_pipe_read(struct zb_pipe *pipe);
/* Loop only. Polls for what is waited for. */
void zb_pipe_poll_update(struct zb_pipe *pipe, bool source);
/* Loop only, at each tick. Source: lets go who holds the others up. */
void zb_pipe_judge(struct zb_pipe *pipe, uint64_t now_ms);

/* --- stream_assign.c; loop only --- */

/* Gives waiting streams to idle connections, dials more. */
void zb_stream_assign(struct zb_peer *peer, struct zb_net *net);
/* A data connection failed before it was open; without another one the waiting are lost. */
void zb_stream_dial_failed(struct zb_peer *peer, struct zb_net *net, const char *reason);
/* No stream of the peer will get a connection. */
void zb_stream_waiting_lost(struct zb_peer *peer, struct zb_net *net, const char *reason);

/* --- stream_io.c; loop only --- */

/* Source and END to the out buffer. True: something was put there. */
bool zb_stream_source(struct zb_conn *conn);
/* The out buffer got emptier. */
void zb_stream_drained(struct zb_conn *conn);
/* DATA or END may come now. False: not yet; or not at all, then the connection is doomed. */
bool zb_stream_ready(struct zb_conn *conn);
/* A JSON or END frame of an open data connection. */
void zb_stream_frame(struct zb_conn *conn, enum zb_frame_type type, json_t *json);
/* Bytes of a DATA frame: how many were taken. */
size_t zb_stream_sink(struct zb_conn *conn, const uint8_t *bytes, size_t size);
/* Polls the pipe for what is waited for. */
void zb_stream_poll_update(struct zb_conn *conn);
void zb_stream_tick(struct zb_conn *conn, uint64_t now_ms);

/* --- limit.c --- */

void zb_limits_open(struct zb_net *net);
/* When the timer is closed and no stream is left. */
void zb_limits_free(struct zb_net *net);
/* How many bytes the source may be read for now; 0: the connection is woken when it is its turn. */
size_t zb_limit_ask(struct zb_stream *stream);
/* The source gives no more. */
void zb_limit_leave(struct zb_stream *stream);
/* True: it is held back by a limit alone, and the receiver hears from it, so that neither side
 * takes it for stuck. */
bool zb_limit_tick(struct zb_conn *conn, uint64_t now_ms, uint32_t watchdog_ms);

/* --- join.c; loop only --- */

void zb_join_frame(struct zb_conn *conn, json_t *json);

#endif
