/* Snapshots of many services in one call: who waits for whom, and until when. ZFS, the clock and
 * the wait for others are replaced: who waits does so until somebody wakes it, so that a wake-up
 * that is missing shows. */
#include "unit.h"

#include <pthread.h>

#include "keeper/internal.h"

#define SERVICES 3
#define INTERVAL_MS 20000
#define WAIT_MS 5000 /* a quarter */

static const char *const snaps[SERVICES] = {"tank/a@1", "tank/b@1", "tank/c@1"};

static struct {
    pthread_cond_t changed; /* of waits, with the keeper's lock */
    unsigned waits;
    int64_t longest_ms;
    unsigned calls;
    size_t counts[2 * SERVICES]; /* snapshots of each call */
    const char *refuses;         /* of this one none can be made, nor of others in the same call */
    int64_t now_ms;
} world;

enum zb_rc __wrap_zb_zfs_snapshot(const char *const *list, size_t count,
                                  char (*newest)[ZB_DATASET_NAME_SIZE], struct zb_err *err);
void __wrap_zb_keeper_wait(struct zb_keeper *k, pthread_cond_t *cond, int64_t ms);
struct zb_mono __wrap_zb_mono_now(void);

enum zb_rc
__wrap_zb_zfs_snapshot(const char *const *list, size_t count, char (*newest)[ZB_DATASET_NAME_SIZE],
                       struct zb_err *err)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    bool refused = false;

    (void)pthread_mutex_lock(&lock);
    world.counts[world.calls++] = count;
    for (size_t i = 0; i < count; i++) {
        refused = refused || list[i] == world.refuses;
        zb_strcopy(newest[i], ZB_DATASET_NAME_SIZE, list[i]);
    }
    (void)pthread_mutex_unlock(&lock);
    return refused ? zb_err_set(err, ZB_E_NOSPACE, "no room") : ZB_OK;
}

void
__wrap_zb_keeper_wait(struct zb_keeper *k, pthread_cond_t *cond, int64_t ms)
{
    world.longest_ms = ms > world.longest_ms ? ms : world.longest_ms;
    world.waits++;
    (void)pthread_cond_broadcast(&world.changed);
    (void)pthread_cond_wait(cond, &k->lock);
}

struct zb_mono
__wrap_zb_mono_now(void)
{
    return (struct zb_mono){world.now_ms};
}

struct one {
    struct zb_keeper *k;
    struct zb_keeper_service service;
    struct zb_keeper_job job;
    const char *snap;
    char newest[1][ZB_DATASET_NAME_SIZE];
    enum zb_rc rc;
    struct zb_err err;
    pthread_t thread;
};

static struct zb_keeper keeper;
static char idle; /* only whether there is one is looked at */
static struct one services[SERVICES];

/* All have asked for a set, and none is ready for its snapshot yet. */
static int
set_up(void **state)
{
    (void)state;
    memset(&world, 0, sizeof(world));
    world.now_ms = 1000;
    memset(&keeper, 0, sizeof(keeper));
    (void)pthread_mutex_init(&keeper.lock, NULL);
    (void)pthread_cond_init(&keeper.gather.moved, NULL);
    (void)pthread_cond_init(&keeper.gather.taken, NULL);
    (void)pthread_cond_init(&world.changed, NULL);
    keeper.idle_workers = (struct zb_keeper_worker *)(void *)&idle;
    for (int i = 0; i < SERVICES; i++) {
        services[i] = (struct one){.k = &keeper, .snap = snaps[i]};
        services[i].job.req.op = ZB_KOP_SNAPSHOT;
        services[i].job.conf.interval_ms = INTERVAL_MS;
        services[i].job.service = keeper.services[keeper.services_count++] = &services[i].service;
        zb_keeper_gather_expect(&keeper, &services[i].job);
    }
    return 0;
}

static void *
take(void *arg)
{
    struct one *one = arg;

    one->rc = zb_keeper_gather_snapshot(one->k, &one->job, &one->snap, 1, one->newest, &one->err);
    return NULL;
}

static void
begin(int i)
{
    assert_int_equal(pthread_create(&services[i].thread, NULL, take, &services[i]), 0);
}

/* Until somebody waits for others for the n-th time. The lock is held then. */
static void
locked_at_wait(unsigned n)
{
    (void)pthread_mutex_lock(&keeper.lock);
    while (world.waits < n) {
        (void)pthread_cond_wait(&world.changed, &keeper.lock);
    }
}

static void
end(int i, enum zb_rc rc)
{
    assert_int_equal(pthread_join(services[i].thread, NULL), 0);
    assert_int_equal(services[i].rc, rc);
    if (rc == ZB_OK) {
        assert_string_equal(services[i].newest[0], snaps[i]);
    }
}

static void
one_call_for_all(void **state)
{
    (void)state;
    for (int i = 0; i < SERVICES; i++) {
        begin(i);
    }
    for (int i = 0; i < SERVICES; i++) {
        end(i, ZB_OK);
    }
    assert_int_equal(world.calls, 1);
    assert_int_equal(world.counts[0], SERVICES);
}

static void
each_has_its_own_error(void **state)
{
    (void)state;
    world.refuses = snaps[1];
    for (int i = 0; i < SERVICES; i++) {
        begin(i);
    }
    for (int i = 0; i < SERVICES; i++) {
        end(i, i == 1 ? ZB_E_NOSPACE : ZB_OK);
    }
    assert_int_equal(world.calls, 1 + SERVICES);
}

static void
who_ends_without_a_snapshot_is_not_waited_for(void **state)
{
    (void)state;
    begin(0);
    locked_at_wait(1);
    zb_keeper_gather_forget(&keeper, &services[1].job);
    zb_keeper_gather_forget(&keeper, &services[1].job); /* once */
    (void)pthread_mutex_unlock(&keeper.lock);
    locked_at_wait(2);
    assert_int_equal(keeper.gather.expected, 1);
    zb_keeper_gather_forget(&keeper, &services[2].job);
    (void)pthread_mutex_unlock(&keeper.lock);
    end(0, ZB_OK);
    assert_int_equal(world.calls, 1);
}

static void
nobody_waits_for_longer_than_agreed(void **state)
{
    (void)state;
    begin(0);
    locked_at_wait(1);
    world.now_ms += WAIT_MS - 1;
    zb_keeper_gather_hurry(&keeper);
    (void)pthread_mutex_unlock(&keeper.lock);
    locked_at_wait(2);
    assert_int_equal(world.calls, 0);
    assert_int_equal(world.longest_ms, WAIT_MS);
    world.now_ms += 1;
    zb_keeper_gather_hurry(&keeper);
    (void)pthread_mutex_unlock(&keeper.lock);
    end(0, ZB_OK);
    assert_int_equal(world.calls, 1);
}

static void
nobody_waits_for_longer_than_that_however_long_the_interval(void **state)
{
    (void)state;
    services[0].job.conf.interval_ms = 3600000;
    begin(0);
    locked_at_wait(1);
    assert_int_equal(world.longest_ms, 10000);
    world.now_ms += 10000;
    zb_keeper_gather_hurry(&keeper);
    (void)pthread_mutex_unlock(&keeper.lock);
    end(0, ZB_OK);
}

/* In place of what was asked for: a look of a service of which a set is due. */
static void
look_begin(struct zb_keeper_job *look, int i)
{
    *look = (struct zb_keeper_job){.req = {.op = ZB_KOP_OBSERVE, .flags = ZB_KF_DUE},
                                   .service = &services[i].service};
    (void)pthread_mutex_lock(&keeper.lock);
    zb_keeper_gather_forget(&keeper, &services[i].job);
    zb_keeper_gather_expect(&keeper, look);
    (void)pthread_mutex_unlock(&keeper.lock);
}

static void
a_set_is_waited_for_from_the_look_before_it_on(void **state)
{
    struct zb_keeper_job looks[2];

    (void)state;
    look_begin(&looks[0], 1);
    look_begin(&looks[1], 2);
    begin(0);
    locked_at_wait(1);
    looks[0].announces = true;
    zb_keeper_gather_forget(&keeper, &looks[0]); /* written to */
    zb_keeper_gather_forget(&keeper, &looks[1]); /* not */
    assert_int_equal(keeper.gather.expected, 1);
    (void)pthread_mutex_unlock(&keeper.lock);
    locked_at_wait(2);
    assert_int_equal(world.calls, 0);
    services[1].job.expected = false;
    zb_keeper_gather_expect(&keeper, &services[1].job); /* the set that was announced */
    assert_int_equal(keeper.gather.expected, 1);
    (void)pthread_mutex_unlock(&keeper.lock);
    begin(1);
    end(0, ZB_OK);
    end(1, ZB_OK);
    assert_int_equal(world.calls, 1);
    assert_int_equal(world.counts[0], 2);
    assert_int_equal(keeper.gather.expected, 0);
}

static void
what_was_announced_and_does_not_come_is_waited_for_once(void **state)
{
    struct zb_keeper_job looks[2];

    (void)state;
    for (int i = 0; i < 2; i++) {
        look_begin(&looks[i], i + 1);
        looks[i].announces = true;
        (void)pthread_mutex_lock(&keeper.lock);
        zb_keeper_gather_forget(&keeper, &looks[i]);
        (void)pthread_mutex_unlock(&keeper.lock);
    }
    /* Something else is asked of one of them. */
    struct zb_keeper_job other = {.req.op = ZB_KOP_PRUNE, .service = &services[1].service};
    (void)pthread_mutex_lock(&keeper.lock);
    zb_keeper_gather_expect(&keeper, &other);
    (void)pthread_mutex_unlock(&keeper.lock);
    begin(0);
    locked_at_wait(1);
    assert_int_equal(keeper.gather.expected, 1);
    world.now_ms += WAIT_MS;
    zb_keeper_gather_hurry(&keeper);
    (void)pthread_mutex_unlock(&keeper.lock);
    end(0, ZB_OK);
    assert_int_equal(keeper.gather.expected, 0);
    assert_false(services[2].service.announced);
}

/* Two engines' looks may overlap: one set follows. */
static void
a_set_is_announced_once(void **state)
{
    struct zb_keeper_job looks[2];

    (void)state;
    for (int i = 0; i < 2; i++) {
        look_begin(&looks[i], 1);
        looks[i].announces = true;
    }
    (void)pthread_mutex_lock(&keeper.lock);
    zb_keeper_gather_forget(&keeper, &looks[0]);
    zb_keeper_gather_forget(&keeper, &looks[1]);
    assert_int_equal(keeper.gather.expected, 3); /* the others, and one of the two */
    (void)pthread_mutex_unlock(&keeper.lock);
}

/* The next batch does not wait for what hung the one before; it may join one all the same. */
static void
who_hangs_is_waited_for_once(void **state)
{
    (void)state;
    zb_keeper_list_add(&keeper.active, &services[1].job);
    zb_keeper_list_add(&keeper.active, &services[2].job);
    begin(0);
    locked_at_wait(1);
    world.now_ms += WAIT_MS;
    zb_keeper_gather_hurry(&keeper);
    (void)pthread_mutex_unlock(&keeper.lock);
    end(0, ZB_OK);
    assert_int_equal(keeper.gather.expected, 0);
    begin(1);
    end(1, ZB_OK);
    assert_int_equal(world.waits, 1);
    assert_int_equal(world.calls, 2);
}

static void
a_set_past_a_lapse_is_none(void **state)
{
    (void)state;
    begin(0);
    locked_at_wait(1);
    (void)pthread_mutex_unlock(&keeper.lock);
    begin(1);
    locked_at_wait(2); /* woken by the second one, which has joined */
    keeper.session.stage = ZB_SESSION_LAPSED;
    zb_keeper_gather_hurry(&keeper);
    (void)pthread_mutex_unlock(&keeper.lock);
    end(0, ZB_E_STALE);
    end(1, ZB_E_STALE);
    assert_int_equal(world.calls, 0);
}

static void
nobody_waits_where_no_worker_is_left_for_the_others(void **state)
{
    struct one late = {.k = &keeper, .job.req.op = ZB_KOP_SNAPSHOT};

    (void)state;
    late.job.service = &late.service;
    begin(0);
    locked_at_wait(1);
    keeper.idle_workers = NULL;
    zb_keeper_gather_expect(&keeper, &late.job); /* took the last one */
    (void)pthread_mutex_unlock(&keeper.lock);
    end(0, ZB_OK);
    begin(1);
    end(1, ZB_OK);
    assert_int_equal(world.waits, 1);
    assert_int_equal(world.calls, 2);
}

static void
a_final_set_waits_for_nobody(void **state)
{
    struct one final = {.k = &keeper,
                        .snap = "tank/final@1",
                        .job.req = {.op = ZB_KOP_SNAPSHOT, .flags = ZB_KF_SYNC}};

    (void)state;
    final.job.service = &final.service;
    zb_keeper_gather_expect(&keeper, &final.job);
    (void)take(&final);
    assert_int_equal(final.rc, ZB_OK);
    assert_int_equal(world.waits, 0);
    assert_int_equal(keeper.gather.expected, SERVICES);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(one_call_for_all, set_up),
        cmocka_unit_test_setup(each_has_its_own_error, set_up),
        cmocka_unit_test_setup(who_ends_without_a_snapshot_is_not_waited_for, set_up),
        cmocka_unit_test_setup(nobody_waits_for_longer_than_agreed, set_up),
        cmocka_unit_test_setup(nobody_waits_for_longer_than_that_however_long_the_interval, set_up),
        cmocka_unit_test_setup(a_set_is_waited_for_from_the_look_before_it_on, set_up),
        cmocka_unit_test_setup(what_was_announced_and_does_not_come_is_waited_for_once, set_up),
        cmocka_unit_test_setup(a_set_is_announced_once, set_up),
        cmocka_unit_test_setup(who_hangs_is_waited_for_once, set_up),
        cmocka_unit_test_setup(a_set_past_a_lapse_is_none, set_up),
        cmocka_unit_test_setup(nobody_waits_where_no_worker_is_left_for_the_others, set_up),
        cmocka_unit_test_setup(a_final_set_waits_for_nobody, set_up),
    };

    return cmocka_run_group_tests_name("gather", tests, NULL, NULL);
}
