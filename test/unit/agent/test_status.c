/* Which members a status answer calls healthy, on the leader of two engines. */
#include "pair.h"

#include "agent/config.h"
#include "agent/request.h"

static json_t *answer; /* of the last status */

const struct zb_config_doc *
zb_config_current(const struct zb_agent *a)
{
    static const struct zb_config_doc none;
    (void)a;
    return &none;
}

void
zb_request_done(struct zb_request *r, json_t *data)
{
    (void)r;
    answer = data;
}

void
zb_request_fail(struct zb_request *r, const struct zb_err *err, const char *rule)
{
    (void)r;
    (void)rule;
    fail_msg("%s", err->msg);
}

/* Whether vm1 calls a member healthy; its state and set as they stand in the same answer. */
static bool
healthy(const struct pair *w, size_t member, const char *state, json_int_t behind)
{
    struct zb_request r = {.a = (struct zb_agent *)(uintptr_t)&w->hosts[0].a,
                           .args = json_pack("{s:[s]}", "services", "web")};
    zb_cmd_status(&r);
    json_t *members =
        json_object_get(json_array_get(json_object_get(answer, "services"), 0), "members");
    json_t *m = json_array_get(members, member);
    json_int_t newest[2];
    for (size_t i = 0; i < 2; i++) {
        json_t *set = json_object_get(json_array_get(members, i), "newest_set");
        newest[i] = json_integer_value(json_object_get(set, "seq"));
    }
    bool is = strcmp(json_string_value(json_object_get(m, "state")), state) == 0 &&
              newest[0] - newest[1] == behind && json_is_true(json_object_get(m, "healthy"));
    json_decref(answer);
    json_decref(r.args);
    return is;
}

static bool
both_are_healthy(const struct pair *w)
{
    return healthy(w, 0, "running", 0) && healthy(w, 1, "current", 0);
}

static bool
one_set_is_on_its_way(const struct pair *w)
{
    return healthy(w, 1, "receiving", 1);
}

static bool
it_is_no_longer(const struct pair *w)
{
    return w->hosts[1].model.receives != NULL && !healthy(w, 1, "receiving", 1);
}

static void
set_make(struct pair *w)
{
    w->hosts[0].model.written = true;
    host_command(&w->hosts[0], ZB_CMD_SNAPSHOT, ZB_NODE_NONE);
    assert_true(pair_until(w, pair_replied));
}

/* A set that was just made may be missing on a follower, but not for long. */
static void
a_follower_may_lack_the_newest_set_for_some_intervals(void **state)
{
    struct pair *w = *state;
    pair_declare(w);
    assert_true(pair_until(w, both_are_healthy));
    w->hosts[1].model.receive_stalls = true;
    set_make(w);
    assert_true(pair_until(w, one_set_is_on_its_way));
    int64_t begun_ms = zb_mono_now().ms;
    assert_true(pair_until(w, it_is_no_longer));
    assert_in_range(zb_mono_now().ms - begun_ms, 1000, 10000);
    assert_true(healthy(w, 0, "running", 1));
}

/* With two sets missing, others have been made meanwhile: it does not keep up. */
static void
a_follower_that_lacks_two_sets_is_not_healthy(void **state)
{
    struct pair *w = *state;
    pair_declare(w);
    assert_true(pair_until(w, both_are_healthy));
    w->hosts[1].model.receive_stalls = true;
    for (int i = 0; i < 2; i++) {
        set_make(w);
    }
    assert_false(healthy(w, 1, "receiving", 2));
    assert_true(healthy(w, 0, "running", 2));
}

/* vm2 is a backup from now on, and is sent sets so often. */
static void
backup_declare(struct pair *w, uint64_t every_ms)
{
    struct zb_conf_service web = w->hosts[0].a.services[0].conf;
    struct zb_conf_services services = {.count = 1, .items = &web};
    struct zb_freezes none = {0};
    web.members.count = 1;
    web.backups.count = 1;
    zb_strcopy(web.backups.items[0], ZB_NODE_NAME_SIZE, "vm2");
    web.backup_every_ms = every_ms;
    for (int i = 0; i < 2; i++) {
        zb_agent_services_apply(&w->hosts[i].a, &services, &none, 2);
    }
}

static bool
vm2_lacks_a_set_as_planned(const struct pair *w)
{
    return healthy(w, 1, "planned", 1);
}

static bool
vm2_lacks_two_sets_as_planned(const struct pair *w)
{
    return healthy(w, 1, "planned", 2);
}

/* What a backup lacks between its times is as it should be, however many sets. */
static void
a_backup_between_its_times_is_healthy(void **state)
{
    struct pair *w = *state;
    pair_declare(w);
    assert_true(pair_until(w, both_are_healthy));
    backup_declare(w, 600000);
    w->hosts[0].model.written = true;
    assert_true(pair_until(w, vm2_lacks_a_set_as_planned));
    w->hosts[0].model.written = true;
    assert_true(pair_until(w, vm2_lacks_two_sets_as_planned));
    set_make(w); /* by order: at once */
    assert_true(pair_until(w, both_are_healthy));
}

/* What status warns of, of a certificate; NULL: nothing. To be freed. */
static char *
cert_warning(const struct pair *w)
{
    struct zb_request r = {.a = (struct zb_agent *)(uintptr_t)&w->hosts[0].a,
                           .args = json_object()};
    char *found = NULL;
    size_t i;
    json_t *text;
    zb_cmd_status(&r);
    json_array_foreach(json_object_get(answer, "warnings"), i, text)
    {
        if (strstr(json_string_value(text), "certificate") != NULL) {
            assert_null(found);
            found = strdup(json_string_value(text));
        }
    }
    json_decref(answer);
    json_decref(r.args);
    return found;
}

static void
a_certificate_that_ends_is_warned_of(void **state)
{
    struct pair *w = *state;
    const int64_t now_s = zb_wall_now().s;
    pair_declare(w);
    assert_null(cert_warning(w)); /* not known */
    pair_cert_ends[0].s = pair_cert_ends[1].s = now_s + 31 * 86400;
    assert_null(cert_warning(w));
    pair_cert_ends[1].s = now_s + 12 * 86400 + 600;
    char *text = cert_warning(w);
    assert_non_null(text);
    assert_non_null(strstr(text, "vm2: its certificate ends 20"));
    assert_non_null(strstr(text, ", in 12 days (zbaton cert renew vm2)"));
    free(text);
    pair_cert_ends[0].s = now_s - 1;
    pair_cert_ends[1].s = 0;
    text = cert_warning(w);
    assert_non_null(text);
    assert_non_null(strstr(text, "vm1: its certificate has ended 20"));
    free(text);
    pair_cert_ends[0].s = 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        pair_test(a_follower_may_lack_the_newest_set_for_some_intervals),
        pair_test(a_follower_that_lacks_two_sets_is_not_healthy),
        pair_test(a_backup_between_its_times_is_healthy),
        pair_test(a_certificate_that_ends_is_warned_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
