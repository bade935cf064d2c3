/*
 * Two engines (test/unit/agent/pair.h) take a service through its first copy, a sync and a move,
 * while the Nth request of one of them to its keeper fails, or takes the engine with it. Every
 * command is answered, never are two trees writable, and in the end the move has been made.
 *
 * Most of a run is waiting for what is tried again later: each is a process of its own (this
 * program with three arguments), several at once.
 */
#include "fault.h"

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pair.h"
#include "base/log.h"

#define DEADLINE_MS 60000 /* of one wait: retries double their wait up to 30 s */
#define TURN_MS 20
#define AT_ONCE 64

extern char **environ;

/* Of the run of this process. */
static int fault_host;
static enum model_fault fault;
static uint64_t fault_at;

/* --- a run --- */

/* The engine whose keeper went away is started anew, as the keeper does it; the tree stays as it
 * is. */
static void
host_revive(struct pair *w, struct host *h)
{
    struct model kept = h->model;

    host_restart(w, h);
    h->model.mounted = kept.mounted;
    h->model.sealed = kept.sealed;
    h->model.running = kept.running;
    h->model.written = kept.written;
    h->model.requests = kept.requests;
    pair_declare(w);
}

static void
turn(struct pair *w)
{
    struct pollfd fds[PAIR_HOSTS];
    int wait_ms = TURN_MS;

    for (int i = 0; i < PAIR_HOSTS; i++) {
        struct host *h = &w->hosts[i];
        if (h->model.faulted != 0 && fault >= MODEL_DROPS) {
            host_revive(w, h);
        }
        (void)uv_run(&h->a.loop, UV_RUN_NOWAIT);
        int timeout = uv_backend_timeout(&h->a.loop);
        wait_ms = timeout >= 0 && timeout < wait_ms ? timeout : wait_ms;
        fds[i] = (struct pollfd){.fd = uv_backend_fd(&h->a.loop), .events = POLLIN};
    }
    assert_false(w->hosts[0].model.mounted && w->hosts[1].model.mounted);
    (void)poll(fds, PAIR_HOSTS, wait_ms);
}

static void
wait_for(struct pair *w, bool (*done)(const struct pair *w), const char *what)
{
    int64_t end = zb_mono_now().ms + DEADLINE_MS;

    while (!done(w)) {
        if (zb_mono_now().ms > end) {
            fail_msg("%s: not in time", what);
        }
        turn(w);
    }
}

static bool
vm2_follows_vm1(const struct pair *w)
{
    return pair_follows(&w->hosts[0], &w->hosts[1]);
}

static bool
vm1_follows_vm2(const struct pair *w)
{
    return pair_follows(&w->hosts[1], &w->hosts[0]);
}

static bool
one_follows_the_other(const struct pair *w)
{
    return vm2_follows_vm1(w) || vm1_follows_vm2(w);
}

/* Or the engine that was asked is no more, and with it the command: its client is told so. */
static bool
vm1_replied(const struct pair *w)
{
    return w->hosts[0].replies != 0;
}

/* One that a restart forgot has replies -1 from then on. */
static void
command(struct pair *w, enum zb_cmd_kind kind, uint8_t node, const char *what)
{
    struct host *vm1 = &w->hosts[0];
    uint64_t nonce = vm1->a.nonce;
    int64_t end = zb_mono_now().ms + DEADLINE_MS;

    host_command(vm1, kind, node);
    while (!vm1_replied(w) && vm1->a.nonce == nonce) {
        if (zb_mono_now().ms > end) {
            fail_msg("%s: no answer", what);
        }
        turn(w);
    }
    assert_true(vm1->replies <= 1);
    if (vm1->replies == 1 && vm1->reply_rc != ZB_OK) {
        assert_string_not_equal(vm1->reply_text, "");
    }
}

static void
story(void **state)
{
    struct pair *w = *state;
    struct host *vm1 = &w->hosts[0];
    struct host *vm2 = &w->hosts[1];

    w->hosts[fault_host].model.fault = fault;
    w->hosts[fault_host].model.fault_at = fault_at;
    pair_declare(w);
    wait_for(w, vm2_follows_vm1, "first copy");
    vm1->model.written = true;
    command(w, ZB_CMD_SYNC, ZB_NODE_NONE, "sync");
    wait_for(w, vm2_follows_vm1, "sync");
    for (int64_t end = zb_mono_now().ms + DEADLINE_MS;
         !vm1_follows_vm2(w) && zb_mono_now().ms < end;) {
        vm1->model.written = true; /* one that a fault made fail is started again */
        command(w, ZB_CMD_MOVE, host_other(vm1), "move");
        wait_for(w, one_follows_the_other, "after the move");
    }
    assert_true(vm1_follows_vm2(w));
    assert_true(vm2->model.running && vm2->model.mounted);
    assert_false(vm1->model.running || vm1->model.mounted);
}

/* --- all of them --- */

/* Exit codes of a run that held: without and with its fault. */
enum { CODE_CLEAN = 10, CODE_FAULTED = 11 };

static bool faulted;
static uint64_t requests[PAIR_HOSTS];

static int
story_teardown(void **state)
{
    struct pair *w = *state;

    for (int i = 0; i < PAIR_HOSTS; i++) {
        requests[i] = w->hosts[i].model.requests;
    }
    faulted = fault_at != 0 && requests[fault_host] >= fault_at;
    return pair_teardown(state);
}

static int
run_story(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(story, pair_setup, story_teardown)};

    (void)alarm(300);
    if (cmocka_run_group_tests(tests, NULL, NULL) != 0) {
        return 1;
    }
    return faulted ? CODE_FAULTED : CODE_CLEAN;
}

struct process {
    pid_t pid; /* 0: free */
    FILE *output;
    int host;
    enum model_fault what;
    uint64_t at;
};

static struct process processes[AT_ONCE];
static uint32_t injected[MODEL_BREAKS + 1];

static void
process_start(struct process *p, int host, enum model_fault what, uint64_t at)
{
    char self[] = "/proc/self/exe", words[3][24];
    char *argv[] = {self, words[0], words[1], words[2], NULL};
    posix_spawn_file_actions_t actions;

    *p = (struct process){.host = host, .what = what, .at = at, .output = tmpfile()};
    assert_non_null(p->output);
    (void)snprintf(words[0], sizeof words[0], "%d", host);
    (void)snprintf(words[1], sizeof words[1], "%d", (int)what);
    (void)snprintf(words[2], sizeof words[2], "%llu", (unsigned long long)at);
    assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
    for (int fd = 1; fd <= 2; fd++) {
        assert_int_equal(posix_spawn_file_actions_adddup2(&actions, fileno(p->output), fd), 0);
    }
    assert_int_equal(posix_spawn(&p->pid, self, &actions, NULL, argv, environ), 0);
    (void)posix_spawn_file_actions_destroy(&actions);
}

static void
others_end(void)
{
    for (struct process *p = processes; p < processes + AT_ONCE; p++) {
        if (p->pid != 0) {
            (void)kill(p->pid, SIGKILL);
            (void)waitpid(p->pid, NULL, 0);
            (void)fclose(p->output);
            p->pid = 0;
        }
    }
}

static void
process_end(void)
{
    int status = 0;
    pid_t pid = wait(&status);
    struct process *p = processes;

    while (p->pid != pid) {
        p++;
        assert_true(p < processes + AT_ONCE);
    }
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    p->pid = 0;
    if (code != CODE_FAULTED && code != CODE_CLEAN) {
        char said[8192];
        others_end();
        rewind(p->output);
        said[fread(said, 1, sizeof said - 1, p->output)] = '\0';
        fail_msg("vm%d, request %llu, fault %d: status %#x: %s", p->host + 1,
                 (unsigned long long)p->at, (int)p->what, (unsigned)status, said);
    }
    injected[p->what] += code == CODE_FAULTED;
    (void)fclose(p->output);
}

static const char *const names[] = {
    [MODEL_REFUSES] = "a request that fails",
    [MODEL_UNSURE] = "a request that is done and told to have failed",
    [MODEL_DROPS] = "a request that is lost with the engine",
    [MODEL_BREAKS] = "a reply that is lost with the engine",
};
#define FAULTS_COUNT (sizeof names / sizeof names[0])

static struct process *
process_free(void)
{
    for (struct process *p = processes; p < processes + AT_ONCE; p++) {
        if (p->pid == 0) {
            return p;
        }
    }
    return NULL;
}

/* Every fault at every request of each host. */
static void
requests_and_replies(void **state)
{
    unsigned running = 0;
    (void)state;

    for (unsigned what = MODEL_REFUSES; what < FAULTS_COUNT; what++) {
        for (int host = 0; host < PAIR_HOSTS; host++) {
            uint64_t first = 1 + what % fault_stride();
            for (uint64_t at = first; at <= requests[host]; at += fault_stride(), running++) {
                struct process *p = process_free();
                if (p == NULL) {
                    process_end();
                    running--;
                    p = process_free();
                }
                process_start(p, host, (enum model_fault)what, at);
            }
        }
    }
    for (; running > 0; running--) {
        process_end();
    }
    for (unsigned what = MODEL_REFUSES; what < FAULTS_COUNT; what++) {
        print_message("%s: %u faults\n", names[what], injected[what]);
        assert_true(injected[what] > 0);
    }
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_and_replies),
    };

    if (argc == 4) {
        fault_host = atoi(argv[1]) != 0;
        fault = (enum model_fault)atoi(argv[2]);
        fault_at = strtoull(argv[3], NULL, 10);
        return run_story();
    }
    if (run_story() != CODE_CLEAN) { /* which says how many requests there are */
        return 1;
    }
    (void)alarm(0);
    print_message("%llu and %llu requests\n", (unsigned long long)requests[0],
                  (unsigned long long)requests[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
