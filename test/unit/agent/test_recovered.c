/* What a configuration knows of an earlier cluster, and what a state directory still says of it. */
#include "unit.h"

#include <sys/stat.h>
#include <unistd.h>

#include "agent/config.h"
#include "agent/drive.h"
#include "agent/former.h"
#include "history/history.h"

#define SERVICE(name)                                                                              \
    "service " name " {\n members = { vm1 }\n leader = vm1\n mountpoint = \"/" name "\"\n}\n"

static void
doc_make(struct zb_config_doc *doc, const char *services)
{
    struct zb_err err;

    doc->version = 2;
    doc->nodes_count = 1;
    zb_strcopy(doc->cluster, sizeof doc->cluster, "test");
    zb_strcopy(doc->nodes[0].name, sizeof doc->nodes[0].name, "vm1");
    zb_strcopy(doc->nodes[0].address, sizeof doc->nodes[0].address, "127.0.0.1:1");
    assert_int_equal(zb_config_doc_services_set(doc, services, "services", &err), ZB_OK);
}

static uint64_t
floor_of(uint64_t seen, uint64_t random)
{
    uint64_t floor = 0;
    struct zb_err err;

    assert_int_equal(zb_recovered_floor(seen, random, &floor, &err), ZB_OK);
    return floor;
}

/* An old leader that nobody reaches has a thousand terms before it comes to the floor. */
static void
the_floor_is_well_above_what_was_seen(void **state)
{
    static const uint64_t seen[] = {0, 12, 999, 1000, 1001, 123456};
    (void)state;

    for (size_t i = 0; i < sizeof seen / sizeof seen[0]; i++) {
        assert_true(floor_of(seen[i], 0) > seen[i] + 1000);
        assert_int_equal(floor_of(seen[i], 0) % 1000, 0);
    }
    assert_int_equal(floor_of(999, 0), 2000);
    assert_int_equal(floor_of(1000, 0), 3000);
}

static void
two_recoveries_of_the_same_copies_have_terms_of_their_own(void **state)
{
    (void)state;
    assert_int_equal(floor_of(12, 0), 2000);
    assert_int_equal(floor_of(12, 7), 9000);
    assert_int_equal(floor_of(12, 999999), 1000001000);
    assert_int_equal(floor_of(12, 1000000), 2000);
}

static void
a_floor_that_would_wrap_is_refused(void **state)
{
    uint64_t floor = 5;
    struct zb_err err;
    (void)state;

    assert_true(floor_of(INT64_MAX / 2, UINT64_MAX) < INT64_MAX);
    assert_int_equal(zb_recovered_floor((uint64_t)INT64_MAX / 2 + 1, 0, &floor, &err), ZB_E_LIMIT);
    assert_int_equal(zb_recovered_floor(UINT64_MAX, 0, &floor, &err), ZB_E_LIMIT);
    assert_int_equal(floor, 5);
}

static void
services_are_known_before_they_are_declared(void **state)
{
    struct zb_config_doc doc = {0}, copy = {0}, parsed = {0};
    char hash[ZB_CONFIG_HASH_SIZE];
    char *text = NULL;
    struct zb_err err;
    (void)state;

    doc_make(&doc, "");
    doc.recovered.term = 1000;
    zb_recovered_add(&doc.recovered, "web");
    zb_recovered_add(&doc.recovered, "db");
    zb_recovered_add(&doc.recovered, "web");
    assert_int_equal(doc.recovered.count, 2);
    assert_int_equal(zb_config_doc_services_set(&doc, SERVICE("web"), "services", &err), ZB_OK);
    assert_int_equal(zb_config_doc_copy(&copy, &doc, &err), ZB_OK);
    assert_int_equal(zb_config_doc_format(&copy, &text, hash, &err), ZB_OK);
    assert_non_null(
        strstr(text, "\"recovered\":{\"services\":[\"db\",\"web\"],\"term\":\"1000\"}"));
    assert_int_equal(zb_config_doc_parse(text, &parsed, &err), ZB_OK);
    assert_int_equal(parsed.recovered.term, 1000);
    assert_true(zb_recovered_has(&parsed.recovered, "web"));
    assert_true(zb_recovered_has(&parsed.recovered, "db"));
    assert_false(zb_recovered_has(&parsed.recovered, "mail"));
    free(text);
    zb_config_doc_close(&doc);
    zb_config_doc_close(&copy);
    zb_config_doc_close(&parsed);
}

static void
a_withdrawn_service_begins_anew_when_it_is_declared_again(void **state)
{
    struct zb_config_doc doc = {0};
    struct zb_err err;
    (void)state;

    doc_make(&doc, "");
    doc.recovered.term = 1000;
    zb_recovered_add(&doc.recovered, "db");
    zb_recovered_add(&doc.recovered, "web");
    assert_int_equal(zb_config_doc_services_set(&doc, SERVICE("web"), "services", &err), ZB_OK);
    assert_true(zb_recovered_has(&doc.recovered, "web"));
    assert_int_equal(zb_config_doc_services_set(&doc, "", "services", &err), ZB_OK);
    assert_false(zb_recovered_has(&doc.recovered, "web"));
    assert_true(zb_recovered_has(&doc.recovered, "db"));
    assert_int_equal(doc.recovered.term, 1000);
    zb_config_doc_close(&doc);
}

static void
what_is_not_canonical_is_refused(void **state)
{
    static const char *const bad[] = {
        "null",
        "{\"services\":[],\"term\":\"0\"}",
        "{\"services\":[\"web\",\"db\"],\"term\":\"1000\"}",
        "{\"services\":[\"db\",\"db\"],\"term\":\"1000\"}",
        "{\"services\":[\"../db\"],\"term\":\"1000\"}",
        "{\"services\":[7],\"term\":\"1000\"}",
        "{\"services\":\"db\",\"term\":\"1000\"}",
        "{\"services\":[\"db\"]}",
        "{\"more\":1,\"services\":[\"db\"],\"term\":\"1000\"}",
    };
    char text[512];
    struct zb_err err;
    (void)state;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct zb_config_doc doc = {0};
        (void)snprintf(text, sizeof text,
                       "{\"cluster\":\"test\",\"nodes\":[{\"address\":\"127.0.0.1:1\","
                       "\"fingerprint\":\"\",\"name\":\"vm1\"}],\"recovered\":%s,\"services\":\"\","
                       "\"version\":\"2\"}",
                       bad[i]);
        assert_int_equal(zb_config_doc_parse(text, &doc, &err), ZB_E_FORMAT);
    }
}

static void
an_old_history_tells_declarations_and_terms(void **state)
{
    char path[] = "/tmp/zb-former-XXXXXX";
    struct zb_config_doc doc = {0};
    struct zb_former former = {0};
    struct zb_history *h = NULL;
    struct zb_history_term term = {.term = 12, .reason = ZB_HISTORY_MOVE};
    struct zb_history_record record = {.granted_term = 15, .learned_term = 12};
    struct zb_err err;
    (void)state;

    assert_int_equal(close(mkstemp(path)), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(zb_former_load(path, &former, &err), ZB_E_NOTFOUND);
    assert_int_equal(access(path, F_OK), -1);
    doc_make(&doc, SERVICE("web"));
    assert_int_equal(zb_config_seed(path, &doc, &err), ZB_OK);
    assert_int_equal(zb_history_open(path, &h, &err), ZB_OK);
    zb_strcopy(term.leader, sizeof term.leader, "vm1");
    zb_strcopy(record.node, sizeof record.node, "vm2");
    assert_int_equal(zb_history_term_put(h, "web", &term, &err), ZB_OK);
    assert_int_equal(zb_history_record_put(h, "web", &record, &err), ZB_OK);
    zb_history_close(h);
    assert_int_equal(zb_former_load(path, &former, &err), ZB_OK);
    assert_int_equal(former.doc.version, 2);
    assert_string_equal(former.doc.text, SERVICE("web"));
    assert_int_equal(former.term, 15);
    zb_former_close(&former);
    zb_config_doc_close(&doc);
    assert_int_equal(unlink(path), 0);
}

static void
manifest_put(struct zb_history *h, uint64_t seq, uint32_t entries)
{
    struct zb_manifest m = {0};
    struct zb_err err;

    assert_int_equal(zb_manifest_init(&m, entries, &err), ZB_OK);
    m.id = (struct zb_set_id){.term = 12, .seq = seq};
    for (uint32_t i = 0; i < entries; i++) {
        (void)snprintf(m.entries[i].uuid, sizeof m.entries[i].uuid,
                       "00000000-0000-4000-8000-00000000000%u", i);
        (void)snprintf(m.entries[i].rel, sizeof m.entries[i].rel, "%s", i == 0 ? "" : "db");
        m.entries[i].guid = 100 * seq + i + 1;
    }
    assert_int_equal(zb_history_set_put(h, "web", &m, &err), ZB_OK);
    zb_manifest_close(&m);
}

/* So that the new cluster does not take a set for whole that came half. */
static void
what_sets_consist_of_goes_over_to_the_new_history(void **state)
{
    char from[] = "/tmp/zb-from-XXXXXX", to[] = "/tmp/zb-to-XXXXXX";
    struct zb_recovered services = {0};
    struct zb_history *h = NULL;
    struct zb_manifest m = {0};
    struct zb_err err;
    (void)state;

    assert_int_equal(close(mkstemp(from)), 0);
    assert_int_equal(close(mkstemp(to)), 0);
    assert_int_equal(zb_history_open(from, &h, &err), ZB_OK);
    manifest_put(h, 5, 1);
    manifest_put(h, 6, 2);
    zb_history_close(h);
    zb_recovered_add(&services, "db");
    zb_recovered_add(&services, "web");
    assert_int_equal(zb_former_sets_copy(from, to, &services, &err), ZB_OK);
    assert_int_equal(zb_history_open(to, &h, &err), ZB_OK);
    for (uint64_t seq = 5; seq <= 6; seq++) {
        struct zb_set_id id = {.term = 12, .seq = seq};
        assert_int_equal(zb_history_set_get(h, "web", id, &m, &err), ZB_OK);
        assert_int_equal(m.entries_count, seq - 4);
        zb_manifest_close(&m);
    }
    zb_history_close(h);
    zb_recovered_close(&services);
    assert_int_equal(unlink(from), 0);
    assert_int_equal(unlink(to), 0);
}

static void
looking_makes_no_history(void **state)
{
    char path[] = "/tmp/zb-empty-XXXXXX";
    struct zb_former former = {0};
    struct stat st;
    struct zb_err err;
    (void)state;

    assert_int_equal(close(mkstemp(path)), 0);
    assert_int_equal(zb_former_load(path, &former, &err), ZB_E_NOTFOUND);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 0);
    zb_former_close(&former);
    assert_int_equal(unlink(path), 0);
}

/* Only such a service may be withdrawn. */
static void
a_term_above_the_floor_says_that_it_was_led_since(void **state)
{
    char path[] = "/tmp/zb-led-XXXXXX";
    struct zb_history *h = NULL;
    struct zb_history_term term = {.term = 12, .reason = ZB_HISTORY_MOVE};
    struct zb_err err;
    (void)state;

    assert_int_equal(close(mkstemp(path)), 0);
    assert_int_equal(zb_history_open(path, &h, &err), ZB_OK);
    zb_strcopy(term.leader, sizeof term.leader, "vm1");
    assert_false(zb_lineage_led_above(h, "web", 2000));
    assert_int_equal(zb_history_term_put(h, "web", &term, &err), ZB_OK);
    assert_false(zb_lineage_led_above(h, "web", 2000));
    term.term = 2001;
    assert_int_equal(zb_history_term_put(h, "web", &term, &err), ZB_OK);
    assert_true(zb_lineage_led_above(h, "web", 2000));
    assert_false(zb_lineage_led_above(h, "db", 2000));
    zb_history_close(h);
    assert_int_equal(unlink(path), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_floor_is_well_above_what_was_seen),
        cmocka_unit_test(two_recoveries_of_the_same_copies_have_terms_of_their_own),
        cmocka_unit_test(a_floor_that_would_wrap_is_refused),
        cmocka_unit_test(services_are_known_before_they_are_declared),
        cmocka_unit_test(a_withdrawn_service_begins_anew_when_it_is_declared_again),
        cmocka_unit_test(what_is_not_canonical_is_refused),
        cmocka_unit_test(an_old_history_tells_declarations_and_terms),
        cmocka_unit_test(what_sets_consist_of_goes_over_to_the_new_history),
        cmocka_unit_test(looking_makes_no_history),
        cmocka_unit_test(a_term_above_the_floor_says_that_it_was_led_since),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
