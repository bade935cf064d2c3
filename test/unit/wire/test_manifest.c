#include "unit.h"

#include "wire/manifest.h"

static uint8_t buf[ZB_WIRE_MANIFEST_MAX];

static void
longest_round_trip(void **state)
{
    (void)state;
    struct zb_manifest m = {0};
    struct zb_manifest back = {0};
    struct zb_err err;
    size_t used = 0;

    assert_int_equal(zb_manifest_init(&m, ZB_DATASETS_MAX, &err), ZB_OK);
    m.id = (struct zb_set_id){UINT64_MAX, UINT64_MAX};
    m.time.s = INT64_MIN;
    for (uint32_t i = 0; i < m.entries_count; i++) {
        struct zb_manifest_entry *entry = &m.entries[i];
        (void)snprintf(entry->uuid, sizeof entry->uuid, "0f8fad5b-d9cb-469f-a165-%012x", i);
        memset(entry->rel, 'r', sizeof entry->rel - 1);
        entry->rel[0] = (char)('a' + i / 16);
        entry->rel[1] = (char)('a' + i % 16);
        entry->guid = UINT64_MAX;
    }
    assert_int_equal(zb_wire_manifest_encode(&m, buf, sizeof buf, &used, &err), ZB_OK);
    assert_int_equal(zb_wire_manifest_decode(buf, used, &back, &err), ZB_OK);
    assert_true(back.id.term == UINT64_MAX && back.id.seq == UINT64_MAX);
    assert_true(back.time.s == INT64_MIN);
    assert_int_equal(back.entries_count, ZB_DATASETS_MAX);
    assert_memory_equal(back.entries, m.entries, ZB_DATASETS_MAX * sizeof *m.entries);
    zb_manifest_close(&back);
    zb_manifest_close(&m);
}

static void
only_valid_ones(void **state)
{
    (void)state;
    struct zb_manifest m = {0};
    struct zb_manifest back = {0};
    struct zb_err err;
    size_t used = 0;

    assert_int_equal(zb_manifest_init(&m, 1, &err), ZB_OK);
    m.entries[0].guid = 1; /* but no uuid */
    assert_int_equal(zb_wire_manifest_encode(&m, buf, sizeof buf, &used, &err), ZB_OK);
    assert_int_equal(zb_wire_manifest_decode(buf, used, &back, &err), ZB_E_FORMAT);
    assert_string_equal(err.msg, "not a valid manifest");
    assert_null(back.entries);
    zb_manifest_close(&m);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(longest_round_trip),
        cmocka_unit_test(only_valid_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
