/*
 * Stands in for the keeper on a host without ZFS: starts the engine as the keeper does and answers
 * its requests. No service ever exists here; what would make one is refused. For tests of
 * everything that is between engines: joining, the configuration, commands.
 *
 *   fake_keeper ENGINE CONF
 *
 * With FAKE_KEEPER_POOL in the environment its pool is another one.
 */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/be.h"
#include "base/log.h"
#include "conf/node.h"
#include "os/pipe.h"
#include "wire/kmsg.h"

static const char boot_id[] = "11111111-2222-4333-8444-555555555555";

static void
answer_fill(const struct zb_conf_node *conf, const struct zb_kreq *req, struct zb_krep *rep)
{
    switch (req->op) {
    case ZB_KOP_HELLO:
        zb_strcopy(rep->node, sizeof rep->node, conf->node);
        zb_strcopy(rep->root, sizeof rep->root, conf->root);
        zb_strcopy(rep->boot_id, sizeof rep->boot_id, boot_id);
        rep->nonce = zb_random_u64();
        rep->pool_guid = getenv("FAKE_KEEPER_POOL") != NULL ? 2 : 1;
        break;
    case ZB_KOP_DEFINE:
    case ZB_KOP_OBSERVE:
    case ZB_KOP_RESCUES:
    case ZB_KOP_BLOCKERS:
        break;
    case ZB_KOP_CREATE:
        if ((req->flags & ZB_KF_DRY_RUN) != 0) {
            char text[ZB_DATASET_NAME_SIZE + ZB_SERVICE_NAME_SIZE + 64];
            /* A service whose name begins with "old" is there already. */
            bool old = strncmp(req->service, "old", 3) == 0;
            (void)snprintf(text, sizeof text, "zfs %s %s/%s\n", old ? "set readonly=on" : "create",
                           conf->root, req->service);
            rep->text = strdup(text);
            break;
        }
        /* fall through */
    default:
        rep->rc = ZB_E_FAILED;
        zb_strcopy(rep->msg, sizeof rep->msg, "there is no ZFS on this host");
        break;
    }
}

/* One request; false when the engine has gone. */
static bool
serve(int fd, const struct zb_conf_node *conf)
{
    static uint8_t buf[ZB_KMSG_MAX + 4];
    struct zb_kreq req = {0};
    struct zb_krep rep = {0};
    struct zb_err err;
    size_t used = 0;

    if (zb_os_read_full(fd, buf, 4, &err) != ZB_OK) {
        return false;
    }
    uint32_t size = zb_be32_get(buf);
    if (size > ZB_KMSG_MAX || zb_os_read_full(fd, buf, size, &err) != ZB_OK ||
        zb_kreq_decode(buf, size, &req, &err) != ZB_OK) {
        zb_log_error("engine: %s", err.msg);
        return false;
    }
    rep.id = req.id;
    rep.op = req.op;
    answer_fill(conf, &req, &rep);
    if (zb_krep_encode(&rep, buf + 4, ZB_KMSG_MAX, &used, &err) != ZB_OK) {
        zb_log_error("answer: %s", err.msg);
        return false;
    }
    zb_be32_put(buf, (uint32_t)used);
    bool sent = write(fd, buf, used + 4) == (ssize_t)used + 4;
    zb_kreq_close(&req);
    zb_krep_close(&rep);
    return sent;
}

int
main(int argc, char **argv)
{
    struct zb_conf_node conf;
    struct zb_err err;
    int fds[2], status = 1;

    zb_log_init("fake keeper", ZB_LOG_INFO);
    if (argc != 3 || zb_conf_node_load(argv[2], &conf, &err) != ZB_OK ||
        socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0) {
        fprintf(stderr, "usage: fake_keeper ENGINE CONF (%s)\n", argc == 3 ? err.msg : "");
        return 2;
    }
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)dup2(fds[1], 3);
        execl(argv[1], argv[1], "-v", "-f", argv[2], "--engine", "3", (char *)NULL);
        _exit(127);
    }
    (void)close(fds[1]);
    while (serve(fds[0], &conf)) {
    }
    (void)waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
