#include "unit.h"

#include "wire/record.h"

static void
put(uint8_t *to, uint64_t value, size_t size, bool little)
{
    for (size_t i = 0; i < size; i++) {
        to[little ? i : size - 1 - i] = (uint8_t)(value >> (8 * i));
    }
}

/* A begin record as lzc_send writes it, in the byte order of the sender. */
static void
record_make(uint8_t *buf, bool little)
{
    memset(buf, 0, ZB_STREAM_BEGIN_SIZE);
    put(buf + 8, 0x2F5bacbac, 8, little);
    put(buf + 16, 0x1000001u << 2 | 1, 8, little); /* features, DMU_SUBSTREAM */
    put(buf + 24, 1795329660, 8, little);
    put(buf + 32, 2, 4, little); /* DMU_OST_ZFS */
    put(buf + 36, 0x5, 4, little);
    put(buf + 40, 0x8877665544332211, 8, little);
    put(buf + 48, 0x1122334455667788, 8, little);
    memcpy(buf + 56, "tank/svc/web@daily", 18);
}

static void
both_byte_orders(void **state)
{
    (void)state;
    for (int little = 0; little < 2; little++) {
        uint8_t buf[ZB_STREAM_BEGIN_SIZE];
        struct zb_stream_begin begin;
        struct zb_err err;

        record_make(buf, little);
        assert_int_equal(zb_stream_begin_parse(buf, &begin, &err), ZB_OK);
        assert_true(begin.toguid == 0x8877665544332211);
        assert_true(begin.fromguid == 0x1122334455667788);
        assert_int_equal(begin.flags, 5);
        assert_true(begin.raw && !begin.volume);
        assert_string_equal(begin.toname, "tank/svc/web@daily");
        put(buf + 16, 0xfeffffffu << 2 | 1, 8, little); /* every feature but that one */
        assert_int_equal(zb_stream_begin_parse(buf, &begin, &err), ZB_OK);
        assert_false(begin.raw);
        put(buf + 32, 3, 4, little); /* DMU_OST_ZVOL */
        assert_int_equal(zb_stream_begin_parse(buf, &begin, &err), ZB_OK);
        assert_true(begin.volume);
    }
}

static void
assert_refused(const uint8_t *buf, const char *msg)
{
    struct zb_stream_begin begin = {.toguid = 42};
    struct zb_err err;

    assert_int_equal(zb_stream_begin_parse(buf, &begin, &err), ZB_E_FORMAT);
    assert_string_equal(err.msg, msg);
    assert_int_equal(begin.toguid, 42);
}

static void
bad_records(void **state)
{
    (void)state;
    uint8_t buf[ZB_STREAM_BEGIN_SIZE];

    memset(buf, 0, sizeof buf);
    assert_refused(buf, "begin record: not a ZFS stream (magic)");
    memset(buf, 0xff, sizeof buf);
    assert_refused(buf, "begin record: not a ZFS stream (magic)");
    record_make(buf, true);
    buf[0] = 1;
    assert_refused(buf, "begin record: record type 1, expected 0");
    record_make(buf, false);
    buf[23] = 2;
    assert_refused(buf, "begin record: stream kind 2, expected 1 (one dataset, one snapshot)");
    record_make(buf, true);
    memset(buf + 40, 0, 8);
    assert_refused(buf, "begin record: no toguid");
    record_make(buf, true);
    memset(buf + 56, '@', 256);
    assert_refused(buf, "begin record: toname is not a snapshot's name");
    record_make(buf, true);
    buf[56 + 12] = '/';
    assert_refused(buf, "begin record: toname is not a snapshot's name");
}

static void
longest_name(void **state)
{
    (void)state;
    uint8_t buf[ZB_STREAM_BEGIN_SIZE];
    struct zb_stream_begin begin;
    struct zb_err err;

    record_make(buf, true);
    memset(buf + 56, 'a', 255);
    buf[100] = '@';
    assert_int_equal(zb_stream_begin_parse(buf, &begin, &err), ZB_OK);
    assert_int_equal(strlen(begin.toname), 255);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_byte_orders),
        cmocka_unit_test(bad_records),
        cmocka_unit_test(longest_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
