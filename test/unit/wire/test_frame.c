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
    assert_null(frame.payload);
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

static size_t
frame_put(uint8_t *to, enum zb_frame_type type, const char *payload)
{
    size_t size = strlen(payload);
    zb_frame_header_encode(type, (uint32_t)size, to);
    memcpy(to + ZB_FRAME_HEADER_SIZE, payload, size);
    return ZB_FRAME_HEADER_SIZE + size;
}

/* Feeds the stream in pieces of `piece` bytes; writes what came out as "type:payload " to seen. */
static void
decode_in_pieces(const uint8_t *stream, size_t size, size_t piece, char *seen)
{
    uint8_t buf[ZB_FRAME_HEADER_SIZE + 16];
    struct zb_frame_decoder d;
    struct zb_err err;

    zb_frame_decoder_init(&d, buf, sizeof buf, 16);
    seen[0] = '\0';
    for (size_t at = 0; at < size;) {
        size_t space = 0;
        uint8_t *to = zb_frame_decoder_space(&d, &space);
        assert_true(space > 0);
        size_t n = piece < size - at ? piece : size - at;
        n = n < space ? n : space;
        memcpy(to, stream + at, n);
        zb_frame_decoder_received(&d, n);
        at += n;
        for (bool complete = true; complete;) {
            struct zb_frame frame;
            assert_int_equal(zb_frame_decoder_next(&d, &frame, &complete, &err), ZB_OK);
            if (complete) {
                size_t used = strlen(seen);
                (void)snprintf(seen + used, 256 - used, "%d:%.*s ", (int)frame.type,
                               (int)frame.payload_size, (const char *)frame.payload);
            }
        }
    }
}

static void
frames_in_pieces_of_any_size(void **state)
{
    (void)state;
    uint8_t stream[256];
    size_t size = 0;
    char seen[256];

    size += frame_put(stream + size, ZB_FRAME_JSON, "{}");
    size += frame_put(stream + size, ZB_FRAME_DATA, "0123456789abcdef");
    size += frame_put(stream + size, ZB_FRAME_DATA, "");
    size += frame_put(stream + size, ZB_FRAME_END, "{\"rc\":0}");
    for (size_t piece = 1; piece <= size; piece++) {
        decode_in_pieces(stream, size, piece, seen);
        assert_string_equal(seen, "1:{} 2:0123456789abcdef 2: 3:{\"rc\":0} ");
    }
}

static void
incomplete_and_bound(void **state)
{
    (void)state;
    uint8_t buf[ZB_FRAME_HEADER_SIZE + 16];
    struct zb_frame_decoder d;
    struct zb_frame frame;
    struct zb_err err;
    size_t space = 0;
    bool complete = true;

    zb_frame_decoder_init(&d, buf, sizeof buf, 4);
    assert_int_equal(zb_frame_decoder_next(&d, &frame, &complete, &err), ZB_OK);
    assert_false(complete);
    uint8_t *to = zb_frame_decoder_space(&d, &space);
    assert_int_equal(space, sizeof buf);
    zb_frame_decoder_received(&d, frame_put(to, ZB_FRAME_JSON, "12345"));
    assert_int_equal(zb_frame_decoder_next(&d, &frame, &complete, &err), ZB_E_LIMIT);
    assert_string_equal(err.msg, "frame: payload of 5 bytes, at most 4");
    zb_frame_decoder_bound_set(&d, 16);
    assert_int_equal(zb_frame_decoder_next(&d, &frame, &complete, &err), ZB_OK);
    assert_true(complete);
    assert_memory_equal(frame.payload, "12345", 5);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_bytes),
        cmocka_unit_test(bad_headers),
        cmocka_unit_test(frames_in_pieces_of_any_size),
        cmocka_unit_test(incomplete_and_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
