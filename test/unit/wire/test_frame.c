#include "unit.h"

#include "wire/frame.h"

static void
header_bytes(void **state)
{
    (void)state;
    uint8_t header[ZB_FRAME_HEADER_SIZE];
    static const uint8_t expected[] = {0, 1, 0, 2, 2, 1, 0, 0};
    struct zb_frame frame;
    struct zb_err err;

    zb_frame_header_encode(ZB_FRAME_DATA, 0x10002, header);
    assert_memory_equal(header, expected, sizeof expected);
    assert_int_equal(zb_frame_header_decode(header, 0x10002, &frame, &err), ZB_OK);
    assert_int_equal(frame.type, ZB_FRAME_DATA);
    assert_int_equal(frame.payload_size, 0x10002);
}

static void
bad_headers(void **state)
{
    (void)state;
    static const struct {
        uint8_t header[ZB_FRAME_HEADER_SIZE];
        enum zb_rc rc;
        const char *msg;
    } cases[] = {
        {{0, 0, 0, 1, 1, 0, 0, 0}, ZB_E_FORMAT, "frame: version 0, expected 1"},
        {{0, 0, 0, 1, 1, 2, 0, 0}, ZB_E_FORMAT, "frame: version 2, expected 1"},
        {{0, 0, 0, 1, 0, 1, 0, 0}, ZB_E_FORMAT, "frame: unknown type 0"},
        {{0, 0, 0, 1, 4, 1, 0, 0}, ZB_E_FORMAT, "frame: unknown type 4"},
        {{0, 0, 0, 1, 1, 1, 1, 0},
         ZB_E_FORMAT,
         "frame: the last two bytes of the header are not 0"},
        {{0, 0, 0, 1, 1, 1, 0, 1},
         ZB_E_FORMAT,
         "frame: the last two bytes of the header are not 0"},
        {{0, 0, 0, 11, 1, 1, 0, 0}, ZB_E_LIMIT, "frame: payload of 11 bytes, at most 10"},
        {{255, 255, 255, 255, 1, 1, 0, 0},
         ZB_E_LIMIT,
         "frame: payload of 4294967295 bytes, at most 10"},
        {{'G', 'E', 'T', ' ', '/', ' ', 'H', 'T'}, ZB_E_FORMAT, "frame: version 32, expected 1"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct zb_frame frame;
        struct zb_err err;
        assert_int_equal(zb_frame_header_decode(cases[i].header, 10, &frame, &err), cases[i].rc);
        assert_string_equal(err.msg, cases[i].msg);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_bytes),
        cmocka_unit_test(bad_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
