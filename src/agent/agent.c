#include "agent/agent.h"

#include <errno.h>
#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/cert.h"
#include "agent/config.h"
#include "agent/drive.h"
#include "agent/files.h"
#include "agent/heart.h"
#include "agent/internal.h"
#include "agent/leave.h"
#include "agent/json.h"
#include "agent/keeper.h"
#include "agent/member.h"
#include "agent/memo.h"
#include "agent/must.h"
#include "agent/parts.h"
#include "agent/placing.h"
#include "agent/pool.h"
#include "agent/ship.h"
#include "agent/takeover.h"
#include "agent/witness.h"
#include "os/priv.h"

#define CONTROL_BACKLOG 64
#define CLOSING_TURNS_MAX 1000
#define HISTORY_INSIDE "/history.db" /* ZB_FILE_HISTORY, seen from inside the chroot */

/* What zb_agent_run needs beside the agent. */
struct run {
    struct zb_agent a;
    int control_fd;
    struct zb_heart_secrets secrets;
    bool loop_made;
    uv_signal_t term;
    uv_signal_t interrupt;
    bool hello_done;
    struct zb_err lost; /* the keeper went away, or did not want this engine; ZB_OK otherwise */
};

/* --- before root is given up --- */

static enum zb_rc
file_read(const struct zb_conf_node *conf, const char *name, char **text, struct zb_err *err)
{
    char path[ZB_PATH_SIZE + 32];
    (void)snprintf(path, sizeof(path), "%s/%s", conf->state_dir, name);
    return zb_pki_file_read(path, text, err);
}

static enum zb_rc
cluster_read(struct zb_agent *a, struct zb_err *err)
{
    char *text = NULL;
    json_t *json = NULL;
    enum zb_rc rc = file_read(a->conf, ZB_FILE_CLUSTER, &text, err);
    if (rc != ZB_OK) {
        return zb_err_hint(err, "zbaton init makes a cluster, zbaton join enters one");
    }
    json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    struct zb_json_reader r = zb_json_read(json);
    zb_json_read_name(&r, "name", a->cluster_name, sizeof(a->cluster_name), zb_node_name_valid);
    zb_json_read_name(&r, "id", a->cluster_id, sizeof(a->cluster_id), zb_uuid_valid);
    rc = zb_json_read_end(&r, err);
    if (rc != ZB_OK) {
        rc = zb_err_wrap(err, "%s/%s", a->conf->state_dir, ZB_FILE_CLUSTER);
    }
    json_decref(json);
    zb_pki_text_free(text);
    return rc;
}

static enum zb_rc
pki_read(struct zb_agent *a, struct zb_err *err)
{
    enum zb_rc rc = file_read(a->conf, ZB_FILE_CA_CRT, &a->pki.ca_crt, err);
    if (rc == ZB_OK) {
        rc = file_read(a->conf, ZB_FILE_NODE_CRT, &a->pki.node_crt, err);
    }
    if (rc == ZB_OK) {
        rc = file_read(a->conf, ZB_FILE_NODE_KEY, &a->pki.node_key, err);
    }
    if (rc == ZB_OK) {
        rc = file_read(a->conf, ZB_FILE_CA_KEY, &a->pki.ca_key, err);
        rc = rc == ZB_E_NOTFOUND ? ZB_OK : rc;
    }
    return rc;
}

/* The socket's owner; root alone where the group does not exist. */
static gid_t
control_group(const struct zb_conf_node *conf)
{
    const struct group *group = getgrnam(conf->group);
    if (group == NULL) {
        zb_log_warning("group %s does not exist: only root can use zbaton here", conf->group);
        return 0;
    }
    return group->gr_gid;
}

static enum zb_rc
control_listen(const struct zb_conf_node *conf, int *out, struct zb_err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = -1;
    if ((size_t)snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", conf->run_dir,
                         ZB_FILE_CONTROL) >= sizeof(address.sun_path)) {
        return zb_err_set(err, ZB_E_USAGE, "run-dir %s is too long for a socket", conf->run_dir);
    }
    if (mkdir(conf->run_dir, 0755) != 0 && errno != EEXIST) {
        return zb_err_sys(err, errno, "make %s", conf->run_dir);
    }
    (void)unlink(address.sun_path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t mask = umask(0117); /* 0660 from the first moment on */
    bool good = fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0;
    int saved = errno;
    (void)umask(mask);
    if (good && (chown(address.sun_path, 0, control_group(conf)) != 0 ||
                 listen(fd, CONTROL_BACKLOG) != 0)) {
        good = false;
        saved = errno;
    }
    if (!good) {
        if (fd >= 0) {
            (void)close(fd);
        }
        return zb_err_sys(err, saved, "listen on %s", address.sun_path);
    }
    *out = fd;
    return ZB_OK;
}

static enum zb_rc
privileged_part(struct run *run, struct zb_err *err)
{
    struct zb_agent *a = &run->a;
    char chroot_dir[ZB_PATH_SIZE + 32];
    enum zb_rc rc = cluster_read(a, err);
    if (rc == ZB_OK) {
        rc = pki_read(a, err);
    }
    if (rc == ZB_OK) {
        rc = zb_heart_secrets_read(a->conf, &run->secrets, err);
    }
    if (rc == ZB_OK) {
        rc = control_listen(a->conf, &run->control_fd, err);
    }
    if (rc == ZB_OK) {
        (void)snprintf(chroot_dir, sizeof(chroot_dir), "%s/%s", a->conf->state_dir, ZB_DIR_ENGINE);
        json_object_seed(0); /* from /dev/urandom, which is not in the chroot */
        rc = zb_os_priv_drop(ZB_ENGINE_USER, chroot_dir, err);
    }
    return rc;
}

/* --- afterwards --- */

static void
on_left(void *ctx)
{
    struct run *run = ctx;
    zb_agent_stop(&run->a);
}

static void
on_signal(uv_signal_t *handle, int number)
{
    struct run *run = handle->data;
    zb_log_info("ending on signal %d", number);
    if (!zb_heart_leave(&run->a, on_left, run)) {
        zb_agent_stop(&run->a);
    }
}

static void
on_keeper_lost(void *ctx, const char *why)
{
    struct run *run = ctx;
    (void)zb_err_set(&run->lost, ZB_E_CLOSED, "%s", why);
    zb_agent_stop(&run->a);
}

static void
on_hello(void *ctx, const struct zb_krep *rep)
{
    struct run *run = ctx;
    struct zb_agent *a = &run->a;
    if (rep->rc != ZB_OK) {
        (void)zb_err_set(&run->lost, (enum zb_rc)rep->rc, "%s", rep->msg);
        zb_agent_stop(a);
        return;
    }
    run->hello_done = true;
    a->nonce = rep->nonce;
    a->pool_guid = rep->pool_guid;
    zb_strcopy(a->root, sizeof(a->root), rep->root);
    zb_strcopy(a->boot_id, sizeof(a->boot_id), rep->boot_id);
    a->kept = zb_must(strdup(rep->text != NULL ? rep->text : ""));
}

static void
signals_start(struct run *run)
{
    uv_loop_t *loop = &run->a.loop;
    run->term.data = run;
    run->interrupt.data = run;
    (void)uv_signal_init(loop, &run->term);
    (void)uv_signal_init(loop, &run->interrupt);
    (void)uv_signal_start(&run->term, on_signal, SIGTERM);
    (void)uv_signal_start(&run->interrupt, on_signal, SIGINT);
}

/* Loop, history, keeper. On success the keeper has said who this node is, or the engine is
 * stopping. */
static enum zb_rc
base_start(struct run *run, int keeper_fd, struct zb_err *err)
{
    struct zb_agent *a = &run->a;
    struct zb_kreq hello = {.op = ZB_KOP_HELLO, .version = ZB_KMSG_VERSION};
    enum zb_rc rc = zb_history_open(HISTORY_INSIDE, &a->history, err);
    if (rc != ZB_OK) {
        return rc;
    }
    if (uv_loop_init(&a->loop) != 0) {
        return zb_err_set(err, ZB_E_SYS, "event loop cannot be made");
    }
    run->loop_made = true;
    signals_start(run);
    a->memo = zb_memo_new(a);
    rc = zb_keeper_client_new(&a->loop, keeper_fd, on_keeper_lost, run, &a->keeper, err);
    if (rc != ZB_OK) {
        return rc;
    }
    zb_agent_keeper_call(a, &hello, on_hello, run);
    while (!run->hello_done && !a->stopping) {
        (void)uv_run(&a->loop, UV_RUN_ONCE);
    }
    return ZB_OK;
}

/* --- net --- */

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
on_join(void *ctx, const struct zb_join_request *request)
{
    zb_member_join(ctx, request);
}

static void
on_refused(void *ctx, const char *address, const char *reason)
{
    zb_agent_event(ctx, ZB_LOG_WARNING, "", "A-peer-refused", "connection with %s refused: %s",
                   address, reason);
}

static enum zb_rc
net_start(struct zb_agent *a, struct zb_err *err)
{
    struct zb_net_options options = {.loop = &a->loop,
                                     .node = a->conf->node,
                                     .cluster_id = a->cluster_id,
                                     .nonce = a->nonce,
                                     .ca = {.name = ZB_FILE_CA_CRT, .text = a->pki.ca_crt},
                                     .cert = {.name = ZB_FILE_NODE_CRT, .text = a->pki.node_crt},
                                     .key = {.name = ZB_FILE_NODE_KEY, .text = a->pki.node_key},
                                     .listen = a->conf->listen,
                                     .callbacks = {.on_peer_up = on_peer_up,
                                                   .on_peer_down = on_peer_down,
                                                   .on_message = on_message,
                                                   .on_stream = on_stream,
                                                   .on_join = on_join,
                                                   .on_refused = on_refused},
                                     .ctx = a};
    enum zb_rc rc = zb_net_new(&options, &a->net, err);
    return rc == ZB_E_AUTH ? zb_err_hint(err, "zbaton cert renew --token TOKEN, with a token that "
                                              "another node made (zbaton token create)")
                           : rc;
}

static enum zb_rc
engine_start(struct run *run, struct zb_err *err)
{
    struct zb_agent *a = &run->a;
    enum zb_rc rc = zb_cert_load(a, err);
    if (rc == ZB_OK) {
        rc = net_start(a, err);
    }
    if (rc != ZB_OK) {
        return rc;
    }
    zb_parts_open(a);
    zb_pool_own(a, a->pool_guid);
    rc = zb_member_init(a, err);
    if (rc == ZB_OK) {
        rc = zb_config_init(a, err);
    }
    if (rc == ZB_OK) {
        zb_leave_rest(a, a->kept, zb_config_current(a)->version);
        a->certs = zb_certs_new(a);
    }
    if (rc == ZB_OK) {
        rc = zb_heart_new(a, &run->secrets, &a->heart, err);
    }
    if (rc == ZB_OK) {
        a->takeovers = zb_takeovers_new(a);
        a->placings = zb_placings_new(a);
        a->witness = zb_witness_new(a);
        rc = zb_control_init(a, run->control_fd, err);
        run->control_fd = rc == ZB_OK ? -1 : run->control_fd;
    }
    return rc;
}

static void
engine_close(struct run *run)
{
    struct zb_agent *a = &run->a;
    a->stopping = true;
    if (a->control != NULL) {
        zb_control_close(a);
    }
    if (a->drive != NULL) {
        zb_takeovers_close(a);
        zb_placings_close(a);
        zb_witness_free(a);
        zb_parts_close(a);
        zb_config_close(a);
        zb_certs_close(a);
        zb_member_close(a);
    }
    zb_keeper_client_free(a->keeper);
    zb_net_free(a->net);
    zb_memo_free(a->memo);
    if (run->loop_made) {
        uv_close((uv_handle_t *)&run->term, NULL);
        uv_close((uv_handle_t *)&run->interrupt, NULL);
        for (int i = 0; i < CLOSING_TURNS_MAX && uv_run(&a->loop, UV_RUN_NOWAIT) != 0; i++) {
        }
        if (uv_loop_close(&a->loop) != 0) {
            zb_log_warning("something was left in the event loop");
        }
    }
    zb_history_close(a->history);
    zb_parts_free(a);
    zb_labels_close(&a->labels);
    zb_faileds_close(&a->failed);
    zb_recovered_close(&a->recovered);
    free(a->kept);
    free(a->services);
    zb_heart_secrets_close(&run->secrets);
    zb_pki_text_free(a->pki.ca_crt);
    zb_pki_text_free(a->pki.ca_key);
    zb_pki_text_free(a->pki.node_crt);
    zb_pki_text_free(a->pki.node_key);
    if (run->control_fd >= 0) {
        (void)close(run->control_fd);
    }
}

enum zb_rc
zb_agent_run(const struct zb_agent_options *options, struct zb_err *err)
{
    struct run *run = zb_must_alloc(1, sizeof(*run));
    struct zb_agent *a = &run->a;
    zb_json_memory_use();
    run->control_fd = -1;
    a->conf = options->conf;
    a->services = zb_must_alloc(ZB_SERVICES_MAX, sizeof(*a->services));
    a->nodes_count = 1; /* this node is number 0 */
    a->nodes[0] = (struct zb_agent_node){.present = true, .up = true};
    zb_strcopy(a->nodes[0].name, sizeof(a->nodes[0].name), a->conf->node);
    zb_strcopy(a->nodes[0].version, sizeof(a->nodes[0].version), ZB_VERSION);
    enum zb_rc rc = privileged_part(run, err);
    if (rc == ZB_OK) {
        rc = base_start(run, options->keeper_fd, err);
    }
    if (rc == ZB_OK && !a->stopping) {
        rc = engine_start(run, err);
    }
    if (rc == ZB_OK && !a->stopping) {
        zb_log_info("zbatond %s of %s in cluster %s", ZB_VERSION, a->conf->node, a->cluster_name);
        (void)uv_run(&a->loop, UV_RUN_DEFAULT);
    }
    if (rc == ZB_OK && run->lost.rc != ZB_OK) {
        *err = run->lost;
        rc = err->rc;
    }
    engine_close(run);
    free(run);
    return rc;
}
