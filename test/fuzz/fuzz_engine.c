/*
 * A whole engine over a keeper in memory. The input is lines:
 *   L              (first) this node leads the service alone, the others keep backups
 *   u2 d2          vm2 (or vm3) connects, or goes away
 *   2{...} 3{...}  a message of vm2 or vm3     s{...}  a stream's header, bytes and end, of vm2
 *   c{...}         a request on the control socket      w  some time passes
 * The keeper decodes what the engine asks and ends the process when it does not decode.
 */
#include "unit.h"

#include "fuzz.h"

#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../unit/agent/model.h"
#include "agent/config.h"
#include "agent/config_store.h"
#include "agent/drive.h"
#include "agent/internal.h"
#include "agent/keeper.h"
#include "agent/leave.h"
#include "agent/member.h"
#include "agent/memo.h"
#include "agent/parts.h"
#include "agent/ship.h"
#include "base/log.h"
#include "net/internal.h"
#include "tls_peer.h"

#define LINES_MAX 32
#define WAITS_MAX 4
#define WAIT_MS 10
#define CLOSING_TURNS_MAX 1000
/* The largest name there is: who has it dials nobody, whatever configuration it is told. */
#define Z21 "zzzzzzzzzzzzzzzzzzzzz"
#define SELF Z21 Z21 Z21
#define NODE_JSON(name, port)                                                                      \
    "{\"address\":\"127.0.0.1:" port "\",\"fingerprint\":\"\",\"name\":\"" name "\"}"

#define DOC(members)                                                                               \
    "{\"cluster\":\"fuzz\",\"nodes\":[" NODE_JSON("vm2", "2") "," NODE_JSON(                       \
        "vm3", "3") "," NODE_JSON(SELF, "1") "],\"services\":\"service web {\\n " members          \
                                             "\\n leader = " SELF                                  \
                                             "\\n mountpoint = \\\"/srv/web\\\"\\n}\\n\","         \
                                             "\"version\":\"1\"}"

static const char doc_equal[] = DOC("members = { vm2, vm3, " SELF " }");
static const char doc_alone[] = DOC("members = { " SELF " }\\n backups = { vm2, vm3 }");
static const char *const peers[] = {"vm2", "vm3"};
#define PEERS_COUNT 2

/* What lives as long as the process. */
static struct {
    struct zb_conf_node conf;
    struct fuzz_identity self;
    struct zb_tls peers[PEERS_COUNT];
} world;

struct engine {
    struct zb_agent a;
    struct model model;
    struct sockaddr_un control;
    socklen_t control_size;
    struct fuzz_tls controls[PEERS_COUNT];
    struct fuzz_tls data;
    int waits;
};

/* In place of the one of net/socket.c: nothing leaves this process. */
enum zb_rc __wrap_zb_socket_connect(const struct zb_socket_address *address, int *fd,
                                    struct zb_err *err);
enum zb_rc
__wrap_zb_socket_connect(const struct zb_socket_address *address, int *fd, struct zb_err *err)
{
    (void)address;
    (void)fd;
    return zb_err_set(err, ZB_E_SYS, "connect: nobody is there");
}

static void
world_open(void)
{
    const struct fuzz_pki *pki = fuzz_pki();
    struct zb_err err;

    zb_log_init("fuzz", ZB_LOG_ERROR);
    (void)signal(SIGPIPE, SIG_IGN);
    zb_strcopy(world.conf.node, sizeof world.conf.node, SELF);
    fuzz_identity_make(&world.self, SELF);
    for (int i = 0; i < PEERS_COUNT; i++) {
        struct fuzz_identity peer;
        fuzz_identity_make(&peer, peers[i]);
        enum zb_rc rc =
            zb_tls_init(&world.peers[i], (struct zb_pem){"ca", pki->ca_cert},
                        (struct zb_pem){"cert", peer.cert}, (struct zb_pem){"key", peer.key}, &err);
        assert(rc == ZB_OK);
        zb_pki_text_free(peer.key);
        zb_pki_text_free(peer.cert);
    }
}

static void
on_lost(void *ctx, const char *why)
{
    (void)ctx;
    (void)why;
    assert(!"the engine and the keeper disagree");
}

static void
on_peer_up(void *ctx, const char *peer)
{
    zb_drive_peer_up(ctx, peer);
}

static void
on_peer_down(void *ctx, const char *peer, const char *reason)
{
    zb_drive_peer_down(ctx, peer, reason);
}

static void
on_refused(void *ctx, const char *address, const char *reason)
{
    (void)ctx;
    (void)address;
    (void)reason;
}

static void
on_message(void *ctx, const char *peer, json_t *msg)
{
    zb_drive_message(ctx, peer, msg);
}

static void
on_stream(void *ctx, const char *peer, struct zb_stream *stream, json_t *header)
{
    zb_land_stream(ctx, peer, stream, header);
}

static void
on_join(void *ctx, const struct zb_join_request *request)
{
    zb_member_join(ctx, request);
}

static void
net_start(struct zb_agent *a)
{
    struct zb_err err;
    struct zb_net_options options = {
        .loop = &a->loop,
        .node = SELF,
        .cluster_id = FUZZ_CLUSTER_ID,
        .nonce = a->nonce,
        .ca = {"ca", a->pki.ca_crt},
        .cert = {"cert", a->pki.node_crt},
        .key = {"key", a->pki.node_key},
        .listen = "127.0.0.1:0",
        .callbacks = {on_peer_up, on_peer_down, on_message, on_stream, on_join, on_refused},
        .ctx = a};

    enum zb_rc rc = zb_net_new(&options, &a->net, &err);
    assert(rc == ZB_OK);
}

static void
history_start(struct zb_agent *a, const char *first_doc)
{
    struct zb_config_store store = {0};
    struct zb_config_doc doc = {0};
    struct zb_err err;
    bool news;

    enum zb_rc rc = zb_history_open(":memory:", &a->history, &err);
    assert(rc == ZB_OK);
    rc = zb_config_doc_parse(first_doc, &doc, &err);
    assert(rc == ZB_OK);
    rc = zb_config_store_commit(a->history, &store, &doc, &news, &err);
    assert(rc == ZB_OK);
    zb_config_store_close(&store);
    zb_config_doc_close(&doc);
}

static void
control_start(struct engine *e)
{
    struct zb_err err;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    /* Without a path Linux gives it an abstract name (unix(7), autobind). */
    e->control.sun_family = AF_UNIX;
    int rc = bind(fd, (const struct sockaddr *)&e->control, sizeof e->control.sun_family);
    assert(rc == 0);
    e->control_size = sizeof e->control;
    rc = getsockname(fd, (struct sockaddr *)&e->control, &e->control_size);
    assert(rc == 0);
    enum zb_rc started = zb_control_init(&e->a, fd, &err);
    assert(started == ZB_OK);
}

/* As zb_agent_run, behind the keeper's hello. */
static void
engine_start(struct engine *e, const char *first_doc)
{
    const struct fuzz_pki *pki = fuzz_pki();
    struct zb_agent *a = &e->a;
    struct zb_err err;
    int pair[2];

    a->conf = &world.conf;
    a->nonce = 7;
    a->pool_guid = 77;
    a->pki = (struct zb_agent_pki){.ca_crt = pki->ca_cert,
                                   .ca_key = pki->ca_key,
                                   .node_crt = world.self.cert,
                                   .node_key = world.self.key};
    zb_strcopy(a->root, sizeof a->root, "tank/services");
    zb_strcopy(a->cluster_name, sizeof a->cluster_name, "fuzz");
    zb_strcopy(a->cluster_id, sizeof a->cluster_id, FUZZ_CLUSTER_ID);
    a->services = calloc(ZB_SERVICES_MAX, sizeof *a->services);
    a->nodes_count = 1;
    a->nodes[0] = (struct zb_agent_node){.present = true, .up = true};
    zb_strcopy(a->nodes[0].name, sizeof a->nodes[0].name, SELF);
    history_start(a, first_doc);
    int rc = uv_loop_init(&a->loop);
    assert(rc == 0);
    rc = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);
    assert(rc == 0);
    model_init(&e->model, &a->loop, SELF, pair[1]);
    a->memo = zb_memo_new(a);
    enum zb_rc made = zb_keeper_client_new(&a->loop, pair[0], on_lost, e, &a->keeper, &err);
    assert(made == ZB_OK);
    net_start(a);
    zb_parts_open(a);
    made = zb_member_init(a, &err);
    assert(made == ZB_OK);
    made = zb_config_init(a, &err);
    assert(made == ZB_OK);
    zb_leave_rest(a, "", 1);
    control_start(e);
}

static void
engine_stop(struct engine *e)
{
    struct zb_agent *a = &e->a;

    fuzz_tls_close(&e->data);
    for (int i = 0; i < PEERS_COUNT; i++) {
        fuzz_tls_close(&e->controls[i]);
    }
    a->stopping = true;
    zb_control_close(a);
    zb_parts_close(a);
    zb_config_close(a);
    zb_member_close(a);
    zb_net_free(a->net);
    zb_memo_free(a->memo);
    model_close(&e->model);
    for (int i = 0; i < CLOSING_TURNS_MAX && uv_run(&a->loop, UV_RUN_NOWAIT) != 0; i++) {
    }
    int rc = uv_loop_close(&a->loop);
    assert(rc == 0);
    zb_history_close(a->history);
    zb_parts_free(a);
    free(a->services);
}

/* --- what comes from outside --- */

static void
message(struct engine *e, const char *peer, const char *text, size_t size)
{
    json_t *json = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);

    if (json_is_object(json)) {
        zb_drive_message(&e->a, peer, json);
    }
    json_decref(json);
}

static bool
connect_as(struct engine *e, struct fuzz_tls *tls, int peer, const char *kind)
{
    char hello[256];

    int size = snprintf(hello, sizeof hello,
                        "{\"hello\":1,\"cluster\":\"" FUZZ_CLUSTER_ID
                        "\",\"node\":\"%s\",\"kind\":\"%s\",\"version\":1,"
                        "\"nonce\":\"0000000000000001\"}",
                        peers[peer], kind);
    fuzz_tls_open(tls, e->a.net, &e->a.loop, world.peers[peer].client);
    return fuzz_tls_frame(tls, &e->a.loop, ZB_FRAME_JSON, hello, (size_t)size);
}

static void
stream(struct engine *e, const char *header, size_t size)
{
    bool open = e->data.ssl != NULL || connect_as(e, &e->data, 0, "data");

    open = open && fuzz_tls_frame(&e->data, &e->a.loop, ZB_FRAME_JSON, header, size) &&
           fuzz_tls_frame(&e->data, &e->a.loop, ZB_FRAME_DATA, "0123456789abcdef", 16) &&
           fuzz_tls_frame(&e->data, &e->a.loop, ZB_FRAME_END, "{\"rc\":0}", 8);
    if (!open) {
        fuzz_tls_close(&e->data);
    }
}

/* Every line that comes back is an object with a type. */
static void
answers_check(const char *text, size_t size)
{
    const char *end;

    for (; (end = memchr(text, '\n', size)) != NULL;
         size -= (size_t)(end + 1 - text), text = end + 1) {
        json_t *json = json_loadb(text, (size_t)(end - text), JSON_REJECT_DUPLICATES, NULL);
        const char *type = json_string_value(json_object_get(json, "type"));
        assert(type != NULL && (strcmp(type, "result") == 0 || strcmp(type, "progress") == 0));
        json_decref(json);
    }
}

static void
request(struct engine *e, const char *text, size_t size)
{
    static char answers[64u << 10];
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    int rc = connect(fd, (const struct sockaddr *)&e->control, e->control_size);
    assert(rc == 0);
    ssize_t sent = send(fd, text, size, MSG_NOSIGNAL);
    sent = sent == (ssize_t)size ? send(fd, "\n", 1, MSG_NOSIGNAL) : -1;
    assert(sent == 1);
    fuzz_loop_settle(&e->a.loop);
    ssize_t got = recv(fd, answers, sizeof answers, 0);
    if (got > 0) {
        answers_check(answers, (size_t)got);
    }
    (void)close(fd);
}

/* What the engine has sent to them is read, so that it does not pile up. */
static void
controls_drain(struct engine *e)
{
    for (int i = 0; i < PEERS_COUNT; i++) {
        struct fuzz_tls *tls = &e->controls[i];
        if (tls->ssl != NULL && !fuzz_tls_send(tls, &e->a.loop, "", 0)) {
            fuzz_tls_close(tls);
        }
    }
}

static void
wait_some(struct engine *e)
{
    int64_t end_ms = zb_mono_now().ms + WAIT_MS;

    if (e->waits++ < WAITS_MAX) {
        while (zb_mono_now().ms < end_ms) {
            (void)uv_run(&e->a.loop, UV_RUN_NOWAIT);
        }
    }
}

static void
line_take(struct engine *e, const char *line, size_t size)
{
    char kind = size > 0 ? line[0] : '\0';
    int peer = size > 1 && line[1] == '3' ? 1 : 0;

    if (kind == '2' || kind == '3') {
        message(e, peers[kind - '2'], line + 1, size - 1);
    } else if (kind == 's') {
        stream(e, line + 1, size - 1);
    } else if (kind == 'c') {
        request(e, line + 1, size - 1);
    } else if (kind == 'u' && e->controls[peer].ssl == NULL) {
        (void)connect_as(e, &e->controls[peer], peer, "control");
    } else if (kind == 'd') {
        fuzz_tls_close(&e->controls[peer]);
    } else if (kind == 'w') {
        wait_some(e);
    }
    fuzz_loop_settle(&e->a.loop);
    controls_drain(e);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *at = (const char *)data;
    const char *end = at + size;

    if (world.self.key == NULL) {
        world_open();
    }
    struct engine *e = calloc(1, sizeof *e);
    assert(e != NULL);
    engine_start(e, size > 0 && data[0] == 'L' ? doc_alone : doc_equal);
    fuzz_loop_settle(&e->a.loop);
    for (int lines = 0; at < end && lines < LINES_MAX; lines++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *stop = newline != NULL ? newline : end;
        line_take(e, at, (size_t)(stop - at));
        at = newline != NULL ? newline + 1 : end;
    }
    engine_stop(e);
    free(e);
    return 0;
}
