#include "unit.h"

#include "base/types.h"

static void
fills_the_whole_buffer(void **state)
{
    (void)state;
    uint8_t bytes[1024] = {0};
    size_t zeros = 0;

    zb_random(bytes, sizeof bytes - 1);
    for (size_t i = 0; i < sizeof bytes - 1; i++) {
        zeros += bytes[i] == 0;
    }
    assert_true(zeros < 64);
    assert_int_equal(bytes[sizeof bytes - 1], 0);
}

static void
numbers_differ(void **state)
{
    (void)state;
    uint64_t a = zb_random_u64();
    uint64_t b = zb_random_u64();

    assert_true(a != 0 && b != 0 && a != b);
}

static void
uuids_are_version_4(void **state)
{
    (void)state;
    char a[ZB_UUID_SIZE];
    char b[ZB_UUID_SIZE];

    zb_uuid_new(a);
    zb_uuid_new(b);
    assert_true(zb_uuid_valid(a));
    assert_int_equal(a[14], '4');
    assert_non_null(strchr("89ab", a[19]));
    assert_string_not_equal(a, b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fills_the_whole_buffer),
        cmocka_unit_test(numbers_differ),
        cmocka_unit_test(uuids_are_version_4),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
