/*
 * A keeper whose engine does what a test says.
 *
 *   keeper_probe CONF                     the keeper (zb_keeper_run); started with "--engine 3"
 * behind that: its engine, which hands requests of clients on <run-dir>/probe.sock through
 *   keeper_probe ask CONF name=value ...  one request; prints the reply as JSON, and "elapsed_ms"
 *   keeper_probe ship FROM TO name=value ...
 *                                         SEND at the keeper of FROM into RECEIVE at the keeper of
 * TO
 *
 * A file <run-dir>/die with a number N in it: the keeper is killed (SIGKILL) before its N-th change
 * of a dataset from then on, counted from 0.
 *
 * The values: probe.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/be.h"
#include "base/log.h"
#include "conf/node.h"
#include "keeper/keeper.h"
#include "probe.h"
#include "wire/kmsg.h"
#include "zfs/zfs.h"

#define CLIENTS_MAX 64
#define KEEPER_FD 3
#define BREAK_VERSION 666 /* HELLO with it: the engine sends rubbish */

void
die(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(1);
}

/* ---- an end between two steps ---- */

static char die_path[128];

static void
step(void)
{
    char text[16] = "";
    FILE *f = die_path[0] != '\0' ? fopen(die_path, "r+e") : NULL;
    unsigned long left;

    if (f == NULL) {
        return;
    }
    left = fgets(text, sizeof(text), f) != NULL ? strtoul(text, NULL, 10) : 0;
    rewind(f);
    fprintf(f, "%lu\n", left > 0 ? left - 1 : 0);
    fclose(f);
    if (left == 0) {
        unlink(die_path);
        raise(SIGKILL);
    }
}

#define STEP(name, parameters, ...)                                                                \
    enum zb_rc __real_##name parameters;                                                           \
    enum zb_rc __wrap_##name parameters;                                                           \
    enum zb_rc __wrap_##name parameters                                                            \
    {                                                                                              \
        step();                                                                                    \
        return __real_##name(__VA_ARGS__);                                                         \
    }

STEP(zb_zfs_create,
     (const char *dataset, const struct zb_zfs_setprop *props, size_t count, struct zb_err *err),
     dataset, props, count, err)
STEP(zb_zfs_props_set,
     (const char *dataset, const struct zb_zfs_setprop *props, size_t count, struct zb_err *err),
     dataset, props, count, err)
STEP(zb_zfs_rename, (const char *from, const char *to, struct zb_err *err), from, to, err)
STEP(zb_zfs_clone,
     (const char *dataset, const char *snap, const struct zb_zfs_setprop *props, size_t count,
      struct zb_err *err),
     dataset, snap, props, count, err)
STEP(zb_zfs_promote, (const char *dataset, struct zb_err *err), dataset, err)
STEP(zb_zfs_destroy, (const char *dataset, struct zb_err *err), dataset, err)

/* ---- messages over a socket, with a descriptor ---- */

static void
bytes_send(int fd, const void *data, size_t size, int pass_fd)
{
    const char *p = data;

    while (size > 0) {
        struct iovec iov = {.iov_base = (void *)(uintptr_t)p, .iov_len = size};
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
        union {
            char buf[CMSG_SPACE(sizeof(int))];
            struct cmsghdr align;
        } control = {0};
        ssize_t n;

        if (pass_fd >= 0) {
            msg.msg_control = control.buf;
            msg.msg_controllen = sizeof(control.buf);
            struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
            c->cmsg_level = SOL_SOCKET;
            c->cmsg_type = SCM_RIGHTS;
            c->cmsg_len = CMSG_LEN(sizeof(int));
            memcpy(CMSG_DATA(c), &pass_fd, sizeof(int));
        }
        n = sendmsg(fd, &msg, MSG_NOSIGNAL);
        if (n < 0) {
            return; /* the other side went away: its own end will say so */
        }
        pass_fd = -1;
        p += n;
        size -= (size_t)n;
    }
}

/* False: closed. *got_fd is set when one came. */
static bool
bytes_take(int fd, void *data, size_t size, int *got_fd)
{
    char *p = data;

    while (size > 0) {
        struct iovec iov = {.iov_base = p, .iov_len = size};
        union {
            char buf[CMSG_SPACE(sizeof(int))];
            struct cmsghdr align;
        } control;
        struct msghdr msg = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.buf,
                             .msg_controllen = sizeof(control.buf)};
        ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
        const struct cmsghdr *c;

        if (n <= 0) {
            return false;
        }
        c = CMSG_FIRSTHDR(&msg);
        if (c != NULL && c->cmsg_type == SCM_RIGHTS) {
            memcpy(got_fd, CMSG_DATA(c), sizeof(int));
        }
        p += n;
        size -= (size_t)n;
    }
    return true;
}

static uint8_t buffer[4 + ZB_KMSG_MAX];

static bool
message_take(int fd, size_t *size, int *got_fd)
{
    if (!bytes_take(fd, buffer, 4, got_fd)) {
        return false;
    }
    *size = zb_be32_get(buffer);
    return *size <= ZB_KMSG_MAX && bytes_take(fd, buffer + 4, *size, got_fd);
}

static void
request_send(int fd, const struct zb_kreq *req)
{
    struct zb_err err;
    size_t used;

    if (zb_kreq_encode(req, buffer + 4, ZB_KMSG_MAX, &used, &err) != ZB_OK) {
        die("encode: %s", err.msg);
    }
    zb_be32_put(buffer, (uint32_t)used);
    bytes_send(fd, buffer, 4 + used, -1);
}

static void
reply_send(int fd, const struct zb_krep *rep, int pass_fd)
{
    struct zb_err err;
    size_t used;

    if (zb_krep_encode(rep, buffer + 4, ZB_KMSG_MAX, &used, &err) != ZB_OK) {
        die("encode: %s", err.msg);
    }
    zb_be32_put(buffer, (uint32_t)used);
    bytes_send(fd, buffer, 4 + used, pass_fd);
}

/* ---- the engine: hands requests and replies through ---- */

static struct pending {
    uint64_t id; /* towards the keeper */
    uint64_t client_id;
    int client; /* its socket, 0: free */
} pendings[CLIENTS_MAX * 4];

static struct pending *
pending_find(uint64_t id, int client)
{
    for (size_t i = 0; i < sizeof(pendings) / sizeof(pendings[0]); i++) {
        if (client >= 0 ? pendings[i].client == client && pendings[i].client_id == id
                        : pendings[i].client != 0 && pendings[i].id == id) {
            return &pendings[i];
        }
    }
    return NULL;
}

static bool
client_read(int client)
{
    static uint64_t next_id = 1000;
    struct zb_kreq req = {0};
    struct zb_err err;
    size_t size;
    int fd = -1;

    if (!message_take(client, &size, &fd)) {
        return false;
    }
    if (zb_kreq_decode(buffer + 4, size, &req, &err) != ZB_OK) {
        return false;
    }
    if (req.op == ZB_KOP_HELLO && req.version == BREAK_VERSION) {
        memset(buffer, 0x7f, 64);
        bytes_send(KEEPER_FD, buffer, 64, -1);
    }
    if (req.op == ZB_KOP_CANCEL && pending_find(req.target, client) != NULL) {
        req.target = pending_find(req.target, client)->id;
    }
    for (size_t i = 0; i < sizeof(pendings) / sizeof(pendings[0]); i++) {
        if (pendings[i].client == 0) {
            pendings[i] = (struct pending){++next_id, req.id, client};
            req.id = next_id;
            request_send(KEEPER_FD, &req);
            break;
        }
    }
    zb_kreq_close(&req);
    return true;
}

static void
keeper_read(void)
{
    struct zb_krep rep = {0};
    struct zb_err err;
    struct pending *p;
    size_t size;
    int fd = -1;

    if (!message_take(KEEPER_FD, &size, &fd)) {
        exit(0);
    }
    if (zb_krep_decode(buffer + 4, size, &rep, &err) != ZB_OK) {
        die("decode: %s", err.msg);
    }
    p = pending_find(rep.id, -1);
    if (p != NULL) {
        rep.id = p->client_id;
        reply_send(p->client, &rep, fd);
        if (!rep.more) {
            p->client = 0;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    zb_krep_close(&rep);
}

static void
client_forget(int client)
{
    for (size_t i = 0; i < sizeof(pendings) / sizeof(pendings[0]); i++) {
        if (pendings[i].client == client) {
            pendings[i].client = 0;
        }
    }
    close(client);
}

static struct sockaddr_un
socket_address(const struct zb_conf_node *conf)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof(a.sun_path), "%.80s/probe.sock", conf->run_dir);
    return a;
}

static int
engine(const struct zb_conf_node *conf)
{
    struct sockaddr_un a = socket_address(conf);
    struct zb_kreq hello = {.id = 1, .op = ZB_KOP_HELLO, .version = ZB_KMSG_VERSION};
    struct pollfd p[2 + CLIENTS_MAX] = {{.fd = KEEPER_FD, .events = POLLIN}};
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    mkdir(conf->run_dir, 0755);
    unlink(a.sun_path);
    request_send(KEEPER_FD, &hello);
    if (bind(listener, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(listener, 16) != 0) {
        die("listen: %s", strerror(errno));
    }
    p[1] = (struct pollfd){.fd = listener, .events = POLLIN};
    for (size_t i = 2; i < 2 + CLIENTS_MAX; i++) {
        p[i] = (struct pollfd){.fd = -1, .events = POLLIN};
    }
    for (;;) {
        poll(p, 2 + CLIENTS_MAX, -1);
        if (p[0].revents != 0) {
            keeper_read();
        }
        for (size_t i = 2; i < 2 + CLIENTS_MAX; i++) {
            if (p[i].revents != 0 && !client_read(p[i].fd)) {
                client_forget(p[i].fd);
                p[i].fd = -1;
            }
        }
        for (size_t i = 2; p[1].revents != 0 && i < 2 + CLIENTS_MAX; i++) {
            if (p[i].fd < 0) {
                p[i].fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
                p[1].revents = 0;
            }
        }
    }
}

/* ---- clients ---- */

static int
keeper_connect(const char *conf_path)
{
    struct zb_conf_node conf;
    struct zb_err err;
    struct sockaddr_un a;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (zb_conf_node_load(conf_path, &conf, &err) != ZB_OK) {
        die("%s", err.msg);
    }
    a = socket_address(&conf);
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0) {
        die("connect %s: %s", a.sun_path, strerror(errno));
    }
    return fd;
}

/* The next reply; its descriptor in *fd. */
static void
reply_take(int sock, struct zb_krep *rep, int *fd)
{
    struct zb_err err;
    size_t size;

    zb_krep_close(rep);
    *rep = (struct zb_krep){0};
    if (!message_take(sock, &size, fd)) {
        die("the engine went away");
    }
    if (zb_krep_decode(buffer + 4, size, rep, &err) != ZB_OK) {
        die("decode: %s", err.msg);
    }
}

static void
print(json_t *out, int64_t begin)
{
    json_object_set_new(out, "elapsed_ms", json_integer(zb_mono_now().ms - begin));
    json_dumpf(out, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(out);
}

static int
ask(const char *conf, struct zb_kreq *req, const struct probe_extras *x)
{
    struct zb_krep rep = {0};
    int sock = keeper_connect(conf);
    int64_t begin = zb_mono_now().ms;
    int fd = -1;

    req->id = 1;
    request_send(sock, req);
    do {
        reply_take(sock, &rep, &fd);
        if (rep.more && x->cancel_after_ms != 0) {
            struct zb_kreq cancel = {.id = 2, .op = ZB_KOP_CANCEL, .target = 1};
            usleep((useconds_t)x->cancel_after_ms * 1000);
            request_send(sock, &cancel);
        } else if (rep.more) {
            close(fd); /* nobody reads or writes the stream */
        }
    } while (rep.more || rep.id != 1);
    print(probe_reply(&rep), begin);
    zb_krep_close(&rep);
    return 0;
}

/* Copies the stream as the extras say; closes both ends unless it stalls. */
static void
pump(int from, int to, const struct probe_extras *x)
{
    uint64_t done = 0;

    for (;;) {
        static char chunk[65536];
        size_t want = sizeof(chunk);
        ssize_t n;

        if (x->has_limit && x->limit - done < want) {
            want = x->limit - done;
        }
        n = want > 0 ? read(from, chunk, want) : 0;
        if (n <= 0) {
            break;
        }
        if (x->has_change && x->change >= done && x->change < done + (uint64_t)n) {
            chunk[x->change - done] ^= 0x10;
        }
        bytes_send(to, chunk, (size_t)n, -1);
        done += (uint64_t)n;
    }
    if (!x->stall) {
        close(from);
        close(to);
    }
}

static int
ship(const char *from_conf, const char *to_conf, struct zb_kreq *req, const struct probe_extras *x)
{
    struct zb_krep send = {0};
    struct zb_krep receive = {0};
    int from = keeper_connect(from_conf);
    int to = keeper_connect(to_conf);
    int64_t begin = zb_mono_now().ms;
    int in = -1;
    int out = -1;
    json_t *both = json_object();

    req->id = 1;
    req->op = ZB_KOP_RECEIVE;
    request_send(to, req);
    reply_take(to, &receive, &out);
    if (receive.more) {
        req->op = ZB_KOP_SEND;
        request_send(from, req);
        reply_take(from, &send, &in);
        if (send.more) {
            pump(in, out, x);
        } else {
            close(out);
        }
        reply_take(to, &receive, &out);
        if (x->stall) {
            close(in);
        }
        if (send.more) {
            reply_take(from, &send, &in);
        }
    }
    json_object_set_new(both, "send", probe_reply(&send));
    json_object_set_new(both, "receive", probe_reply(&receive));
    print(both, begin);
    zb_krep_close(&send);
    zb_krep_close(&receive);
    return 0;
}

int
main(int argc, char **argv)
{
    struct zb_conf_node conf;
    struct zb_kreq req = {0};
    struct probe_extras x = {0};
    struct zb_err err;
    int words = argc > 1 && strcmp(argv[1], "ship") == 0 ? 4 : 3;
    bool client = argc > 2 && (words == 4 || strcmp(argv[1], "ask") == 0);

    req.time_s = zb_wall_now().s;
    for (int i = words; client && i < argc; i++) {
        probe_word(&req, &x, argv[i]);
    }
    if (client) {
        int status = words == 4 ? ship(argv[2], argv[3], &req, &x) : ask(argv[2], &req, &x);
        zb_kreq_close(&req);
        return status;
    }
    if (argc < 2 || zb_conf_node_load(argv[1], &conf, &err) != ZB_OK) {
        die("usage: keeper_probe CONF | ask CONF ... | ship FROM TO ...%s",
            argc < 2 ? "" : err.msg);
    }
    if (argc == 4 && strcmp(argv[2], "--engine") == 0) {
        zb_log_init("engine", ZB_LOG_INFO);
        return engine(&conf);
    }
    snprintf(die_path, sizeof(die_path), "%.100s/die", conf.run_dir);
    zb_log_init("keeper", ZB_LOG_DEBUG);
    if (zb_keeper_run(&conf, "/proc/self/exe", &err) != ZB_OK) {
        die("%s", err.msg);
    }
    return 0;
}
