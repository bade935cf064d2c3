#include "unit.h"

#include "base/types.h"

#define UUID_A "0f8fad5b-d9cb-469f-a165-70867728950e"
#define UUID_B "7c9e6679-7425-40de-944b-e07fc1f90ae7"

static void
fill(struct zb_manifest *m)
{
    struct zb_err err;

    assert_int_equal(zb_manifest_init(m, 2, &err), ZB_OK);
    m->id = (struct zb_set_id){12, 345};
    m->time.s = 1795329660;
    zb_strcopy(m->entries[0].uuid, ZB_UUID_SIZE, UUID_B);
    zb_strcopy(m->entries[0].rel, ZB_REL_SIZE, "child");
    m->entries[0].guid = 2;
    zb_strcopy(m->entries[1].uuid, ZB_UUID_SIZE, UUID_A);
    m->entries[1].guid = 1;
    zb_manifest_sort(m);
}

static void
sorts_and_finds(void **state)
{
    (void)state;
    struct zb_manifest m = {0};

    fill(&m);
    assert_string_equal(m.entries[0].rel, "");
    assert_string_equal(m.entries[1].rel, "child");
    assert_int_equal(zb_manifest_find(&m, "")->guid, 1);
    assert_int_equal(zb_manifest_find(&m, "child")->guid, 2);
    assert_null(zb_manifest_find(&m, "chil"));
    zb_manifest_close(&m);
    assert_null(m.entries);
    assert_int_equal(m.entries_count, 0);
    zb_manifest_close(&m);
}

static void
digest_is_the_identity(void **state)
{
    (void)state;
    /* printf of the bytes named in types.h | sha256sum | cut -c1-32 */
    static const uint8_t expected[ZB_DIGEST_SIZE] = {0x4f, 0x29, 0x93, 0x7f, 0x6a, 0xeb,
                                                     0x4e, 0xe8, 0x50, 0x45, 0x2d, 0xad,
                                                     0xb2, 0x9e, 0xdf, 0xc8};
    struct zb_manifest m = {0};
    struct zb_set_ref ref;
    struct zb_set_ref other;

    fill(&m);
    zb_manifest_ref(&m, &ref);
    assert_int_equal(ref.id.term, 12);
    assert_int_equal(ref.id.seq, 345);
    assert_memory_equal(ref.digest, expected, sizeof expected);
    m.time.s = 0;
    zb_manifest_ref(&m, &other);
    assert_true(zb_set_ref_equal(&ref, &other));
    m.entries[1].guid = 3;
    zb_manifest_ref(&m, &other);
    assert_false(zb_set_ref_equal(&ref, &other));
    zb_manifest_close(&m);
}

static void
copies_are_independent(void **state)
{
    (void)state;
    struct zb_manifest m = {0};
    struct zb_manifest copy = {0};
    struct zb_err err;

    fill(&m);
    assert_int_equal(zb_manifest_copy(&copy, &m, &err), ZB_OK);
    m.entries[0].guid = 99;
    assert_int_equal(copy.entries[0].guid, 1);
    assert_int_equal(copy.entries_count, 2);
    assert_int_equal(copy.time.s, 1795329660);
    zb_manifest_close(&m);
    zb_manifest_close(&copy);
    assert_int_equal(zb_manifest_copy(&copy, &m, &err), ZB_OK);
    assert_null(copy.entries);
}

static void
size_is_bounded(void **state)
{
    (void)state;
    struct zb_manifest m = {.time.s = 5};
    struct zb_err err;

    assert_int_equal(zb_manifest_init(&m, ZB_DATASETS_MAX + 1, &err), ZB_E_LIMIT);
    assert_string_equal(err.msg, "257 datasets in a set, at most 256 (ZB_DATASETS_MAX)");
    assert_int_equal(m.time.s, 5);
    assert_int_equal(zb_manifest_init(&m, ZB_DATASETS_MAX, &err), ZB_OK);
    zb_manifest_close(&m);
}

static void
validity(void **state)
{
    (void)state;
    struct zb_manifest m = {0};

    assert_true(zb_manifest_valid(&m));
    fill(&m);
    assert_true(zb_manifest_valid(&m));
    struct zb_manifest_entry good = m.entries[1];
    zb_strcopy(m.entries[1].uuid, ZB_UUID_SIZE, UUID_A);
    assert_false(zb_manifest_valid(&m)); /* uuid twice */
    m.entries[1] = good;
    m.entries[1].rel[0] = '\0';
    assert_false(zb_manifest_valid(&m)); /* rel twice */
    m.entries[1] = good;
    m.entries[1].guid = 0;
    assert_false(zb_manifest_valid(&m));
    m.entries[1] = good;
    m.entries[1].uuid[0] = '\0';
    assert_false(zb_manifest_valid(&m));
    m.entries[1] = m.entries[0];
    m.entries[0] = good;
    assert_false(zb_manifest_valid(&m)); /* not sorted */
    zb_manifest_close(&m);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sorts_and_finds),
        cmocka_unit_test(digest_is_the_identity),
        cmocka_unit_test(copies_are_independent),
        cmocka_unit_test(size_is_bounded),
        cmocka_unit_test(validity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
