/* NOTIFY of the keeper: what it refuses before anything runs. */
#include "unit.h"

#include "keeper/internal.h"

struct fixture {
    struct zb_conf_node conf;
    struct zb_keeper k;
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    (void)snprintf(f->conf.node, sizeof(f->conf.node), "unit");
    (void)snprintf(f->conf.notify, sizeof(f->conf.notify), "/nonexistent/notify");
    f->conf.notify_timeout_ms = 1000;
    f->k.conf = &f->conf;
    f->k.engine_fd = -1;
    assert_int_equal(pthread_mutex_init(&f->k.lock, NULL), 0);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    free(*state);
    return 0;
}

static struct zb_keeper_job *
job_make(struct fixture *f, const char *rule, uint32_t level, const char *text)
{
    static const struct zb_keeper_op op = {.op = ZB_KOP_NOTIFY, .handler = zb_keeper_op_notify};
    struct zb_keeper_job *job = zb_keeper_job_new();

    assert_non_null(job);
    job->op = &op;
    job->service = &f->k.nobody;
    job->req = (struct zb_kreq){.id = 1, .op = ZB_KOP_NOTIFY, .count = level};
    zb_strcopy(job->req.snap, sizeof(job->req.snap), rule);
    job->req.text = text != NULL ? strdup(text) : NULL;
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
what_it_refuses(void **state)
{
    struct fixture *f = *state;
    char *long_text = calloc(1, 601);

    assert_non_null(long_text);
    memset(long_text, 'x', 600);
    answers(f, job_make(f, "", 4, "x"), ZB_E_USAGE, "a rule, a level and a text");
    answers(f, job_make(f, "C fork", 4, "x"), ZB_E_USAGE, "a rule, a level and a text");
    answers(f, job_make(f, "C-fork", 5, "x"), ZB_E_USAGE, "a rule, a level and a text");
    answers(f, job_make(f, "C-fork", 4, NULL), ZB_E_USAGE, "a rule, a level and a text");
    answers(f, job_make(f, "C-fork", 4, long_text), ZB_E_USAGE, "a rule, a level and a text");
    free(long_text);
    f->conf.notify[0] = '\0';
    answers(f, job_make(f, "C-fork", 4, "x"), ZB_E_UNSUPPORTED, "unit has no notify program");
}

static void
one_at_a_time(void **state)
{
    struct fixture *f = *state;

    f->k.notifying = true;
    answers(f, job_make(f, "C-fork", 4, "x"), ZB_E_BUSY, "runs already");
    assert_true(f->k.notifying); /* the other one's */
    f->k.notifying = false;
    struct zb_keeper_job *job = job_make(f, "C-fork", 4, "x");
    zb_keeper_job_run(&f->k, job);
    assert_int_not_equal(job->rep.rc, ZB_OK); /* no such user, or no such program */
    assert_false(f->k.notifying);
    zb_keeper_job_free(job);
}

static void
it_can_be_canceled(void **state)
{
    struct fixture *f = *state;
    struct zb_keeper_job *job = job_make(f, "C-fork", 4, "x");

    assert_true(zb_keeper_job_cancelable(job));
    zb_keeper_job_free(job);
}

#define keeper_test(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        keeper_test(what_it_refuses),
        keeper_test(one_at_a_time),
        keeper_test(it_can_be_canceled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
