#include "fault.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/types.h"

#define RUNS_MAX 100000 /* a scenario without an end is a mistake of the test */
#define EACH_MAX 40     /* of a long loop the first so many runs are made one by one */
#define CHILD_SECONDS 20

static struct {
    bool armed;
    enum fault_mode mode;
    uint32_t nth;
    uint32_t calls;
    uint32_t failed;
} state;

void
fault_arm(uint32_t nth, enum fault_mode mode)
{
    state.mode = mode;
    state.nth = nth;
    state.calls = 0;
    state.failed = 0;
    state.armed = true;
}

uint32_t
fault_disarm(void)
{
    state.armed = false;
    return state.failed;
}

bool
fault_due(void)
{
    if (!state.armed) {
        return false;
    }
    state.calls++;
    bool due = state.mode == FAULT_ONCE ? state.calls == state.nth : state.calls >= state.nth;
    state.failed += due;
    return due;
}

/* --- files --- */

void
fault_dir_make(char path[64])
{
    /* In memory where that can be: thousands of runs sync their files. */
    zb_strcopy(path, 64, "/dev/shm/zbaton-fault-XXXXXX");
    if (mkdtemp(path) == NULL) {
        zb_strcopy(path, 64, "/tmp/zbaton-fault-XXXXXX");
        assert_non_null(mkdtemp(path));
    }
}

static int
entry_remove(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

void
fault_dir_remove(const char *path)
{
    assert_int_equal(nftw(path, entry_remove, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static unsigned
descriptors_count(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/fd");

    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        count++;
    }
    (void)closedir(dir);
    return count;
}

/* --- loops --- */

static void
error_check(const struct fault_case *c, uint32_t n, enum zb_rc rc, const struct zb_err *err)
{
    if (rc == ZB_OK && c->absorbs) {
        return;
    }
    if (rc == ZB_OK || (c->rc != ZB_OK && rc != c->rc)) {
        fail_msg("%s, fault %u: %s (%s)", c->name, n, zb_rc_word(rc), rc != ZB_OK ? err->msg : "");
    }
    if (err->rc != rc || err->msg[0] == '\0' || strstr(err->msg, "(null)") != NULL ||
        (c->place != NULL && strstr(err->msg, c->place) == NULL)) {
        fail_msg("%s, fault %u: no clear error: %s \"%s\"", c->name, n, zb_rc_word(rc), err->msg);
    }
}

/* One run with the Nth call failing, and one without faults behind it; whether any failed. */
static bool
run_once(const struct fault_case *c, uint32_t n)
{
    struct zb_err err = {0};
    void *ctx = c->setup != NULL ? c->setup() : NULL;
    unsigned open_before = descriptors_count();

    fault_arm(n, c->mode);
    enum zb_rc rc = c->run(ctx, &err);
    uint32_t failed = fault_disarm();
    if (failed == 0 && rc != ZB_OK) {
        fail_msg("%s without a fault: %s", c->name, err.msg);
    }
    if (failed > 0) {
        error_check(c, n, rc, &err);
    }
    if (descriptors_count() != open_before) {
        fail_msg("%s, fault %u: %u descriptors open before, %u after", c->name, n, open_before,
                 descriptors_count());
    }
    if (c->check != NULL) {
        c->check(ctx, rc);
    }
    if (failed > 0) {
        rc = c->run(ctx, &err);
        if (rc != ZB_OK) {
            fail_msg("%s after fault %u: %s", c->name, n, err.msg);
        }
        if (c->check != NULL) {
            c->check(ctx, rc);
        }
    }
    if (c->teardown != NULL) {
        c->teardown(ctx);
    }
    return failed > 0;
}

uint32_t
fault_stride(void)
{
    const char *text = getenv("ZB_FAULT_STRIDE");
    unsigned long stride = text != NULL ? strtoul(text, NULL, 10) : 1;

    return stride > 0 ? (uint32_t)stride : 1;
}

/* injects: makes the run of n; whether a call failed in it. */
static void
loop(const struct fault_case *c, bool (*injects)(const struct fault_case *c, uint32_t n))
{
    uint32_t n = 1;
    uint32_t injected = 0;

    while (injects(c, n)) {
        injected++;
        n += n < EACH_MAX ? 1 : fault_stride();
        assert_true(n < RUNS_MAX);
    }
    print_message("%s: %u faults\n", c->name, injected);
    assert_true(injected > 0);
}

void
fault_loop(const struct fault_case *c)
{
    loop(c, run_once);
}

/* In the child: its stderr is the file; exit codes 10 and 11 are those of a run that came to its
 * end, without and with a fault. */
static void
child_run(const struct fault_case *c, uint32_t n, int output, void *ctx)
{
    struct zb_err err = {0};

    (void)signal(SIGABRT, SIG_DFL); /* cmocka's handler would write about it */
    (void)alarm(CHILD_SECONDS);
    (void)dup2(output, STDERR_FILENO);
    fault_arm(n, c->mode);
    enum zb_rc rc = c->run(ctx, &err);
    uint32_t failed = fault_disarm();
    if (rc != ZB_OK && (failed == 0 || err.msg[0] == '\0')) {
        (void)fprintf(stderr, "ended with %s \"%s\"\n", zb_rc_word(rc), err.msg);
        _exit(2);
    }
    _exit(failed > 0 ? 11 : 10);
}

/* True: a fault was injected. */
static bool
child_check(const struct fault_case *c, uint32_t n, int status, const char *said)
{
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    bool ended = (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) || code == 1;

    if (code == 10 || code == 11) {
        return code == 11;
    }
    if (!ended || strstr(said, "out of memory") == NULL) {
        fail_msg("%s, fault %u: status %#x, said \"%s\"", c->name, n, (unsigned)status, said);
    }
    return true;
}

static bool
run_in_child(const struct fault_case *c, uint32_t n)
{
    char said[4096];
    int status = 0;
    void *ctx = c->setup != NULL ? c->setup() : NULL;
    FILE *output = tmpfile();

    assert_non_null(output);
    (void)fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        child_run(c, n, fileno(output), ctx);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    rewind(output);
    said[fread(said, 1, sizeof said - 1, output)] = '\0';
    (void)fclose(output);
    bool injected = child_check(c, n, status, said);
    if (c->check != NULL) {
        c->check(ctx, ZB_OK);
    }
    if (c->teardown != NULL) {
        c->teardown(ctx);
    }
    return injected;
}

void
fault_loop_ends(const struct fault_case *c)
{
    loop(c, run_in_child);
}
