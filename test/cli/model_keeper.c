/*
 * Stands in for the keeper on a host without ZFS, with services that exist in memory
 * (test/unit/agent/model.h): they are led, followed and moved as everywhere. For tests of whole
 * clusters on one host. What was made is gone with the process; the engine is started again when it
 * ends, over the same services.
 *
 *   model_keeper ENGINE CONF
 *
 * Files in the node's run-dir say what goes wrong: SERVICE.fails (it cannot be started, and does
 * not stay); SERVICE.slow (its declaration takes a while to be stored, and what is asked of it
 * meanwhile is refused). SERVICE.sick: it runs, and fails its check. SERVICE.stalls: what it is
 * sent is not read. SERVICE.starts counts what was tried.
 */
#include "unit.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/be.h"
#include "base/log.h"
#include "conf/node.h"
#include "model.h"
#include "model_ops.h"
#include "os/pipe.h"

#define SERVICES_MAX 8
#define SLOW_MS 700

static struct {
    struct zb_conf_node conf;
    uint64_t nonce;
    const char *program;
    const char *conf_path;
    int fd;
    uv_loop_t loop;
    uv_poll_t poll;
    uint32_t count;
    struct {
        char name[ZB_SERVICE_NAME_SIZE];
        struct model model;
        uv_timer_t timer; /* while a declaration is being stored */
        struct zb_krep stored;
    } services[SERVICES_MAX];
} k;

static void
hello(const struct zb_kreq *req)
{
    struct zb_krep rep = {.id = req->id, .op = req->op, .nonce = k.nonce, .pool_guid = 77};
    struct model m = {.fd = k.fd};

    zb_strcopy(rep.node, sizeof rep.node, k.conf.node);
    zb_strcopy(rep.root, sizeof rep.root, k.conf.root);
    zb_strcopy(rep.boot_id, sizeof rep.boot_id, "11111111-2222-4333-8444-555555555555");
    model_reply(&m, &rep, -1);
}

static struct model *
model_of(const char *service)
{
    for (uint32_t i = 0; i < k.count; i++) {
        if (strcmp(k.services[i].name, service) == 0) {
            return &k.services[i].model;
        }
    }
    assert_true(k.count < SERVICES_MAX);
    zb_strcopy(k.services[k.count].name, ZB_SERVICE_NAME_SIZE, service);
    struct model *m = &k.services[k.count++].model;
    zb_strcopy(m->node, sizeof m->node, k.conf.node);
    m->pool_guid = 77;
    m->payload_bytes = 3000;
    m->estimate_bytes = 10000;
    (void)uv_timer_init(&k.loop, &k.services[k.count - 1].timer);
    m->poll.loop = &k.loop; /* for what it receives; requests are read here */
    return m;
}

static const char *
file_of(const char *service, const char *what)
{
    static char path[ZB_PATH_SIZE + ZB_SERVICE_NAME_SIZE + 16];

    (void)snprintf(path, sizeof path, "%s/%s.%s", k.conf.run_dir, service, what);
    return path;
}

static void
start_counted(const char *service)
{
    FILE *file = fopen(file_of(service, "starts"), "ae");

    if (file != NULL) {
        (void)fputs("x\n", file);
        (void)fclose(file);
    }
}

static void
on_stored(uv_timer_t *timer)
{
    for (uint32_t i = 0; i < k.count; i++) {
        if (&k.services[i].timer == timer) {
            model_reply(&k.services[i].model, &k.services[i].stored, -1);
        }
    }
}

/* True: it is answered later, or refused, as the declaration is being stored. */
static bool
stores(const struct zb_kreq *req, struct zb_krep *rep)
{
    uint32_t i = 0;

    while (strcmp(k.services[i].name, req->service) != 0) {
        i++;
    }
    if (uv_is_active((uv_handle_t *)&k.services[i].timer)) {
        if (req->op == ZB_KOP_START || req->op == ZB_KOP_STOP || req->op == ZB_KOP_DEFINE) {
            model_refuse(rep, ZB_E_BUSY, "another operation is under way");
            model_reply(&k.services[i].model, rep, -1);
            return true;
        }
    } else if (req->op == ZB_KOP_DEFINE && access(file_of(req->service, "slow"), F_OK) == 0) {
        k.services[i].stored = *rep;
        (void)uv_timer_start(&k.services[i].timer, on_stored, SLOW_MS, 0);
        return true;
    }
    return false;
}

static void
serve(const struct zb_kreq *req)
{
    struct zb_krep rep = {.id = req->id, .op = req->op};

    if (req->op == ZB_KOP_HELLO) {
        hello(req);
        return;
    }
    struct model *m = model_of(req->service);
    bool fails = access(file_of(req->service, "fails"), F_OK) == 0;
    m->fd = k.fd;
    m->running = m->running && !fails;
    m->receive_stalls = access(file_of(req->service, "stalls"), F_OK) == 0;
    if (stores(req, &rep)) {
        return;
    }
    if (req->op == ZB_KOP_CREATE && (req->flags & ZB_KF_DRY_RUN) != 0) {
        rep.text = strdup("zfs create\n");
    } else if (req->op == ZB_KOP_CHECK && access(file_of(req->service, "sick"), F_OK) == 0) {
        rep.running = 0;
    } else if (req->op == ZB_KOP_START &&
               (fails || access(file_of(req->service, "sick"), F_OK) == 0)) {
        start_counted(req->service);
        model_refuse(&rep, ZB_E_FAILED, "the start program ended with exit status 1");
    } else {
        if (req->op == ZB_KOP_START) {
            start_counted(req->service);
        }
        model_request(m, req);
        return;
    }
    model_reply(m, &rep, -1);
    zb_krep_close(&rep);
}

static void
on_request(uv_poll_t *poll, int status, int events)
{
    static uint8_t buf[ZB_KMSG_MAX + 4];
    struct zb_kreq req = {0};
    struct zb_err err;

    (void)status;
    (void)events;
    if (zb_os_read_full(k.fd, buf, 4, &err) != ZB_OK) {
        (void)uv_poll_stop(poll); /* the engine has ended */
        return;
    }
    uint32_t size = zb_be32_get(buf);
    assert_true(size <= ZB_KMSG_MAX);
    assert_int_equal(zb_os_read_full(k.fd, buf, size, &err), ZB_OK);
    assert_int_equal(zb_kreq_decode(buf, size, &req, &err), ZB_OK);
    serve(&req);
    zb_kreq_close(&req);
}

/* One life of the engine. */
static int
engine_run(void)
{
    int fds[2], status = 1;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)dup2(fds[1], 3);
        execl(k.program, k.program, "-v", "-f", k.conf_path, "--engine", "3", (char *)NULL);
        _exit(127);
    }
    (void)close(fds[1]);
    k.fd = fds[0];
    assert_int_equal(uv_poll_init(&k.loop, &k.poll, k.fd), 0);
    assert_int_equal(uv_poll_start(&k.poll, UV_READABLE, on_request), 0);
    (void)uv_run(&k.loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&k.poll, NULL);
    (void)uv_run(&k.loop, UV_RUN_NOWAIT);
    (void)close(k.fd);
    (void)waitpid(pid, &status, 0);
    return status;
}

int
main(int argc, char **argv)
{
    struct zb_err err;

    zb_log_init("model keeper", ZB_LOG_INFO);
    if (argc != 3 || zb_conf_node_load(argv[2], &k.conf, &err) != ZB_OK) {
        fprintf(stderr, "usage: model_keeper ENGINE CONF (%s)\n", argc == 3 ? err.msg : "");
        return 2;
    }
    k.program = argv[1];
    k.conf_path = argv[2];
    k.nonce = zb_random_u64();
    model_guid = zb_random_u64() / 2;
    assert_int_equal(uv_loop_init(&k.loop), 0);
    int status;
    do {
        status = engine_run();
    } while (WIFSIGNALED(status));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
