/* A node's session in etcd, and what it knows of the others', told as heartbeats and answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "core/session.h"

#define BEAT_MS 2000
#define TIMEOUT_MS 20000
#define CLUSTER 77
#define SELF 0
#define OTHER 1
#define OWN_ID 100
#define OTHER_ID 200

/* The etcd, the clock, and what this node asked for last. */
static struct {
    struct zb_sessions s;
    struct zb_session_etcds etcds;
    struct zb_mono now;
    struct zb_sessions_step step;
    struct zb_sessions_news news;
    uint64_t cluster_id, nonce;
    int64_t revision;
    struct zb_session_row rows[ZB_NODES_MAX]; /* by node; mod 0: none */
} T;

static void
key_put(uint8_t node, const struct zb_session_value *value)
{
    T.rows[node] = (struct zb_session_row){.node = node, .mod = ++T.revision, .value = *value};
}

static void
other_put(enum zb_life life, uint64_t nonce)
{
    key_put(OTHER, &(struct zb_session_value){.life = life,
                                              .id = OTHER_ID,
                                              .nonce = nonce,
                                              .timeout_ms = TIMEOUT_MS,
                                              .fenced = true});
}

static int
fresh(void **state)
{
    (void)state;
    memset(&T, 0, sizeof T);
    T.now.ms = 1000;
    T.cluster_id = CLUSTER;
    T.revision = 10;
    T.nonce = 1;
    zb_sessions_init(&T.s, SELF, BEAT_MS, TIMEOUT_MS);
    return 0;
}

static enum zb_sessions_do
next(void)
{
    zb_sessions_next(&T.s, T.now, &T.step);
    return T.step.what;
}

/* What was sent is done, or not. */
static bool
commit(void)
{
    if (T.step.what == ZB_SESSIONS_PROBE) {
        T.revision++;
        return true;
    }
    if (T.rows[T.step.node].mod != T.step.mod) {
        return false;
    }
    key_put(T.step.node, &T.step.value);
    return true;
}

static void
answer(bool succeeded)
{
    struct zb_sessions_answer a = {
        .known = true, .succeeded = succeeded, .cluster_id = T.cluster_id, .revision = T.revision};

    for (uint8_t n = 0; n < ZB_NODES_MAX; n++) {
        if (T.rows[n].mod != 0) {
            a.rows[a.rows_count++] = T.rows[n];
        }
    }
    zb_sessions_answer(&T.s, T.now, &a, &T.news);
}

static void
no_answer(void)
{
    zb_sessions_answer(&T.s, T.now, &(struct zb_sessions_answer){0}, &T.news);
}

static void
stamp(uint64_t id)
{
    zb_sessions_stamped(&T.s, T.now, ZB_OK, id, ++T.nonce, true);
}

/* A whole heartbeat, due at once. */
static void
beat(void)
{
    zb_sessions_hurry(&T.s, T.now);
    assert_int_equal(next(), ZB_SESSIONS_STAMP);
    stamp(OWN_ID);
    assert_int_equal(next(), ZB_SESSIONS_BEAT);
    answer(commit());
}

static void
beats(int64_t ms)
{
    for (int64_t end = T.now.ms + ms; T.now.ms < end;) {
        T.now.ms += T.now.ms + BEAT_MS < end ? BEAT_MS : end - T.now.ms;
        beat();
    }
}

/* From nothing to a session of its own. */
static void
open_session(void)
{
    assert_int_equal(next(), ZB_SESSIONS_PROBE);
    answer(commit());
    assert_int_equal(next(), ZB_SESSIONS_STAMP);
    assert_false(T.step.new);
    zb_sessions_stamped(&T.s, T.now, ZB_E_NOTFOUND, 0, 0, true);
    assert_int_equal(next(), ZB_SESSIONS_STAMP);
    assert_true(T.step.new);
    stamp(OWN_ID);
    assert_int_equal(next(), ZB_SESSIONS_BEAT);
    answer(commit());
    assert_true(T.news.renewed);
}

/* The other is certified by this node, which has read for long enough. */
static void
certify_other(void)
{
    other_put(ZB_LIFE_ALIVE, 1);
    open_session();
    beats(TIMEOUT_MS - 1);
    T.now.ms++;
    assert_int_equal(next(), ZB_SESSIONS_CERTIFY);
    answer(commit());
}

static void
a_session_begins(void **state)
{
    (void)state;
    open_session();
    assert_int_equal(T.rows[SELF].value.id, OWN_ID);
    assert_int_equal(T.rows[SELF].value.life, ZB_LIFE_ALIVE);
    assert_int_equal(T.rows[SELF].value.timeout_ms, TIMEOUT_MS);
    assert_true(T.rows[SELF].value.fenced);
    assert_int_equal(T.news.nonce, T.nonce);
    assert_true(zb_sessions_is_open(&T.s));
    assert_int_equal(next(), ZB_SESSIONS_WAIT);
    assert_int_equal(T.step.at.ms, 1000 + BEAT_MS);
}

static void
nothing_is_done_beside_what_is_under_way(void **state)
{
    (void)state;
    assert_int_equal(next(), ZB_SESSIONS_PROBE);
    T.now.ms += 60000;
    assert_int_equal(next(), ZB_SESSIONS_WAIT);
    assert_int_equal(T.step.at.ms, T.now.ms + BEAT_MS);
}

/* The first attempt was done, as the second finds. */
static void
an_attempt_without_an_answer_counts_from_its_own_stamp(void **state)
{
    uint64_t first;

    (void)state;
    open_session();
    T.now.ms += BEAT_MS;
    assert_int_equal(next(), ZB_SESSIONS_STAMP);
    stamp(OWN_ID);
    assert_int_equal(next(), ZB_SESSIONS_BEAT);
    first = T.nonce;
    assert_true(commit());
    T.now.ms += 2000;
    no_answer();
    assert_false(T.news.renewed);
    assert_true(zb_sessions_is_open(&T.s));
    assert_int_equal(next(), ZB_SESSIONS_STAMP); /* at once */
    stamp(OWN_ID);
    assert_int_equal(next(), ZB_SESSIONS_BEAT);
    assert_false(commit());
    answer(false);
    assert_true(T.news.renewed);
    assert_int_equal(T.news.nonce, first);
    assert_false(T.news.lost);
    assert_int_equal(next(), ZB_SESSIONS_STAMP);
    stamp(OWN_ID);
    assert_int_equal(next(), ZB_SESSIONS_BEAT);
    answer(commit());
    assert_int_equal(T.news.nonce, T.nonce);
}

static void
refusals_are_not_tried_again_without_a_pause(void **state)
{
    (void)state;
    assert_int_equal(next(), ZB_SESSIONS_PROBE);
    no_answer();
    assert_int_equal(next(), ZB_SESSIONS_WAIT);
    assert_in_range(T.step.at.ms, T.now.ms + 1, T.now.ms + 500);
    T.now = T.step.at;
    assert_int_equal(next(), ZB_SESSIONS_PROBE);
}

static void
a_session_that_is_certified_is_lost(void **state)
{
    (void)state;
    open_session();
    T.rows[SELF].value.life = ZB_LIFE_DEAD;
    T.rows[SELF].mod = ++T.revision;
    zb_sessions_hurry(&T.s, T.now);
    assert_int_equal(next(), ZB_SESSIONS_STAMP);
    stamp(OWN_ID);
    assert_int_equal(next(), ZB_SESSIONS_BEAT);
    assert_false(commit());
    answer(false);
    assert_true(T.news.lost);
    assert_false(T.news.renewed);
    assert_int_equal(T.news.id, OWN_ID);
    assert_false(zb_sessions_is_open(&T.s));
    assert_int_equal(next(), ZB_SESSIONS_WAIT);
    /* The keeper has heard of it, and demotes; then a new one begins over the old. */
    T.now = T.step.at;
    assert_int_equal(next(), ZB_SESSIONS_STAMP);
    zb_sessions_stamped(&T.s, T.now, ZB_E_BUSY, 0, 0, true);
    assert_int_equal(next(), ZB_SESSIONS_WAIT);
    T.now = T.step.at;
    assert_int_equal(next(), ZB_SESSIONS_STAMP);
    zb_sessions_stamped(&T.s, T.now, ZB_E_STALE, 0, 0, true);
    assert_int_equal(next(), ZB_SESSIONS_STAMP);
    assert_true(T.step.new);
    assert_int_equal(T.step.unknown, OWN_ID);
    stamp(101);
    assert_int_equal(next(), ZB_SESSIONS_BEAT);
    assert_true(commit());
    answer(true);
    assert_true(zb_sessions_is_open(&T.s));
    assert_int_equal(T.rows[SELF].value.id, 101);
}

static void
a_session_that_is_gone_is_lost(void **state)
{
    (void)state;
    open_session();
    T.rows[SELF].mod = 0;
    zb_sessions_hurry(&T.s, T.now);
    assert_int_equal(next(), ZB_SESSIONS_STAMP);
    stamp(OWN_ID);
    assert_int_equal(next(), ZB_SESSIONS_BEAT);
    answer(false);
    assert_true(T.news.lost);
}

/* The engine ended, and the keeper knows nothing of the certificate. */
static void
a_restarted_engine_does_not_renew_a_certified_session(void **state)
{
    (void)state;
    key_put(SELF, &(struct zb_session_value){
                      .life = ZB_LIFE_DEAD, .id = OWN_ID, .timeout_ms = TIMEOUT_MS});
    assert_int_equal(next(), ZB_SESSIONS_PROBE);
    answer(commit());
    assert_false(T.news.lost); /* whose it is is not known yet */
    assert_int_equal(next(), ZB_SESSIONS_STAMP);
    stamp(OWN_ID);
    assert_int_equal(next(), ZB_SESSIONS_PROBE);
    answer(commit());
    assert_true(T.news.lost);
    assert_int_equal(T.news.id, OWN_ID);
    assert_int_equal(T.rows[SELF].value.life, ZB_LIFE_DEAD);
}

static void
a_restarted_engine_goes_on_with_the_keepers_session(void **state)
{
    (void)state;
    key_put(SELF, &(struct zb_session_value){
                      .life = ZB_LIFE_ALIVE, .id = OWN_ID, .timeout_ms = TIMEOUT_MS});
    assert_int_equal(next(), ZB_SESSIONS_PROBE);
    answer(commit());
    assert_int_equal(next(), ZB_SESSIONS_STAMP);
    assert_int_equal(T.step.unknown, OWN_ID);
    stamp(OWN_ID);
    assert_true(zb_sessions_is_open(&T.s));
    assert_int_equal(next(), ZB_SESSIONS_BEAT);
    answer(commit());
    assert_true(T.news.renewed);
}

static void
a_pool_that_does_not_answer_leaves_the_session_open(void **state)
{
    (void)state;
    open_session();
    zb_sessions_hurry(&T.s, T.now);
    assert_int_equal(next(), ZB_SESSIONS_STAMP);
    zb_sessions_stamped(&T.s, T.now, ZB_E_SUSPENDED, OWN_ID, 0, true);
    assert_true(zb_sessions_is_open(&T.s));
    assert_int_equal(next(), ZB_SESSIONS_WAIT);
}

static void
a_session_is_left(void **state)
{
    (void)state;
    open_session();
    zb_sessions_leave(&T.s, T.now);
    assert_int_equal(next(), ZB_SESSIONS_LEAVE);
    assert_true(commit());
    no_answer();
    /* It was done, as the next attempt finds. */
    T.now.ms += 2000;
    assert_int_equal(next(), ZB_SESSIONS_LEAVE);
    assert_false(commit());
    answer(false);
    assert_true(T.news.left);
    assert_false(T.news.lost);
    assert_int_equal(T.news.id, OWN_ID);
    assert_false(zb_sessions_is_open(&T.s));
    assert_int_equal(next(), ZB_SESSIONS_WAIT);
}

static void
a_left_session_is_not_unknown(void **state)
{
    (void)state;
    key_put(SELF, &(struct zb_session_value){.life = ZB_LIFE_LEFT, .id = 99, .timeout_ms = 1});
    assert_int_equal(next(), ZB_SESSIONS_PROBE);
    answer(commit());
    assert_int_equal(next(), ZB_SESSIONS_STAMP);
    assert_int_equal(T.step.unknown, 0);
}

static void
silence_is_certified_and_fences(void **state)
{
    struct zb_mono before;

    (void)state;
    certify_other();
    before = T.now;
    assert_int_equal(T.rows[OTHER].value.life, ZB_LIFE_DEAD);
    assert_int_equal(T.rows[OTHER].value.id, OTHER_ID);
    assert_true(
        zb_sessions_is_fenced(&T.s, &T.etcds, OTHER, T.now, (struct zb_mono){before.ms - 1}));
    /* After the grant it has to be read again (M4). */
    assert_false(zb_sessions_is_fenced(&T.s, &T.etcds, OTHER, T.now, before));
    T.now.ms++;
    beat();
    assert_true(zb_sessions_is_fenced(&T.s, &T.etcds, OTHER, T.now, before));
    assert_false(zb_sessions_is_fenced(&T.s, &T.etcds, SELF, T.now, before));
    assert_false(zb_sessions_is_fenced(&T.s, &T.etcds, 2, T.now, before));
    assert_false(zb_sessions_is_fenced(&T.s, &T.etcds, ZB_NODES_MAX, T.now, before));
    other_put(ZB_LIFE_ALIVE, 2);
    beat();
    assert_false(zb_sessions_is_fenced(&T.s, &T.etcds, OTHER, T.now, before));
}

static void
who_is_heard_of_is_not_certified(void **state)
{
    (void)state;
    other_put(ZB_LIFE_ALIVE, 1);
    open_session();
    for (uint64_t nonce = 2; nonce < 6; nonce++) {
        beats(TIMEOUT_MS - BEAT_MS);
        other_put(ZB_LIFE_ALIVE, nonce);
        beat();
        assert_int_equal(next(), ZB_SESSIONS_WAIT);
    }
    assert_int_equal(T.rows[OTHER].value.life, ZB_LIFE_ALIVE);
}

static void
a_certificate_that_came_too_late_is_void(void **state)
{
    (void)state;
    other_put(ZB_LIFE_ALIVE, 1);
    open_session();
    beats(TIMEOUT_MS - 1);
    T.now.ms++;
    assert_int_equal(next(), ZB_SESSIONS_CERTIFY);
    other_put(ZB_LIFE_ALIVE, 2);
    assert_false(commit());
    answer(false);
    assert_int_equal(T.rows[OTHER].value.life, ZB_LIFE_ALIVE);
    assert_false(zb_sessions_is_fenced(&T.s, &T.etcds, OTHER, T.now, (struct zb_mono){0}));
    assert_int_equal(next(), ZB_SESSIONS_WAIT);
}

/* Etcd may have gone back since, and have another session at that revision. */
static void
nobody_is_certified_by_what_was_read_long_ago(void **state)
{
    (void)state;
    other_put(ZB_LIFE_ALIVE, 1);
    open_session();
    beats(TIMEOUT_MS - BEAT_MS);
    T.now.ms += 60000;
    assert_int_equal(next(), ZB_SESSIONS_STAMP);
    stamp(OWN_ID);
    assert_int_equal(next(), ZB_SESSIONS_BEAT);
    answer(commit());
    assert_int_equal(next(), ZB_SESSIONS_CERTIFY);
}

static void
who_left_or_is_not_fenced_is_no_proof(void **state)
{
    (void)state;
    other_put(ZB_LIFE_LEFT, 1);
    open_session();
    beats(3 * TIMEOUT_MS);
    assert_int_equal(next(), ZB_SESSIONS_WAIT); /* nobody waits for it */
    assert_false(zb_sessions_is_fenced(&T.s, &T.etcds, OTHER, T.now, (struct zb_mono){0}));
    other_put(ZB_LIFE_DEAD, 1);
    beat();
    assert_true(zb_sessions_is_fenced(&T.s, &T.etcds, OTHER, T.now, (struct zb_mono){0}));
    T.rows[OTHER].value.fenced = false; /* its certificate of a node is another now */
    beat();
    assert_false(zb_sessions_is_fenced(&T.s, &T.etcds, OTHER, T.now, (struct zb_mono){0}));
}

static void
what_is_found_is_believed_after_a_whole_timeout(void **state)
{
    (void)state;
    other_put(ZB_LIFE_DEAD, 1);
    T.rows[OTHER].value.timeout_ms = 2 * TIMEOUT_MS; /* the longest of all counts */
    open_session();
    beats(2 * TIMEOUT_MS - 1);
    assert_false(zb_sessions_may_judge(&T.s, T.now));
    assert_false(zb_sessions_is_fenced(&T.s, &T.etcds, OTHER, T.now, (struct zb_mono){0}));
    T.now.ms++;
    assert_true(zb_sessions_may_judge(&T.s, T.now));
    assert_true(zb_sessions_is_fenced(&T.s, &T.etcds, OTHER, T.now, (struct zb_mono){0}));
}

/* Each of the ways in which an etcd that was restored, or is another one, shows. */
static void
back_to_before(unsigned way)
{
    if (way == 0) {
        T.cluster_id++;
    } else if (way == 1) {
        T.revision = T.rows[SELF].mod - 1; /* and its keys with it, which are not looked at */
    } else if (way == 2) {
        T.rows[OTHER].mod -= 1; /* an older value of its key, while others raised the revision */
    } else if (way == 3) {
        T.rows[OTHER].value.nonce++; /* another one at the same revision */
    } else if (way == 4) {
        T.rows[OTHER].mod = 0;
    } else {
        T.rows[2] = T.rows[OTHER];
        T.rows[2].node = 2;
    }
}

static void
an_etcd_that_went_back_is_believed_after_a_whole_timeout(void **state)
{
    for (unsigned way = 0; way < 6; way++) {
        (void)fresh(state);
        certify_other();
        T.now.ms++;
        beat();
        assert_true(zb_sessions_may_judge(&T.s, T.now));
        assert_true(zb_sessions_is_fenced(&T.s, &T.etcds, OTHER, T.now, (struct zb_mono){0}));
        back_to_before(way);
        zb_sessions_hurry(&T.s, T.now);
        assert_int_equal(next(), ZB_SESSIONS_STAMP);
        stamp(OWN_ID);
        assert_int_equal(next(), ZB_SESSIONS_BEAT);
        answer(false);
        assert_true(T.news.changed);
        assert_false(zb_sessions_may_judge(&T.s, T.now));
        assert_false(zb_sessions_is_fenced(&T.s, &T.etcds, OTHER, T.now, (struct zb_mono){0}));
        T.revision += 100;
        beats(TIMEOUT_MS - 1);
        assert_false(zb_sessions_may_judge(&T.s, T.now));
        T.now.ms++;
        assert_true(zb_sessions_may_judge(&T.s, T.now));
    }
}

static void
a_new_session_judges_after_a_whole_timeout(void **state)
{
    (void)state;
    certify_other();
    T.now.ms += 60000;
    assert_int_equal(next(), ZB_SESSIONS_STAMP);
    zb_sessions_stamped(&T.s, T.now, ZB_E_STALE, 0, 0, true);
    assert_int_equal(next(), ZB_SESSIONS_PROBE);
    answer(commit());
    assert_int_equal(next(), ZB_SESSIONS_STAMP);
    stamp(101);
    assert_int_equal(next(), ZB_SESSIONS_BEAT);
    assert_true(commit());
    answer(true);
    assert_true(zb_sessions_is_open(&T.s));
    assert_false(zb_sessions_may_judge(&T.s, T.now));
    T.now.ms += TIMEOUT_MS;
    assert_true(zb_sessions_may_judge(&T.s, T.now));
}

/* It would lapse as the one before did: etcd is seen to be there first. */
static void
no_session_is_begun_while_etcd_is_away(void **state)
{
    (void)state;
    certify_other();
    T.now.ms += 60000;
    assert_int_equal(next(), ZB_SESSIONS_STAMP);
    zb_sessions_stamped(&T.s, T.now, ZB_E_STALE, 0, 0, true);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(next(), ZB_SESSIONS_PROBE);
        T.now.ms += BEAT_MS;
        no_answer();
    }
    assert_int_equal(next(), ZB_SESSIONS_PROBE);
    answer(commit());
    assert_int_equal(next(), ZB_SESSIONS_STAMP);
    assert_true(T.step.new);
}

static void
without_a_session_nobody_is_judged(void **state)
{
    (void)state;
    certify_other();
    zb_sessions_hurry(&T.s, T.now);
    assert_int_equal(next(), ZB_SESSIONS_STAMP);
    zb_sessions_stamped(&T.s, T.now, ZB_E_BUSY, 0, 0, true);
    assert_false(zb_sessions_may_judge(&T.s, T.now));
    assert_false(zb_sessions_is_fenced(&T.s, &T.etcds, OTHER, T.now, (struct zb_mono){0}));
}

static void
told(uint8_t who, uint8_t node, uint64_t etcd)
{
    T.etcds.told[who][node].known = true;
    T.etcds.told[who][node].etcd = etcd;
}

/* Whoever it was that was told otherwise: its node may be writing under a session elsewhere. */
static void
who_is_in_another_etcd_is_not_fenced_by_this_one(void **state)
{
    (void)state;
    certify_other();
    told(SELF, OTHER, CLUSTER);
    told(2, OTHER, CLUSTER);
    told(2, 3, CLUSTER + 1); /* of somebody else */
    assert_true(zb_sessions_is_fenced(&T.s, &T.etcds, OTHER, T.now, (struct zb_mono){0}));
    told(2, OTHER, CLUSTER + 1);
    assert_false(zb_sessions_is_fenced(&T.s, &T.etcds, OTHER, T.now, (struct zb_mono){0}));
    told(2, OTHER, 0); /* in none */
    assert_false(zb_sessions_is_fenced(&T.s, &T.etcds, OTHER, T.now, (struct zb_mono){0}));
    told(2, OTHER, CLUSTER);
    T.etcds.changed_at = T.s.read_at; /* its key may have been read before it was there */
    assert_false(zb_sessions_is_fenced(&T.s, &T.etcds, OTHER, T.now, (struct zb_mono){0}));
    T.now.ms++;
    beat();
    assert_true(zb_sessions_is_fenced(&T.s, &T.etcds, OTHER, T.now, (struct zb_mono){0}));
    told(SELF, OTHER, CLUSTER + 1);
    assert_false(zb_sessions_is_fenced(&T.s, &T.etcds, OTHER, T.now, (struct zb_mono){0}));
}

/* Others hear that it is there before anything is granted under it. */
static void
in_which_etcd_a_session_is_is_told(void **state)
{
    (void)state;
    assert_int_equal(next(), ZB_SESSIONS_PROBE);
    answer(commit());
    assert_false(T.news.moved); /* nothing is there yet */
    assert_int_equal(T.s.etcd, 0);
    beat();
    assert_true(T.news.moved);
    assert_int_equal(T.s.etcd, CLUSTER);
    beat();
    assert_false(T.news.moved);
    memset(T.rows, 0, sizeof T.rows); /* another etcd at the same addresses */
    T.cluster_id = CLUSTER + 1;
    zb_sessions_hurry(&T.s, T.now);
    assert_int_equal(next(), ZB_SESSIONS_STAMP);
    stamp(OWN_ID);
    assert_int_equal(next(), ZB_SESSIONS_BEAT);
    answer(commit());
    assert_true(T.news.lost);
    assert_true(T.news.moved);
    assert_int_equal(T.s.etcd, 0);
}

int
main(void)
{
#define STORY(name) cmocka_unit_test_setup(name, fresh)
    const struct CMUnitTest tests[] = {
        STORY(a_session_begins),
        STORY(nothing_is_done_beside_what_is_under_way),
        STORY(an_attempt_without_an_answer_counts_from_its_own_stamp),
        STORY(refusals_are_not_tried_again_without_a_pause),
        STORY(a_session_that_is_certified_is_lost),
        STORY(a_session_that_is_gone_is_lost),
        STORY(a_restarted_engine_does_not_renew_a_certified_session),
        STORY(a_restarted_engine_goes_on_with_the_keepers_session),
        STORY(a_pool_that_does_not_answer_leaves_the_session_open),
        STORY(a_session_is_left),
        STORY(a_left_session_is_not_unknown),
        STORY(silence_is_certified_and_fences),
        STORY(who_is_heard_of_is_not_certified),
        STORY(a_certificate_that_came_too_late_is_void),
        STORY(nobody_is_certified_by_what_was_read_long_ago),
        STORY(no_session_is_begun_while_etcd_is_away),
        STORY(who_left_or_is_not_fenced_is_no_proof),
        STORY(what_is_found_is_believed_after_a_whole_timeout),
        STORY(an_etcd_that_went_back_is_believed_after_a_whole_timeout),
        STORY(a_new_session_judges_after_a_whole_timeout),
        STORY(without_a_session_nobody_is_judged),
        STORY(who_is_in_another_etcd_is_not_fenced_by_this_one),
        STORY(in_which_etcd_a_session_is_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
