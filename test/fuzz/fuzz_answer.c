/*
 * Answers of the daemon, as zbaton reads and shows them: lines of JSON. The first byte says which
 * command was asked and how it is shown. Whatever the daemon says, a terminal gets text only.
 */
#include "fuzz.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cmd/client.h"
#include "cmd/show.h"

enum kind { STATUS, NODES, TOKENS, HISTORY, EVENTS, APPLY, MOVE, PLAN, KINDS_COUNT, TRANSFERS };
#define SCRIPTED 0x08
#define EXACT 0x10
#define TERMINAL 0x20
#define IS_TRANSFERS 0x40 /* whatever the lowest bits say */

static struct {
    char path[80]; /* of the socket */
    int listen_fd;
    const uint8_t *data;
    size_t size;
} world;

static void
daemon_open(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    (void)snprintf(world.path, sizeof world.path, "/tmp/zbaton-fuzz-answer-%d", (int)getpid());
    zb_strcopy(address.sun_path, sizeof address.sun_path, world.path);
    world.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = bind(world.listen_fd, (const struct sockaddr *)&address, sizeof address);
    assert(rc == 0);
    rc = listen(world.listen_fd, 1);
    assert(rc == 0);
}

/* At once: libFuzzer ends without atexit(3). */
static void
daemon_close(void)
{
    (void)unlink(world.path);
    (void)close(world.listen_fd);
}

/* The daemon: takes the request, answers, closes. */
static void *
serve(void *unused)
{
    char request[256];
    int fd = accept(world.listen_fd, NULL, NULL);

    (void)unused;
    assert(fd >= 0);
    ssize_t got = read(fd, request, sizeof request);
    assert(got > 0);
    for (size_t sent = 0; sent < world.size;) {
        ssize_t n = send(fd, world.data + sent, world.size - sent, MSG_NOSIGNAL);
        if (n < 0) {
            break; /* the client has heard enough */
        }
        sent += (size_t)n;
    }
    (void)close(fd);
    return NULL;
}

struct shown {
    struct zb_show show;
    struct zb_show_progress progress;
    enum kind kind;
};

static bool
on_progress(void *ctx, const json_t *progress)
{
    struct shown *s = ctx;

    if (s->kind == EVENTS) {
        zb_show_event(&s->show, progress);
    } else {
        zb_show_steps_progress(&s->progress, progress);
    }
    return true;
}

static void
data_show(struct shown *s, const json_t *data)
{
    static enum zb_rc (*const tables[])(const struct zb_show *, const json_t *,
                                        struct zb_err *) = {[STATUS] = zb_show_status,
                                                            [NODES] = zb_show_nodes,
                                                            [TOKENS] = zb_show_tokens,
                                                            [TRANSFERS] = zb_show_transfers};
    struct zb_err err;
    enum zb_rc rc = ZB_OK;

    switch (s->kind) {
    case HISTORY:
        zb_show_history(&s->show, data);
        break;
    case APPLY:
        zb_show_apply(&s->show, data);
        break;
    case MOVE:
        zb_show_move_result(&s->show, "web", "vm2", data);
        break;
    case PLAN:
        zb_show_steps_plan(&s->show, data);
        break;
    case EVENTS:
        zb_show_event(&s->show, data);
        break;
    default:
        rc = tables[s->kind](&s->show, data, &err);
    }
    assert(rc == ZB_OK);
}

/* No control character but those that the program itself writes. */
static void
output_check(const char *text, size_t size, bool terminal)
{
    static const char begin_again[] = "\r\033[K";

    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (terminal && strncmp(text + i, begin_again, sizeof begin_again - 1) == 0) {
            i += sizeof begin_again - 2;
            continue;
        }
        assert((c >= 0x20 && c != 0x7f) || c == '\n' || c == '\t');
        assert(c != 0xc2 || (unsigned char)text[i + 1] >= 0xa0);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = NULL;
    size_t text_size = 0;
    json_t *answer = NULL;
    struct zb_err err;
    pthread_t thread;

    if (size == 0) {
        return 0;
    }
    daemon_open();
    world.data = data + 1;
    world.size = size - 1;
    FILE *out = open_memstream(&text, &text_size);
    assert(out != NULL);
    struct shown s = {.kind = (data[0] & IS_TRANSFERS) != 0 ? TRANSFERS
                                                            : (enum kind)(data[0] % KINDS_COUNT),
                      .show = {.out = out,
                               .scripted = (data[0] & SCRIPTED) != 0,
                               .exact = (data[0] & EXACT) != 0,
                               .terminal = (data[0] & TERMINAL) != 0}};
    s.progress.show = &s.show;
    struct zb_client_call call = {
        .socket = world.path, .cmd = "status", .on_progress = on_progress, .ctx = &s};
    int rc = pthread_create(&thread, NULL, serve, NULL);
    assert(rc == 0);
    if (zb_client_call(&call, &answer, &err) == ZB_OK) {
        data_show(&s, answer);
    }
    zb_show_steps_end(&s.progress);
    (void)pthread_join(thread, NULL);
    daemon_close();
    (void)fclose(out);
    output_check(text, text_size, s.show.terminal);
    json_decref(answer);
    free(text);
    return 0;
}
