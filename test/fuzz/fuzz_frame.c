/* Frames of a peer, in pieces: the first byte is how many bytes come at a time. */
#include "fuzz.h"

#include "wire/frame.h"

#define PAYLOAD_MAX 300

/* What was decoded is what stands in the stream at this place. */
static void
frame_check(const struct zb_frame *frame, const uint8_t *stream, size_t left)
{
    uint8_t header[ZB_FRAME_HEADER_SIZE];

    assert(frame->payload_size <= PAYLOAD_MAX);
    assert(left >= sizeof header + frame->payload_size);
    zb_frame_header_encode(frame->type, frame->payload_size, header);
    assert(memcmp(header, stream, sizeof header) == 0);
    assert(memcmp(frame->payload, stream + sizeof header, frame->payload_size) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t buf[ZB_FRAME_HEADER_SIZE + PAYLOAD_MAX];
    struct zb_frame_decoder decoder;
    struct zb_frame frame;
    struct zb_err err;
    size_t given = 1;
    size_t taken = 1;
    bool complete = false;
    enum zb_rc rc = ZB_OK;

    if (size == 0) {
        return 0;
    }
    zb_frame_decoder_init(&decoder, buf, sizeof buf, PAYLOAD_MAX);
    while (rc == ZB_OK && given < size) {
        size_t space;
        uint8_t *to = zb_frame_decoder_space(&decoder, &space);
        size_t piece = (size_t)data[0] + 1;
        piece = piece < space ? piece : space;
        piece = piece < size - given ? piece : size - given;
        assert(piece > 0);
        memcpy(to, data + given, piece);
        given += piece;
        zb_frame_decoder_received(&decoder, piece);
        do {
            rc = zb_frame_decoder_next(&decoder, &frame, &complete, &err);
            if (rc == ZB_OK && complete) {
                frame_check(&frame, data + taken, given - taken);
                taken += ZB_FRAME_HEADER_SIZE + frame.payload_size;
            }
        } while (rc == ZB_OK && complete);
    }
    return 0;
}
