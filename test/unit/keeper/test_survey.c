/* What a pool has of services, by the names of snapshots. */
#include "unit.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keeper/record.h"
#include "keeper/survey.h"

#define SET(term, seq) "zbaton-" term "-" seq "-20261122T064100Z"

static void
add(struct zb_survey_service *s, const char *dataset, const char *const *names, size_t count)
{
    struct zb_zfs_snap items[8] = {0};
    struct zb_zfs_snaps snaps = {.count = count, .snaps = items};
    struct zb_err err;

    for (size_t i = 0; i < count; i++) {
        zb_strcopy(items[i].name, sizeof items[i].name, names[i]);
        items[i].guid = strlen(dataset) * 100 + i;
    }
    assert_int_equal(zb_survey_dataset_add(s, dataset, &snaps, &err), ZB_OK);
}

static void
newest_is(const struct zb_survey_service *s, uint64_t term, uint64_t seq)
{
    struct zb_survey_set newest = zb_survey_newest(s);

    assert_int_equal(newest.id.term, term);
    assert_int_equal(newest.id.seq, seq);
}

static void
the_newest_set_is_one_that_every_dataset_holds(void **state)
{
    static const char *const top[] = {SET("000011", "00000002"), "autosnap-hourly",
                                      SET("000012", "00000000"), SET("000012", "00000001")};
    static const char *const child[] = {SET("000011", "00000002"), SET("000012", "00000000")};
    struct zb_survey_service s = {0};
    (void)state;

    add(&s, "tank/services/web", top, 4);
    newest_is(&s, 12, 1);
    add(&s, "tank/services/web/log", child, 2);
    newest_is(&s, 12, 0);
    assert_int_equal(s.sets_count, 2);
    assert_int_equal(s.datasets_count, 2);
    assert_string_equal(s.without, "");
    zb_survey_service_close(&s);
}

static void
a_dataset_that_holds_none_is_named(void **state)
{
    static const char *const top[] = {SET("000001", "00000001")};
    static const char *const foreign[] = {"before-the-upgrade"};
    struct zb_survey_service s = {0};
    (void)state;

    newest_is(&s, 0, 0);
    add(&s, "tank/services/web", top, 1);
    add(&s, "tank/services/web/new", foreign, 1);
    newest_is(&s, 1, 1);
    assert_string_equal(s.without, "tank/services/web/new");
    zb_survey_service_close(&s);
}

static void
nothing_in_common_is_no_set(void **state)
{
    static const char *const top[] = {SET("000001", "00000002")};
    static const char *const child[] = {SET("000001", "00000001")};
    struct zb_survey_service s = {0};
    (void)state;

    add(&s, "tank/services/web", top, 1);
    add(&s, "tank/services/web/log", child, 1);
    newest_is(&s, 0, 0);
    zb_survey_service_close(&s);
}

/* A child that is not there yet: the set is whole by names. */
static void
a_manifest_that_is_known_says_more_than_names(void **state)
{
    static const char *const top[] = {SET("000012", "00000005"), SET("000012", "00000006")};
    struct zb_survey_service s = {0};
    struct zb_manifest m = {0};
    struct zb_err err;
    (void)state;

    add(&s, "web", top, 2);
    add(&s, "web/log", top, 2);
    assert_int_equal(zb_manifest_init(&m, 2, &err), ZB_OK);
    m.entries[0].guid = 301;
    m.entries[1].guid = 701;
    assert_true(zb_survey_holds(&s, &m));
    m.entries[1].guid = 601;
    assert_false(zb_survey_holds(&s, &m));
    newest_is(&s, 12, 6);
    zb_survey_set_drop(&s, (struct zb_set_id){12, 6});
    newest_is(&s, 12, 5);
    zb_survey_set_drop(&s, (struct zb_set_id){12, 6});
    assert_int_equal(s.sets_count, 1);
    zb_manifest_close(&m);
    assert_false(zb_survey_holds(&s, &m));
    zb_survey_service_close(&s);
}

struct dir {
    char state[64];
    char keeper[80];
    int fd;
};

static void
dir_make(struct dir *d)
{
    zb_strcopy(d->state, sizeof d->state, "/tmp/zb-survey-XXXXXX");
    assert_non_null(mkdtemp(d->state));
    (void)snprintf(d->keeper, sizeof d->keeper, "%s/keeper", d->state);
    assert_int_equal(mkdir(d->keeper, 0700), 0);
    d->fd = open(d->keeper, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(d->fd >= 0);
}

static void
dir_remove(struct dir *d)
{
    static const char *const names[] = {"web.record", "db.record", "odd.record", "lock"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)unlinkat(d->fd, names[i], 0);
    }
    assert_int_equal(close(d->fd), 0);
    assert_int_equal(rmdir(d->keeper), 0);
    assert_int_equal(rmdir(d->state), 0);
}

static void
record_put(const struct dir *d, const char *service, uint64_t granted, uint64_t learned)
{
    struct zb_keeper_record r = {0};
    struct zb_err err;
    bool in_doubt;

    r.rec.granted_term = granted;
    zb_strcopy(r.rec.granted_to, sizeof r.rec.granted_to, "vm2");
    r.rec.learned_term = learned;
    zb_strcopy(r.rec.learned_leader, sizeof r.rec.learned_leader, "vm1");
    zb_strcopy(r.rec.suspects[0], sizeof r.rec.suspects[0], "vm1");
    zb_strcopy(r.rec.suspects[1], sizeof r.rec.suspects[1], "vm2");
    assert_int_equal(zb_keeper_record_store(d->fd, service, &r, &in_doubt, &err), ZB_OK);
}

static void
the_highest_term_of_any_record_counts(void **state)
{
    struct dir d;
    struct zb_err err;
    uint64_t term = 5;
    int odd;
    (void)state;

    dir_make(&d);
    assert_int_equal(zb_survey_records_term(d.state, &term, &err), ZB_OK);
    assert_int_equal(term, 0);
    record_put(&d, "web", 14, 12);
    record_put(&d, "db", 3, 3);
    assert_int_equal(zb_survey_records_term(d.state, &term, &err), ZB_OK);
    assert_int_equal(term, 14);
    odd = openat(d.fd, "odd.record", O_WRONLY | O_CREAT | O_CLOEXEC, 0600); /* damaged: empty */
    assert_true(odd >= 0);
    assert_int_equal(close(odd), 0);
    assert_int_equal(zb_survey_records_term(d.state, &term, &err), ZB_E_FORMAT);
    assert_int_equal(term, 14);
    dir_remove(&d);
    assert_int_equal(zb_survey_records_term(d.state, &term, &err), ZB_OK);
    assert_int_equal(term, 0);
}

static void
a_keeper_that_runs_is_seen_and_none_begins_meanwhile(void **state)
{
    struct dir d;
    struct zb_err err;
    int lock;
    int fd = -1;
    (void)state;

    dir_make(&d);
    assert_int_equal(zb_survey_idle_lock(d.state, &fd, &err), ZB_OK);
    assert_int_equal(fd, -1);
    lock = openat(d.fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(lock >= 0);
    assert_int_equal(flock(lock, LOCK_EX | LOCK_NB), 0);
    assert_int_equal(zb_survey_idle_lock(d.state, &fd, &err), ZB_E_BUSY);
    assert_int_equal(fd, -1);
    assert_string_equal(err.hint, "systemctl stop zbaton");
    assert_int_equal(flock(lock, LOCK_UN), 0);
    assert_int_equal(zb_survey_idle_lock(d.state, &fd, &err), ZB_OK);
    assert_true(fd >= 0);
    assert_int_equal(flock(lock, LOCK_EX | LOCK_NB), -1);
    assert_int_equal(close(fd), 0);
    assert_int_equal(flock(lock, LOCK_EX | LOCK_NB), 0);
    assert_int_equal(close(lock), 0);
    dir_remove(&d);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_set_is_one_that_every_dataset_holds),
        cmocka_unit_test(a_dataset_that_holds_none_is_named),
        cmocka_unit_test(nothing_in_common_is_no_set),
        cmocka_unit_test(a_manifest_that_is_known_says_more_than_names),
        cmocka_unit_test(the_highest_term_of_any_record_counts),
        cmocka_unit_test(a_keeper_that_runs_is_seen_and_none_begins_meanwhile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
