/*
 * What streams cost on loopback: two processes, one net each; the source is a thread that writes
 * zeros into a pipe, the sink a thread that reads another one. Prints bytes per second of one bulk
 * stream and the round trip of small ones (header, 4 KiB, END, reply). Run by `meson test
 * --benchmark`.
 */
#include "world.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define BULK_BYTES (4ull << 30)
#define SMALL_COUNT 5000
#define PIPE_BYTES (1 << 20)

static uint8_t block[256 << 10];

static void *
writer(void *ctx)
{
    int fd = *(int *)ctx;
    for (uint64_t left = BULK_BYTES; left > 0;) {
        ssize_t n = write(fd, block, left < sizeof block ? left : sizeof block);
        if (n < 0) {
            break;
        }
        left -= (uint64_t)n;
    }
    close(fd);
    return NULL;
}

static void *
reader(void *ctx)
{
    static uint8_t taken[256 << 10];
    int fd = *(int *)ctx;
    while (read(fd, taken, sizeof taken) > 0) {
    }
    close(fd);
    return NULL;
}

static void
pipe_open(int fds[2])
{
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    (void)fcntl(fds[0], F_SETPIPE_SZ, PIPE_BYTES);
}

static void
to_reader(struct host *h, struct flow *f)
{
    static pthread_t thread;
    static int fds[2];
    struct zb_err err;
    h->flows_count = 0; /* one at a time */
    if (json_integer_value(json_object_get(f->header, "n")) == 0) {
        pipe_open(fds);
        assert_int_equal(pthread_create(&thread, NULL, reader, &fds[0]), 0);
        assert_int_equal(zb_stream_pump_to_fd(f->stream, fds[1], &err), ZB_OK);
        (void)pthread_detach(thread);
    } else {
        flow_swallow(h, f);
    }
}

static double
cpu_s(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void
bulk(struct world *w, struct host *a, struct host *b)
{
    struct flow f;
    int fds[2];
    struct zb_err err;
    pthread_t thread;
    uint64_t begin = uv_hrtime();
    pipe_open(fds);
    flow_open(a, b, &f, 0);
    assert_int_equal(pthread_create(&thread, NULL, writer, &fds[1]), 0);
    assert_int_equal(zb_stream_pump_from_fd(f.stream, fds[0], &err), ZB_OK);
    flow_finish(&f);
    while (f.replies == 0) {
        assert_int_equal(f.closes, 0);
        world_step(w);
    }
    pthread_join(thread, NULL);
    double s = (double)(uv_hrtime() - begin) / 1e9;
    printf("bulk: %.0f MiB/s (%.2f s, sender's cpu %.2f s)\n", (double)BULK_BYTES / s / (1 << 20),
           s, cpu_s());
    flow_close(&f);
}

static void
small(struct world *w, struct host *a, struct host *b)
{
    uint64_t begin = uv_hrtime();
    for (int i = 0; i < SMALL_COUNT; i++) {
        struct flow f;
        struct zb_err err;
        flow_open(a, b, &f, 1);
        assert_int_equal(zb_stream_write(f.stream, block, 4096, &err), ZB_OK);
        flow_finish(&f);
        WAIT(w, f.replies == 1);
        flow_close(&f);
    }
    printf("small: %.1f us per stream\n", (double)(uv_hrtime() - begin) / 1000 / SMALL_COUNT);
}

static void
bench(void **state)
{
    struct world w;
    struct host a, b;
    (void)state;
    pair_init(&w, &a, &b);
    zb_strcopy(a.address, sizeof a.address, "127.0.0.1:17979");
    zb_strcopy(b.address, sizeof b.address, "127.0.0.1:17980");
    pid_t child = fork(); /* before the loop has threads or epoll of its own */
    assert_true(child >= 0);
    assert_int_equal(uv_loop_fork(&w.loop), 0);
    if (child == 0) {
        b.on_flow = to_reader;
        host_start(&b);
        host_knows(&b, &a);
        while (b.downs == 0) {
            world_step(&w);
        }
        _exit(0);
    }
    host_start(&a);
    host_knows(&a, &b);
    WAIT(&w, a.ups == 1);
    bulk(&w, &a, &b);
    small(&w, &a, &b);
    host_close(&a);
    host_close(&b);
    world_close(&w);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(bench)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
