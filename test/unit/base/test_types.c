#include "unit.h"

#include "base/types.h"

static void
node_and_service_names(void **state)
{
    (void)state;
    char longest[ZB_NODE_NAME_SIZE + 1];
    static const char *const good[] = {"a", "vm1", "0", "a-b-c", "web-"};
    static const char *const bad[] = {"",    "-a",  "A",        "a b", "a.b", "a/b",
                                      "a@b", "../", "\xc3\xa4", "a\n", "_a"};

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(zb_node_name_valid(good[i]));
        assert_true(zb_service_name_valid(good[i]));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(zb_node_name_valid(bad[i]));
        assert_false(zb_service_name_valid(bad[i]));
    }
    assert_true(zb_service_name_valid("a_b"));
    assert_false(zb_node_name_valid("a_b"));
    memset(longest, 'a', sizeof longest);
    longest[ZB_NODE_NAME_SIZE - 1] = '\0';
    assert_true(zb_node_name_valid(longest));
    longest[ZB_NODE_NAME_SIZE - 1] = 'a';
    longest[ZB_NODE_NAME_SIZE] = '\0';
    assert_false(zb_node_name_valid(longest));
}

static void
relative_names(void **state)
{
    (void)state;
    char longest[ZB_REL_SIZE + 1];
    static const char *const good[] = {"", "a", "child/grandchild", "A_b.c:d-e", "a/b.c"};
    static const char *const bad[] = {"/",    "/a",    "a/",  "a//b",      ".",   "..",
                                      "a/..", "a/./b", ".a",  "a/.rescue", "a@b", "a#b",
                                      "a%b",  "a b",   "a+b", "a\n"};

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(zb_rel_valid(good[i]));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(zb_rel_valid(bad[i]));
    }
    memset(longest, 'a', sizeof longest);
    longest[ZB_REL_SIZE] = '\0';
    assert_false(zb_rel_valid(longest));
    longest[ZB_REL_SIZE - 1] = '\0';
    assert_true(zb_rel_valid(longest));
}

static void
dataset_names(void **state)
{
    (void)state;
    assert_true(zb_dataset_name_valid("tank"));
    assert_true(zb_dataset_name_valid("pool1/services/web.db"));
    assert_false(zb_dataset_name_valid(""));
    assert_false(zb_dataset_name_valid("1pool/a"));
    assert_false(zb_dataset_name_valid("/tank"));
    assert_false(zb_dataset_name_valid("tank/"));
    assert_false(zb_dataset_name_valid("tank/.rescue"));
    assert_false(zb_dataset_name_valid("tank/../x"));
    assert_false(zb_dataset_name_valid("tank@x"));
}

static void
snapshot_names(void **state)
{
    (void)state;
    assert_true(zb_snap_name_valid("autosnap_2026-11-22_06:41:00_daily"));
    assert_true(zb_snap_name_valid("before upgrade +1"));
    assert_true(zb_snap_name_valid(".hidden"));
    assert_false(zb_snap_name_valid(""));
    assert_false(zb_snap_name_valid("a/b"));
    assert_false(zb_snap_name_valid("a@b"));
    assert_false(zb_snap_name_valid("a,b"));
    assert_false(zb_snap_name_valid("a%b"));
}

static void
uuids(void **state)
{
    (void)state;
    assert_true(zb_uuid_valid("0f8fad5b-d9cb-469f-a165-70867728950e"));
    assert_false(zb_uuid_valid("0F8FAD5B-d9cb-469f-a165-70867728950e"));
    assert_false(zb_uuid_valid("0f8fad5b-d9cb-469f-a165-70867728950"));
    assert_false(zb_uuid_valid("0f8fad5b-d9cb-469f-a165-70867728950e0"));
    assert_false(zb_uuid_valid("0f8fad5bd9cb-469f-a165-708677289500e-"));
    assert_false(zb_uuid_valid(""));
}

static void
set_order(void **state)
{
    (void)state;
    struct zb_set_id low = {1, 9};
    struct zb_set_id middle = {2, 0};
    struct zb_set_id high = {2, 1};
    struct zb_set_ref a = {.id = high, .digest = {1}};
    struct zb_set_ref b = {.id = high, .digest = {1}};

    assert_true(zb_set_id_cmp(low, middle) < 0);
    assert_true(zb_set_id_cmp(high, middle) > 0);
    assert_int_equal(zb_set_id_cmp(high, high), 0);
    assert_true(zb_set_id_is_none((struct zb_set_id){0, 0}));
    assert_false(zb_set_id_is_none((struct zb_set_id){1, 0}));
    assert_true(zb_set_ref_equal(&a, &b));
    b.digest[15] = 1;
    assert_false(zb_set_ref_equal(&a, &b));
    b = a;
    b.id = low;
    assert_false(zb_set_ref_equal(&a, &b));
}

static void
set_names_round_trip(void **state)
{
    (void)state;
    char name[ZB_SNAP_NAME_SIZE];
    struct zb_set_id id = {0};
    struct zb_wall time = {0};

    zb_set_name_format((struct zb_set_id){12, 345}, (struct zb_wall){1795329660}, name);
    assert_string_equal(name, "zbaton-000012-00000345-20261122T064100Z");
    assert_true(zb_set_name_parse(name, &id, &time));
    assert_int_equal(id.term, 12);
    assert_int_equal(id.seq, 345);
    assert_int_equal(time.s, 1795329660);
    assert_true(zb_set_name_parse(name, &id, NULL));

    zb_set_name_format((struct zb_set_id){UINT64_MAX, UINT64_MAX}, (struct zb_wall){INT64_MAX},
                       name);
    assert_string_equal(name, "zbaton-18446744073709551615-18446744073709551615-99991231T235959Z");
    assert_true(zb_set_name_parse(name, &id, &time));
    assert_true(id.term == UINT64_MAX && id.seq == UINT64_MAX);
}

static void
set_names_that_are_not(void **state)
{
    (void)state;
    struct zb_set_id id = {7, 7};
    static const char *const bad[] = {
        "",
        "zbaton-",
        "zbaton-000012-00000345",
        "zbaton-000012-00000345-20261122T064100",
        "zbaton-000012-00000345-20261122T064100Zx",
        "zbaton-000012-00000345-20261122T064100Z ",
        "zbaton-12-345-20261122T064100Z",
        "zbaton-0000012-00000345-20261122T064100Z",
        "zbaton-000012-00000345-20261322T064100Z",
        "zbaton-000012-00000345-20260230T064100Z",
        "zbaton-000012-00000345-20261122T246000Z",
        "zbaton-000012-00000345-20261122T64100Z",
        "zbaton-00001a-00000345-20261122T064100Z",
        "zbaton--00012-00000345-20261122T064100Z",
        "zbaton-000000-00000000-20261122T064100Z",
        "zbaton-18446744073709551616-00000000-20261122T064100Z",
        "Zbaton-000012-00000345-20261122T064100Z",
        "zbaton-000012-00000345-19691231T235959Z",
    };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(zb_set_name_parse(bad[i], &id, NULL));
    }
    assert_int_equal(id.term, 7);
}

static void
copies_strings(void **state)
{
    (void)state;
    char to[4] = "xyz";

    zb_strcopy(to, sizeof to, "abc");
    assert_string_equal(to, "abc");
    zb_strcopy(to, sizeof to, "");
    assert_string_equal(to, "");
}

static void
set_ids_as_people_write_them(void **state)
{
    static const char *const bad[] = {"",
                                      "12",
                                      "12/",
                                      "/345",
                                      "0/0",
                                      "12/345x",
                                      "12 /3",
                                      "12/-345",
                                      "012/345",
                                      "12/0345",
                                      "a/b",
                                      "12/345/6",
                                      "99999999999999999999/1"};
    char text[ZB_SET_ID_SIZE];
    struct zb_set_id id = {0};
    (void)state;

    assert_true(zb_set_id_parse("12/345", &id));
    assert_int_equal(zb_set_id_cmp(id, (struct zb_set_id){12, 345}), 0);
    zb_set_id_format(id, text);
    assert_string_equal(text, "12/345");
    zb_set_id_format((struct zb_set_id){UINT64_MAX, UINT64_MAX}, text);
    assert_string_equal(text, "18446744073709551615/18446744073709551615");
    assert_true(zb_set_id_parse("1/0", &id));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(zb_set_id_parse(bad[i], &id));
    }
    assert_int_equal(zb_set_id_cmp(id, (struct zb_set_id){1, 0}), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_ids_as_people_write_them),
        cmocka_unit_test(node_and_service_names),
        cmocka_unit_test(relative_names),
        cmocka_unit_test(dataset_names),
        cmocka_unit_test(snapshot_names),
        cmocka_unit_test(uuids),
        cmocka_unit_test(set_order),
        cmocka_unit_test(set_names_round_trip),
        cmocka_unit_test(set_names_that_are_not),
        cmocka_unit_test(copies_strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
