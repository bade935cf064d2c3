/* FENCE of the keeper, with programs in real groups; skipped where cgroup2 cannot be written. */
#include "unit.h"

#include <sys/stat.h>
#include <unistd.h>

#include "keeper/internal.h"
#include "os/cgroup.h"
#include "os/spawn.h"

#define DEADLINE_MS 10000

struct fixture {
    char dir[32];
    struct zb_conf_node conf;
    struct zb_keeper k;
    struct zb_keeper_service s;
};

static bool usable;

static int
usable_look(void **state)
{
    struct zb_err err;
    int fd = -1;
    (void)state;

    usable = geteuid() == 0 && zb_os_cgroup_open("unit-fence", &fd, &err) == ZB_OK;
    if (usable) {
        (void)close(fd);
        zb_os_cgroup_remove("unit-fence");
    } else {
        print_message("skipped: no cgroup2 hierarchy that can be written here\n");
    }
    return 0;
}

static void
program_make(const struct fixture *f, const char *text)
{
    FILE *file = fopen(f->conf.fence_command, "we");

    assert_non_null(file);
    assert_true(fprintf(file, "#!/bin/sh\n%s\n", text) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(f->conf.fence_command, 0755), 0);
}

/* The keeper of vm2, which granted itself term 4 after vm1 had led term 3. */
static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    zb_strcopy(f->dir, sizeof(f->dir), "/tmp/zb-kfence-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->conf.node, sizeof(f->conf.node), "unit%d", (int)getpid());
    (void)snprintf(f->conf.fence_command, sizeof(f->conf.fence_command), "%s/fence", f->dir);
    f->conf.fence_timeout_ms = 60000;
    f->k.conf = &f->conf;
    f->k.engine_fd = -1;
    assert_int_equal(pthread_mutex_init(&f->k.lock, NULL), 0);
    zb_strcopy(f->s.name, sizeof(f->s.name), "web");
    f->s.defined = true;
    f->s.conf.members = (struct zb_conf_names){.count = 3, .items = {"vm1", "vm3", "vm4"}};
    f->s.record.rec = (struct zb_record){
        .granted_term = 4, .learned_term = 3, .learned_leader = "vm1", .suspects = {"vm1"}};
    zb_strcopy(f->s.record.rec.granted_to, ZB_NODE_NAME_SIZE, f->conf.node);
    f->k.services[f->k.services_count++] = &f->s;
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    (void)unlink(f->conf.fence_command);
    assert_int_equal(rmdir(f->dir), 0);
    free(f);
    return 0;
}

static struct zb_keeper_job *
job_make(struct fixture *f, const char *node)
{
    static const struct zb_keeper_op op = {.op = ZB_KOP_FENCE, .handler = zb_keeper_op_fence};
    struct zb_keeper_job *job = zb_keeper_job_new();

    if (!usable) {
        zb_keeper_job_free(job);
        skip();
    }
    assert_non_null(job);
    job->op = &op;
    job->service = &f->s;
    job->conf = f->s.conf;
    job->req = (struct zb_kreq){.id = 1, .op = ZB_KOP_FENCE, .term = 4};
    zb_strcopy(job->req.service, sizeof(job->req.service), "web");
    zb_strcopy(job->req.node, sizeof(job->req.node), node);
    job->req.text = strdup("lab");
    return job;
}

static void
answers(struct fixture *f, struct zb_keeper_job *job, enum zb_rc wanted, const char *message)
{
    zb_keeper_job_run(&f->k, job);
    assert_int_equal(job->rep.rc, wanted);
    if (strstr(job->rep.msg, message) == NULL) {
        fail_msg("'%s' is not in '%s'", message, job->rep.msg);
    }
    zb_keeper_job_free(job);
}

static void
what_it_runs(void **state)
{
    struct fixture *f = *state;

    struct zb_keeper_job *job = job_make(f, "vm1");
    program_make(f, "[ \"$1|$ZBATON_NODE|$ZBATON_CLUSTER|$ZBATON_SERVICE|$ZBATON_TERM\" = "
                    "'vm1|vm1|lab|web|4' ]");
    answers(f, job, ZB_OK, "");
    program_make(f, "echo no answer of the BMC >&2; exit 1");
    answers(f, job_make(f, "vm3"), ZB_E_FAILED, "fence vm3: exit status 1: no answer of the BMC");
    f->conf.fence_timeout_ms = 200;
    program_make(f, "sleep 1000");
    answers(f, job_make(f, "vm1"), ZB_E_TIMEOUT, "not ended after 200 ms");
}

static void
what_it_refuses(void **state)
{
    struct fixture *f = *state;
    struct zb_keeper_job *job = job_make(f, f->conf.node);

    program_make(f, "exit 0");
    answers(f, job, ZB_E_REFUSED, "does not fence itself");
    answers(f, job_make(f, "vm9"), ZB_E_REFUSED, "vm9 is no member of web");
    job = job_make(f, "vm1");
    job->req.term = 5;
    answers(f, job, ZB_E_REFUSED, "has not granted term 5 to itself");
    job = job_make(f, "vm1");
    job->req.text[0] = ' ';
    answers(f, job, ZB_E_USAGE, "the cluster's name");
    assert_int_equal(chmod(f->conf.fence_command, 0777), 0);
    answers(f, job_make(f, "vm1"), ZB_E_REFUSED, "can be changed by others than root");
    assert_int_equal(unlink(f->conf.fence_command), 0);
    answers(f, job_make(f, "vm1"), ZB_E_NOTFOUND, "no program");
    f->conf.fence_command[0] = '\0';
    answers(f, job_make(f, "vm1"), ZB_E_UNSUPPORTED, "has no fence-command");
    (void)snprintf(f->conf.fence_command, sizeof(f->conf.fence_command), "%s/fence", f->dir);
}

/* ---- several, and their end ---- */

struct thread {
    struct fixture *f;
    struct zb_keeper_job *job;
    pthread_t id;
};

static void *
job_thread(void *arg)
{
    struct thread *t = arg;

    zb_keeper_job_run(&t->f->k, t->job);
    return NULL;
}

static bool
group_populated(const struct fixture *f, const char *node)
{
    char group[128];
    struct zb_err err;
    bool populated = false;

    (void)snprintf(group, sizeof(group), "%s.%s.fence", f->conf.node, node);
    return zb_os_cgroup_populated(group, &populated, &err) == ZB_OK && populated;
}

static void
populated_wait(const struct fixture *f, const char *node)
{
    int64_t end = zb_mono_now().ms + DEADLINE_MS;

    while (!group_populated(f, node)) {
        assert_true(zb_mono_now().ms < end);
        (void)usleep(1000);
    }
}

static void
thread_start(struct fixture *f, struct thread *t, const char *node)
{
    *t = (struct thread){.f = f, .job = job_make(f, node)};
    program_make(f, "[ $1 = vm3 ] || sleep 1000"); /* not replaced while it may still be read */
    zb_keeper_list_add(&f->k.active, t->job);
    assert_int_equal(pthread_create(&t->id, NULL, job_thread, t), 0);
    populated_wait(f, node);
}

static void
thread_end(struct thread *t, enum zb_rc wanted)
{
    assert_int_equal(pthread_join(t->id, NULL), 0);
    assert_int_equal(t->job->rep.rc, wanted);
    zb_keeper_list_remove(&t->f->k.active, t->job);
    zb_keeper_job_free(t->job);
}

static void
never_twice_at_once_for_one_node(void **state)
{
    struct fixture *f = *state;
    struct thread t;

    thread_start(f, &t, "vm1");
    answers(f, job_make(f, "vm1"), ZB_E_BUSY, "runs for vm1 already");
    answers(f, job_make(f, "vm3"), ZB_OK, "");
    (void)pthread_mutex_lock(&f->k.lock);
    zb_keeper_job_cancel(t.job);
    (void)pthread_mutex_unlock(&f->k.lock);
    thread_end(&t, ZB_E_CANCELED);
    assert_false(group_populated(f, "vm1"));
    program_make(f, "exit 0");
    answers(f, job_make(f, "vm1"), ZB_OK, "");
}

static void
it_ends_with_the_engine_that_asked(void **state)
{
    struct fixture *f = *state;
    struct thread t;

    thread_start(f, &t, "vm1");
    zb_keeper_engine_end(&f->k, "the test says so");
    thread_end(&t, ZB_E_CANCELED);
    assert_false(group_populated(f, "vm1"));
}

/* The next life of a keeper that was killed ends what it left, and counts nothing of it. */
static void
it_does_not_outlive_the_keeper(void **state)
{
    struct fixture *f = *state;
    char group[128];
    char *argv[] = {f->conf.fence_command, NULL};
    struct zb_os_spawn_spec spec = {
        .path = f->conf.fence_command, .argv = argv, .group = group, .output_fd = -1};
    struct zb_os_child child = {0};
    struct zb_err err;
    int status;

    if (!usable) {
        skip();
    }
    (void)snprintf(group, sizeof(group), "%s.vm4.fence", f->conf.node);
    program_make(f, "sleep 1000");
    assert_int_equal(zb_os_spawn(&spec, &child, &err), ZB_OK);
    zb_keeper_fences_settle(&f->k);
    assert_false(group_populated(f, "vm4"));
    assert_int_equal(
        zb_os_child_wait(&child, (struct zb_mono){zb_mono_now().ms + DEADLINE_MS}, &status, &err),
        ZB_OK);
    zb_os_cgroup_remove(group);
}

int
main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(what_it_runs),
        T(what_it_refuses),
        T(never_twice_at_once_for_one_node),
        T(it_ends_with_the_engine_that_asked),
        T(it_does_not_outlive_the_keeper),
    };
    return cmocka_run_group_tests(tests, usable_look, NULL);
}
