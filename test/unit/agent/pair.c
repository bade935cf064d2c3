#include "pair.h"

#include <sys/socket.h>
#include <unistd.h>

#include "agent/config.h"
#include "agent/keeper.h"
#include "agent/member.h"
#include "agent/memo.h"
#include "agent/parts.h"
#include "agent/ship.h"

#define DEADLINE_MS 20000
#define CLUSTER "11111111-0000-4000-8000-000000000000"

/* What the rest of the engine would do; not part of these stories. */
void
zb_config_peer_up(struct zb_agent *a, uint8_t node)
{
    (void)a;
    (void)node;
}

void
zb_config_message(struct zb_agent *a, uint8_t node, const json_t *msg)
{
    (void)a;
    (void)node;
    (void)msg;
}

void
zb_control_message(struct zb_agent *a, uint8_t node, const json_t *msg)
{
    (void)a;
    (void)node;
    (void)msg;
}

void
zb_control_peer_down(struct zb_agent *a, uint8_t node)
{
    (void)a;
    (void)node;
}

void
zb_member_message(struct zb_agent *a, uint8_t node, const json_t *msg)
{
    (void)a;
    (void)node;
    (void)msg;
}

void
zb_member_peer_up(struct zb_agent *a, uint8_t node)
{
    (void)a;
    (void)node;
}

struct zb_wall pair_cert_ends[PAIR_HOSTS];

struct zb_wall
zb_member_cert_ends(const struct zb_agent *a, uint8_t node)
{
    (void)a;
    return pair_cert_ends[node];
}

/* --- hosts --- */

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
on_message(void *ctx, const char *peer, json_t *msg)
{
    struct host *h = (struct host *)((char *)ctx - offsetof(struct host, a));
    zb_strcopy(h->last_message, sizeof(h->last_message),
               json_string_value(json_object_get(msg, "t")));
    zb_drive_message(ctx, peer, msg);
}

static void
on_stream(void *ctx, const char *peer, struct zb_stream *stream, json_t *header)
{
    zb_land_stream(ctx, peer, stream, header);
}

static void
on_refused(void *ctx, const char *address, const char *reason)
{
    (void)ctx;
    (void)address;
    fail_msg("refused: %s", reason);
}

static void
on_lost(void *ctx, const char *why)
{
    (void)ctx;
    (void)why;
}

static void
on_event(void *ctx, const struct zb_agent_event_view *event)
{
    struct host *h = ctx;
    assert_true(event->id > 0);
    h->events++;
    (void)snprintf(h->last_event, sizeof(h->last_event), "%s: %s", event->rule, event->text);
}

static void
net_start(struct pair *w, struct host *h)
{
    struct zb_pem ca = {"ca", w->ca_cert};
    struct zb_pem ca_key = {"ca key", w->ca_key};
    char *key = NULL;
    char *csr = NULL;
    char *cert = NULL;
    struct zb_err err;
    assert_int_equal(zb_pki_key_create(&key, &err), ZB_OK);
    assert_int_equal(zb_pki_csr_create((struct zb_pem){"key", key}, h->conf.node, &csr, &err),
                     ZB_OK);
    assert_int_equal(
        zb_pki_sign(ca, ca_key, (struct zb_pem){"csr", csr}, h->conf.node, &cert, &err), ZB_OK);
    struct zb_net_options options = {.loop = &h->a.loop,
                                     .node = h->conf.node,
                                     .cluster_id = CLUSTER,
                                     .nonce = h->a.nonce,
                                     .ca = ca,
                                     .cert = {"cert", cert},
                                     .key = {"key", key},
                                     .listen = "127.0.0.1:0",
                                     .callbacks = {.on_peer_up = on_peer_up,
                                                   .on_peer_down = on_peer_down,
                                                   .on_message = on_message,
                                                   .on_stream = on_stream,
                                                   .on_refused = on_refused},
                                     .ctx = &h->a};
    assert_int_equal(zb_net_new(&options, &h->a.net, &err), ZB_OK);
    zb_pki_text_free(key);
    zb_pki_text_free(csr);
    zb_pki_text_free(cert);
}

static void
host_start(struct pair *w, struct host *h, const char *name)
{
    struct zb_agent *a = &h->a;
    struct zb_err err;
    int pair[2];
    zb_strcopy(h->conf.node, sizeof(h->conf.node), name);
    a->conf = &h->conf;
    a->nonce = zb_random_u64();
    a->services = calloc(ZB_SERVICES_MAX, sizeof(*a->services));
    a->nodes_count = 1;
    a->nodes[0] = (struct zb_agent_node){.present = true, .up = true};
    zb_strcopy(a->nodes[0].name, sizeof(a->nodes[0].name), name);
    zb_strcopy(h->dir, sizeof(h->dir), "/tmp/zbaton-engine-XXXXXX");
    assert_non_null(mkdtemp(h->dir));
    (void)snprintf(h->db, sizeof(h->db), "%s/history.db", h->dir);
    assert_int_equal(zb_history_open(h->db, &a->history, &err), ZB_OK);
    assert_int_equal(uv_loop_init(&a->loop), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    model_init(&h->model, &a->loop, name, pair[1]);
    a->memo = zb_memo_new(a);
    assert_int_equal(zb_keeper_client_new(&a->loop, pair[0], on_lost, h, &a->keeper, &err), ZB_OK);
    net_start(w, h);
    zb_parts_open(a);
    h->subscriber = (struct zb_agent_subscriber){.on_event = on_event, .ctx = h};
    zb_agent_subscribe(a, &h->subscriber);
}

static void
host_stop(struct host *h)
{
    struct zb_agent *a = &h->a;
    a->stopping = true;
    zb_agent_flush(a);
    zb_agent_unsubscribe(a, &h->subscriber);
    zb_parts_close(a);
    zb_net_free(a->net);
    zb_memo_free(a->memo);
    model_close(&h->model);
    for (int i = 0; i < 1000 && uv_run(&a->loop, UV_RUN_NOWAIT) != 0; i++) {
    }
    assert_int_equal(uv_loop_close(&a->loop), 0);
    zb_history_close(a->history);
    zb_parts_free(a);
    free(a->services);
    (void)unlink(h->db);
    (void)rmdir(h->dir);
}

void
host_power_off(struct host *h)
{
    if (!h->off) {
        host_stop(h);
        h->off = true;
    }
}

void
pair_introduce(struct pair *w)
{
    struct zb_agent_node nodes[PAIR_HOSTS] = {0};
    for (int i = 0; i < PAIR_HOSTS; i++) {
        zb_strcopy(nodes[i].name, sizeof(nodes[i].name), w->hosts[i].conf.node);
        zb_net_listen_address(w->hosts[i].a.net, nodes[i].address);
    }
    for (int i = 0; i < PAIR_HOSTS; i++) {
        zb_agent_nodes_apply(&w->hosts[i].a, nodes, PAIR_HOSTS);
    }
}

void
host_declare(const struct pair *w, struct host *h)
{
    struct zb_freezes none = {0};
    struct zb_conf_service web = {
        .interval_ms = 1000, .keep.last = 10, .start_timeout_ms = 5000, .stop_timeout_ms = 5000};
    struct zb_conf_services services = {.count = 1, .items = &web};
    zb_strcopy(web.name, sizeof(web.name), "web");
    zb_strcopy(web.leader, sizeof(web.leader), "vm1");
    zb_strcopy(web.mountpoint, sizeof(web.mountpoint), "/srv/web");
    for (int i = 0; i < PAIR_HOSTS; i++) {
        zb_strcopy(web.members.items[i], ZB_NODE_NAME_SIZE, w->hosts[i].conf.node);
    }
    web.members.count = PAIR_HOSTS;
    zb_agent_services_apply(&h->a, &services, &none, 1);
}

void
pair_declare(struct pair *w)
{
    pair_introduce(w);
    for (int i = 0; i < PAIR_HOSTS; i++) {
        host_declare(w, &w->hosts[i]);
    }
}

int
pair_setup(void **state)
{
    struct pair *w = calloc(1, sizeof(*w));
    struct zb_err err;
    zb_log_init("test_engine", ZB_LOG_WARNING);
    assert_int_equal(zb_pki_ca_create("test", &w->ca_cert, &w->ca_key, &err), ZB_OK);
    for (int i = 0; i < PAIR_HOSTS; i++) {
        char name[ZB_NODE_NAME_SIZE];
        (void)snprintf(name, sizeof(name), "vm%d", i + 1);
        host_start(w, &w->hosts[i], name);
    }
    *state = w;
    return 0;
}

int
pair_teardown(void **state)
{
    struct pair *w = *state;
    for (int i = 0; i < PAIR_HOSTS; i++) {
        host_power_off(&w->hosts[i]);
    }
    zb_pki_text_free(w->ca_cert);
    zb_pki_text_free(w->ca_key);
    free(w);
    return 0;
}

void
host_restart(struct pair *w, struct host *h)
{
    struct model kept = h->model;
    char name[ZB_NODE_NAME_SIZE];
    zb_strcopy(name, sizeof(name), h->conf.node);
    host_stop(h);
    memset(h, 0, sizeof(*h));
    h->model.record = kept.record;
    h->model.datasets_count = kept.datasets_count;
    memcpy(h->model.datasets, kept.datasets, sizeof(kept.datasets));
    host_start(w, h, name);
}

/* --- waiting --- */

bool
pair_until(struct pair *w, bool (*done)(const struct pair *w))
{
    int64_t end = zb_mono_now().ms + DEADLINE_MS;
    while (!done(w)) {
        if (zb_mono_now().ms > end) {
            return false;
        }
        for (int i = 0; i < PAIR_HOSTS; i++) {
            if (!w->hosts[i].off) {
                (void)uv_run(&w->hosts[i].a.loop, UV_RUN_NOWAIT);
            }
        }
        (void)usleep(200);
    }
    return true;
}

struct zb_core_view
host_view(const struct host *h)
{
    struct zb_core_view v;
    zb_core_view(h->a.core, 0, &v);
    return v;
}

uint8_t
host_other(const struct host *h)
{
    return zb_agent_node_find(&h->a, strcmp(h->conf.node, "vm1") == 0 ? "vm2" : "vm1");
}

bool
pair_follows(const struct host *leader, const struct host *follower)
{
    struct zb_core_view l = host_view(leader);
    struct zb_core_view f = host_view(follower);
    return l.role == ZB_ROLE_LEADING && !zb_set_id_is_none(l.obs.newest.id) &&
           zb_set_ref_equal(&l.obs.newest, &f.obs.newest) &&
           zb_set_ref_equal(&l.obs.newest, &l.peers[host_other(leader)].report.set) &&
           model_newest(&leader->model, "") == model_newest(&follower->model, "") &&
           model_newest(&leader->model, "log") == model_newest(&follower->model, "log");
}

static void
on_step(void *ctx, const struct zb_action *step)
{
    struct host *h = ctx;
    assert_in_range(step->step, 1, 9);
    h->steps++;
}

static void
on_reply(void *ctx, const struct zb_action *reply)
{
    struct host *h = ctx;
    h->replies++;
    h->reply_rc = reply->rc;
    (void)snprintf(h->reply_text, sizeof(h->reply_text), "%s", reply->text);
}

void
host_command(struct host *h, enum zb_cmd_kind kind, uint8_t node)
{
    h->replies = 0;
    zb_agent_command_start(&h->a, &(struct zb_agent_command){.kind = kind,
                                                             .service = 0,
                                                             .node = node,
                                                             .who = "root@vm1",
                                                             .on_step = on_step,
                                                             .on_reply = on_reply,
                                                             .ctx = h});
}

bool
pair_replied(const struct pair *w)
{
    return w->hosts[0].replies > 0;
}

static void
on_position(void *ctx, const struct zb_position *position)
{
    struct host *h = ctx;
    assert_non_null(position);
    h->found = true;
    h->position = *position;
}

static void
on_observed(void *ctx, const struct zb_krep *rep)
{
    struct host *h = ctx;
    assert_int_equal(rep->rc, ZB_OK);
    zb_position_find(&h->a, 0, rep, on_position, h);
}

static bool
position_found(const struct pair *w)
{
    return w->hosts[0].found || w->hosts[1].found;
}

struct zb_position
host_position(struct pair *w, struct host *h)
{
    struct zb_kreq req = {.op = ZB_KOP_OBSERVE};
    w->hosts[0].found = w->hosts[1].found = false;
    zb_strcopy(req.service, sizeof(req.service), "web");
    zb_agent_keeper_call(&h->a, &req, on_observed, h);
    assert_true(pair_until(w, position_found));
    return h->position;
}
