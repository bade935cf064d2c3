/* OBSERVE that is as the one before: what is asked is replaced, and each answer that differs makes
 * it a look of its own. */
#include "unit.h"

#include "keeper/internal.h"

#define GROUP 100

static struct {
    struct zb_mono now;
    uint64_t mounts;
    bool written;           /* since the last group that is known */
    uint64_t written_bytes; /* of the one dataset; 0: there is none */
    bool unknown;           /* which group is the last one */
    enum zb_zfs_pool_state pool;
    bool running;
    bool doubtful; /* what looks written to could not be compared */
    enum zb_rc view, facts, aside;
    unsigned looks;
    void (*during)(void); /* a look */
} world;

static struct zb_conf_node conf = {.root = "tank/services"};
static struct zb_keeper keeper;
static struct zb_keeper_service service;
static struct zb_keeper_job job;

struct zb_mono __wrap_zb_mono_now(void);
uint64_t __wrap_zb_os_mounts_changes(void);
bool __wrap_zb_zfs_is_quiet(const char *pool, struct zb_zfs_txg *last);
enum zb_zfs_pool_state __wrap_zb_zfs_pool_state(const char *pool);
enum zb_rc __wrap_zb_keeper_service_alive(const struct zb_keeper *k, const char *name,
                                          const struct zb_conf_service *c, bool *alive,
                                          struct zb_err *err);
enum zb_rc __wrap_zb_keeper_view_open(const struct zb_keeper *k, const char *name,
                                      struct zb_keeper_view *view, struct zb_err *err);
void __wrap_zb_keeper_view_close(struct zb_keeper_view *view);
void __wrap_zb_keeper_written_prove(struct zb_keeper *k, struct zb_keeper_view *view,
                                    const char *rel, bool replay);
enum zb_rc __wrap_zb_keeper_facts(struct zb_keeper *k, const struct zb_keeper_job *j,
                                  const struct zb_keeper_view *view, bool runs,
                                  struct zb_keeper_facts *facts, struct zb_err *err);
uint64_t __wrap_zb_keeper_asides(struct zb_keeper *k, const struct zb_keeper_service *s);
enum zb_rc __wrap_zb_keeper_aside_check(struct zb_keeper *k, const struct zb_keeper_job *j,
                                        uint64_t before, struct zb_err *err);

struct zb_mono
__wrap_zb_mono_now(void)
{
    return world.now;
}

uint64_t
__wrap_zb_os_mounts_changes(void)
{
    return world.mounts;
}

bool
__wrap_zb_zfs_is_quiet(const char *pool, struct zb_zfs_txg *last)
{
    bool quiet = last->txg == GROUP && !world.written;

    assert_string_equal(pool, conf.root);
    last->txg = world.unknown ? 0 : GROUP;
    return quiet;
}

enum zb_zfs_pool_state
__wrap_zb_zfs_pool_state(const char *pool)
{
    (void)pool;
    return world.pool;
}

enum zb_rc
__wrap_zb_keeper_service_alive(const struct zb_keeper *k, const char *name,
                               const struct zb_conf_service *c, bool *alive, struct zb_err *err)
{
    (void)k;
    (void)name;
    (void)c;
    (void)err;
    *alive = world.running;
    return ZB_OK;
}

enum zb_rc
__wrap_zb_keeper_view_open(const struct zb_keeper *k, const char *name, struct zb_keeper_view *view,
                           struct zb_err *err)
{
    (void)k;
    (void)name;
    *view = (struct zb_keeper_view){.doubtful = world.doubtful};
    if (world.written_bytes > 0) {
        static const struct zb_zfs_props *props[] = {NULL};
        view->props = props; /* not looked at */
        view->count = 1;
        view->datasets = calloc(1, sizeof(*view->datasets));
        assert_non_null(view->datasets);
        view->datasets[0].written_bytes = world.written_bytes;
    }
    world.looks++;
    if (world.during != NULL) {
        world.during();
    }
    return world.view == ZB_OK ? ZB_OK : zb_err_set(err, world.view, "no view");
}

void
__wrap_zb_keeper_view_close(struct zb_keeper_view *view)
{
    (void)view;
}

void
__wrap_zb_keeper_written_prove(struct zb_keeper *k, struct zb_keeper_view *view, const char *rel,
                               bool replay)
{
    (void)k;
    (void)view;
    (void)rel;
    (void)replay;
}

enum zb_rc
__wrap_zb_keeper_facts(struct zb_keeper *k, const struct zb_keeper_job *j,
                       const struct zb_keeper_view *view, bool runs, struct zb_keeper_facts *facts,
                       struct zb_err *err)
{
    (void)k;
    (void)j;
    (void)view;
    (void)runs;
    *facts = (struct zb_keeper_facts){.running = world.running};
    return world.facts == ZB_OK ? ZB_OK : zb_err_set(err, world.facts, "no facts");
}

uint64_t
__wrap_zb_keeper_asides(struct zb_keeper *k, const struct zb_keeper_service *s)
{
    (void)k;
    (void)s;
    return 0;
}

enum zb_rc
__wrap_zb_keeper_aside_check(struct zb_keeper *k, const struct zb_keeper_job *j, uint64_t before,
                             struct zb_err *err)
{
    (void)k;
    (void)j;
    (void)before;
    return world.aside == ZB_OK ? ZB_OK : zb_err_set(err, world.aside, "aside");
}

/* A look by the number of the one before; true: it was answered as that. */
static bool
look(enum zb_rc rc)
{
    unsigned looks = world.looks;
    uint64_t nonce = job.rep.nonce;
    struct zb_err err;

    job.req.nonce = nonce;
    free(job.rep.datasets);
    job.rep = (struct zb_krep){0};
    job.announces = false;
    assert_int_equal(zb_keeper_op_observe(&keeper, &job, &err), rc);
    bool same = job.rep.flags == ZB_KF_SAME;
    assert_int_equal(world.looks - looks, same ? 0 : 1);
    assert_true(!same || job.rep.nonce == nonce);
    return same;
}

static int
set_up(void **state)
{
    (void)state;
    memset(&world, 0, sizeof(world));
    world.now.ms = 1000000;
    world.pool = ZB_ZFS_POOL_ONLINE;
    memset(&keeper, 0, sizeof(keeper));
    memset(&service, 0, sizeof(service));
    memset(&job, 0, sizeof(job));
    (void)pthread_mutex_init(&keeper.lock, NULL);
    keeper.conf = &conf;
    job.service = &service;
    job.conf.flavour = ZB_CONF_FLAVOUR_PLAIN;
    job.claim = ZB_CLAIM_READ;
    service.claims[ZB_CLAIM_READ] = 1; /* this one */
    return 0;
}

/* Two looks, of which the second one is as the first. */
static void
rest(void)
{
    assert_false(look(ZB_OK));
    assert_true(job.rep.nonce != 0);
    assert_true(look(ZB_OK));
}

static void
nothing_has_changed(void **state)
{
    (void)state;
    rest();
    world.now.ms += 299999;
    assert_true(look(ZB_OK));
    world.now.ms += 1; /* however quiet it is */
    assert_false(look(ZB_OK));
    assert_true(look(ZB_OK));
}

static void
whatever_has_changed_is_looked_at(void **state)
{
    (void)state;
    rest();
    world.mounts++;
    assert_false(look(ZB_OK));
    assert_true(look(ZB_OK));
    service.changes++;
    assert_false(look(ZB_OK));
    assert_true(look(ZB_OK));
    world.running = true;
    assert_false(look(ZB_OK));
    assert_int_equal(job.rep.running, 1);
    assert_true(look(ZB_OK));
    world.running = false;
    assert_false(look(ZB_OK));
    assert_true(look(ZB_OK));
    world.written = true;
    assert_false(look(ZB_OK));
    assert_false(look(ZB_OK));
    world.written = false;
    assert_true(look(ZB_OK));
    world.pool = ZB_ZFS_POOL_SUSPENDED;
    assert_false(look(ZB_OK));
    world.pool = ZB_ZFS_POOL_DEGRADED;
    assert_true(look(ZB_OK));
}

/* Others wait for the set that follows it: also where nothing more was written since. */
static void
what_was_written_announces_a_set(void **state)
{
    (void)state;
    rest();
    assert_false(job.announces);
    world.mounts++;
    world.written_bytes = 512;
    assert_false(look(ZB_OK));
    assert_true(job.announces);
    assert_true(look(ZB_OK));
    assert_true(job.announces);
    job.conf.idle_bytes = 513; /* it waits for more */
    assert_true(look(ZB_OK));
    assert_false(job.announces);
    world.mounts++;
    assert_false(look(ZB_OK));
    assert_false(job.announces);
    world.written_bytes = 513;
    world.mounts++;
    assert_false(look(ZB_OK));
    assert_true(job.announces);
    free(job.rep.datasets);
    job.rep.datasets = NULL;
}

/* An engine of before, or none, has other numbers. */
static void
of_another_engine(void **state)
{
    (void)state;
    rest();
    job.rep.nonce ^= 2;
    assert_false(look(ZB_OK));
    assert_true(look(ZB_OK));
    job.rep.nonce = 0;
    assert_false(look(ZB_OK));
}

static void
change(void)
{
    service.changes++;
}

/* What may differ from what is there gets no number, and so none is as it. */
static void
assert_never_kept(void)
{
    assert_false(look(ZB_OK));
    assert_true(job.rep.nonce == 0);
    assert_false(look(ZB_OK));
}

static void
what_is_not_certain_is_not_kept(void **state)
{
    (void)state;
    world.doubtful = true;
    assert_never_kept();
    world.doubtful = false;
    world.unknown = true;
    assert_never_kept();
    world.unknown = false;
    service.claims[ZB_CLAIM_RECEIVE] = 1;
    assert_never_kept();
    service.claims[ZB_CLAIM_RECEIVE] = 0;
    job.conf.flavour = ZB_CONF_FLAVOUR_RAW;
    assert_never_kept();
    job.conf.flavour = ZB_CONF_FLAVOUR_PLAIN;
    world.during = change;
    assert_false(look(ZB_OK));
    world.during = NULL;
    assert_false(look(ZB_OK)); /* changed while it was looked at */
    assert_true(look(ZB_OK));
}

static void
what_has_failed_is_not_kept(void **state)
{
    enum zb_rc *const parts[] = {&world.view, &world.facts, &world.aside};

    (void)state;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        rest();
        world.mounts++;
        *parts[i] = ZB_E_BUSY;
        assert_false(look(ZB_E_BUSY));
        assert_true(job.rep.nonce == 0);
        *parts[i] = ZB_OK;
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(nothing_has_changed, set_up),
        cmocka_unit_test_setup(whatever_has_changed_is_looked_at, set_up),
        cmocka_unit_test_setup(what_was_written_announces_a_set, set_up),
        cmocka_unit_test_setup(of_another_engine, set_up),
        cmocka_unit_test_setup(what_is_not_certain_is_not_kept, set_up),
        cmocka_unit_test_setup(what_has_failed_is_not_kept, set_up),
    };

    return cmocka_run_group_tests_name("look", tests, NULL, NULL);
}
