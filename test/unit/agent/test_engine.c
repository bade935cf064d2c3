/*
 * Two engines in one process: the real core, loop, net and history, over two keepers in memory
 * (model.c). Stories of leading, following and handing over.
 */
#include "unit.h"

#include <sys/socket.h>
#include <unistd.h>

#include "agent/apply.h"
#include "agent/config.h"
#include "agent/drive.h"
#include "agent/internal.h"
#include "agent/keeper.h"
#include "agent/member.h"
#include "agent/memo.h"
#include "agent/position.h"
#include "agent/ship.h"
#include "model.h"

#define HOSTS 2
#define DEADLINE_MS 20000
#define UUID_TOP "00000000-0000-4000-8000-000000000001"
#define UUID_LOG "00000000-0000-4000-8000-000000000002"
#define UUID_OTHER "00000000-0000-4000-8000-000000000003"
#define CLUSTER "11111111-0000-4000-8000-000000000000"

struct host {
    struct zb_conf_node conf;
    struct zb_agent a;
    struct model model;
    char dir[64];
    char db[80];
    int replies;
    enum zb_rc reply_rc;
    char reply_text[256];
    int steps;
    int events;
    char last_event[512];
    struct zb_agent_subscriber subscriber;
};

struct world {
    char *ca_cert;
    char *ca_key;
    struct host hosts[HOSTS];
};

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
net_start(struct world *w, struct host *h)
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
host_start(struct world *w, struct host *h, const char *name)
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
    a->positions = zb_positions_new();
    a->ships = zb_ships_new(a);
    a->lands = zb_lands_new(a);
    a->applied = zb_applied_new(a);
    a->drive = zb_drive_new(a);
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
    zb_keeper_client_free(a->keeper);
    zb_ships_free(a);
    zb_lands_free(a);
    zb_drive_free(a);
    zb_applied_free(a);
    zb_net_free(a->net);
    zb_memo_free(a->memo);
    model_close(&h->model);
    for (int i = 0; i < 1000 && uv_run(&a->loop, UV_RUN_NOWAIT) != 0; i++) {
    }
    assert_int_equal(uv_loop_close(&a->loop), 0);
    zb_history_close(a->history);
    zb_positions_free(a->positions);
    free(a->services);
    (void)unlink(h->db);
    (void)rmdir(h->dir);
}

/* Tells both who the nodes are and what the service is. */
static void
declare(struct world *w)
{
    struct zb_agent_node nodes[HOSTS] = {0};
    struct zb_conf_service web = {
        .interval_ms = 1000, .keep_count = 10, .start_timeout_ms = 5000, .stop_timeout_ms = 5000};
    struct zb_conf_services services = {.count = 1, .items = &web};
    zb_strcopy(web.name, sizeof(web.name), "web");
    zb_strcopy(web.leader, sizeof(web.leader), "vm1");
    zb_strcopy(web.mountpoint, sizeof(web.mountpoint), "/srv/web");
    for (int i = 0; i < HOSTS; i++) {
        zb_strcopy(nodes[i].name, sizeof(nodes[i].name), w->hosts[i].conf.node);
        zb_net_listen_address(w->hosts[i].a.net, nodes[i].address);
        zb_strcopy(web.members.items[i], ZB_NODE_NAME_SIZE, w->hosts[i].conf.node);
    }
    web.members.count = HOSTS;
    for (int i = 0; i < HOSTS; i++) {
        zb_agent_nodes_apply(&w->hosts[i].a, nodes, HOSTS);
        zb_agent_services_apply(&w->hosts[i].a, &services, 1);
    }
}

static int
setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    struct zb_err err;
    zb_log_init("test_engine", ZB_LOG_WARNING);
    assert_int_equal(zb_pki_ca_create("test", &w->ca_cert, &w->ca_key, &err), ZB_OK);
    host_start(w, &w->hosts[0], "vm1");
    host_start(w, &w->hosts[1], "vm2");
    *state = w;
    return 0;
}

static int
teardown(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < HOSTS; i++) {
        host_stop(&w->hosts[i]);
    }
    zb_pki_text_free(w->ca_cert);
    zb_pki_text_free(w->ca_key);
    free(w);
    return 0;
}

/* --- waiting --- */

static bool
until(struct world *w, bool (*done)(const struct world *w))
{
    int64_t end = zb_mono_now().ms + DEADLINE_MS;
    while (!done(w)) {
        if (zb_mono_now().ms > end) {
            return false;
        }
        for (int i = 0; i < HOSTS; i++) {
            (void)uv_run(&w->hosts[i].a.loop, UV_RUN_NOWAIT);
        }
        (void)usleep(200);
    }
    return true;
}

static struct zb_core_view
view(const struct host *h)
{
    struct zb_core_view v;
    zb_core_view(h->a.core, 0, &v);
    return v;
}

/* Number of the other host on this one. */
static uint8_t
other(const struct host *h)
{
    return zb_agent_node_find(&h->a, strcmp(h->conf.node, "vm1") == 0 ? "vm2" : "vm1");
}

/* The follower reports what the leader has, and has it guid by guid. */
static bool
follows(const struct host *leader, const struct host *follower)
{
    struct zb_core_view l = view(leader);
    struct zb_core_view f = view(follower);
    return l.role == ZB_ROLE_LEADING && !zb_set_id_is_none(l.obs.newest.id) &&
           zb_set_ref_equal(&l.obs.newest, &f.obs.newest) &&
           zb_set_ref_equal(&l.obs.newest, &l.peers[other(leader)].report.set) &&
           model_newest(&leader->model, "") == model_newest(&follower->model, "") &&
           model_newest(&leader->model, "log") == model_newest(&follower->model, "log");
}

static bool
vm2_follows_vm1(const struct world *w)
{
    return follows(&w->hosts[0], &w->hosts[1]);
}

static bool
vm1_follows_vm2(const struct world *w)
{
    return follows(&w->hosts[1], &w->hosts[0]);
}

static bool
replied(const struct world *w)
{
    return w->hosts[0].replies > 0;
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

static void
command(struct host *h, enum zb_cmd_kind kind, uint8_t node)
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

static void
sync_one(struct world *w)
{
    w->hosts[0].model.written = true;
    command(&w->hosts[0], ZB_CMD_SYNC, ZB_NODE_NONE);
    assert_true(until(w, replied));
    assert_int_equal(w->hosts[0].reply_rc, ZB_OK);
    assert_true(until(w, vm2_follows_vm1));
}

/* --- stories --- */

static void
a_new_service_gets_its_first_copy(void **state)
{
    struct world *w = *state;
    declare(w);
    assert_true(until(w, vm2_follows_vm1));
    assert_true(w->hosts[0].model.running);
    assert_string_equal(model_dataset_find(&w->hosts[1].model, "log")->uuid, UUID_LOG);
    assert_true(w->hosts[0].events > 0);
}

static void
the_steady_state_asks_for_no_lists(void **state)
{
    struct world *w = *state;
    declare(w);
    assert_true(until(w, vm2_follows_vm1));
    uint64_t lists = w->hosts[1].model.ops[ZB_KOP_SNAPS];
    uint64_t receives = w->hosts[1].model.ops[ZB_KOP_RECEIVE];
    for (int i = 0; i < 3; i++) {
        sync_one(w);
    }
    assert_int_equal(w->hosts[1].model.ops[ZB_KOP_SNAPS], lists);
    assert_int_equal(w->hosts[1].model.ops[ZB_KOP_RECEIVE], receives + 6); /* 3 sets, 2 datasets */
}

static void
snapshots_of_other_tools_travel_too(void **state)
{
    struct world *w = *state;
    declare(w);
    assert_true(until(w, vm2_follows_vm1));
    model_snap_add(&w->hosts[0].model.datasets[1], "autosnap-hourly", 424242);
    sync_one(w);
    const struct model_dataset *log = model_dataset_find(&w->hosts[1].model, "log");
    bool found = false;
    for (uint32_t i = 0; i < log->snaps_count; i++) {
        found = found || (log->snaps[i].guid == 424242 &&
                          strcmp(log->snaps[i].name, "autosnap-hourly") == 0);
    }
    assert_true(found);
}

static void
a_refused_stream_is_looked_at_again_at_once(void **state)
{
    struct world *w = *state;
    declare(w);
    assert_true(until(w, vm2_follows_vm1));
    w->hosts[1].model.receive_fails_once = ZB_E_DIVERGED;
    uint64_t lists = w->hosts[1].model.ops[ZB_KOP_SNAPS];
    sync_one(w); /* the same ship succeeds the slow way */
    assert_true(w->hosts[1].model.ops[ZB_KOP_SNAPS] > lists);
}

static void
a_child_made_anew_under_its_name_is_sent_in_full(void **state)
{
    struct world *w = *state;
    struct model_dataset *log = &w->hosts[0].model.datasets[1];
    declare(w);
    assert_true(until(w, vm2_follows_vm1));
    zb_strcopy(log->uuid, sizeof(log->uuid), UUID_OTHER);
    log->snaps_count = 0;
    sync_one(w);
    const struct model_dataset *copy = model_dataset_find(&w->hosts[1].model, "log");
    assert_string_equal(copy->uuid, UUID_OTHER);
    assert_int_equal(copy->snaps[0].guid, log->snaps[0].guid);
}

static void
a_copy_that_shares_a_snapshot_is_adopted(void **state)
{
    struct world *w = *state;
    model_snap_add(model_dataset_add(&w->hosts[0].model, UUID_TOP, ""), "before", 11);
    model_snap_add(model_dataset_add(&w->hosts[0].model, UUID_LOG, "log"), "before", 12);
    model_snap_add(model_dataset_add(&w->hosts[1].model, "", ""), "other-name", 11);
    declare(w);
    assert_true(until(w, vm2_follows_vm1));
    const struct model_dataset *top = model_dataset_find(&w->hosts[1].model, "");
    assert_string_equal(top->uuid, UUID_TOP);
    assert_string_equal(top->snaps[0].name, "other-name"); /* not sent again */
    /* What was not there came with its history. */
    assert_int_equal(model_dataset_find(&w->hosts[1].model, "log")->snaps[0].guid, 12);
}

static bool
ship_failed_told(const struct world *w)
{
    return strstr(w->hosts[0].last_event, "R-ship-failed") != NULL;
}

static void
a_foreign_copy_is_never_overwritten(void **state)
{
    struct world *w = *state;
    model_snap_add(model_dataset_add(&w->hosts[1].model, "", ""), "mine", 666);
    declare(w);
    assert_true(until(w, ship_failed_told));
    assert_non_null(strstr(w->hosts[0].last_event, "no snapshot in common"));
    assert_int_equal(model_newest(&w->hosts[1].model, ""), 666);
    assert_int_equal(w->hosts[1].model.ops[ZB_KOP_RECEIVE], 0);
}

static void
a_move_hands_over_and_comes_back_in_the_history(void **state)
{
    struct world *w = *state;
    struct host *vm1 = &w->hosts[0];
    struct host *vm2 = &w->hosts[1];
    declare(w);
    assert_true(until(w, vm2_follows_vm1));
    vm1->model.written = true;
    command(vm1, ZB_CMD_MOVE, other(vm1));
    assert_true(until(w, replied));
    assert_string_equal(vm1->reply_text, "");
    assert_int_equal(vm1->reply_rc, ZB_OK);
    assert_true(vm1->steps >= 18);
    assert_true(until(w, vm1_follows_vm2));
    assert_true(vm2->model.running && vm2->model.mounted);
    assert_false(vm1->model.running || vm1->model.mounted);
    for (int i = 0; i < HOSTS; i++) {
        struct zb_history_term *terms = NULL;
        uint32_t count = 0;
        struct zb_err err;
        zb_agent_flush(&w->hosts[i].a);
        assert_int_equal(
            zb_history_terms_list(w->hosts[i].a.history, "web", 10, &terms, &count, &err), ZB_OK);
        assert_true(count >= 1);
        assert_string_equal(terms[0].leader, "vm2");
        assert_int_equal(terms[0].reason, ZB_HISTORY_MOVE);
        assert_string_equal(terms[0].who, "root@vm1");
        assert_false(zb_set_id_is_none(terms[0].fork.id));
        free(terms);
    }
}

/* The same disk and record under a new engine without a history. */
static void
host_restart(struct world *w, struct host *h)
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

static void
a_token_that_leads_nowhere_costs_one_try(void **state)
{
    struct world *w = *state;
    declare(w);
    assert_true(until(w, vm2_follows_vm1));
    zb_strcopy(w->hosts[1].model.datasets[0].token, 32, "1-ab-10-ff");
    w->hosts[1].model.receive_fails_once = ZB_E_DIVERGED; /* so that the lists are asked for */
    uint64_t sends = w->hosts[0].model.ops[ZB_KOP_SEND];
    sync_one(w);
    assert_true(w->hosts[0].model.ops[ZB_KOP_SEND] >= sends + 4);
}

static bool
vm2_receives(const struct world *w)
{
    return w->hosts[1].model.receives != NULL;
}

static bool
vm1_ships_nothing(const struct world *w)
{
    struct zb_core_view v = view(&w->hosts[0]);
    return v.peers[other(&w->hosts[0])].ship_id == 0;
}

static void
a_follower_lost_in_the_middle_catches_up(void **state)
{
    struct world *w = *state;
    declare(w);
    assert_true(until(w, vm2_follows_vm1));
    w->hosts[1].model.receive_stalls = true;
    w->hosts[0].model.written = true;
    command(&w->hosts[0], ZB_CMD_SNAPSHOT, ZB_NODE_NONE);
    assert_true(until(w, vm2_receives));
    struct zb_core_view v = view(&w->hosts[0]);
    struct zb_agent_ship_view ship;
    assert_true(zb_agent_ship_view(&w->hosts[0].a, v.peers[other(&w->hosts[0])].ship_id, &ship));
    host_restart(w, &w->hosts[1]);
    declare(w);
    assert_true(until(w, vm1_ships_nothing));
    assert_true(until(w, vm2_follows_vm1));
}

static void
a_lost_history_is_rebuilt_from_the_disk(void **state)
{
    struct world *w = *state;
    struct host *vm2 = &w->hosts[1];
    declare(w);
    assert_true(until(w, vm2_follows_vm1));
    host_restart(w, vm2);
    uint64_t receives = vm2->model.ops[ZB_KOP_RECEIVE];
    declare(w);
    assert_true(until(w, vm2_follows_vm1));
    assert_int_equal(vm2->model.ops[ZB_KOP_RECEIVE], receives);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_new_service_gets_its_first_copy),
        T(the_steady_state_asks_for_no_lists),
        T(snapshots_of_other_tools_travel_too),
        T(a_refused_stream_is_looked_at_again_at_once),
        T(a_child_made_anew_under_its_name_is_sent_in_full),
        T(a_copy_that_shares_a_snapshot_is_adopted),
        T(a_foreign_copy_is_never_overwritten),
        T(a_move_hands_over_and_comes_back_in_the_history),
        T(a_token_that_leads_nowhere_costs_one_try),
        T(a_follower_lost_in_the_middle_catches_up),
        T(a_lost_history_is_rebuilt_from_the_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
