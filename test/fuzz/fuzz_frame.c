/* Frames of a peer, one behind the other. */
#include "fuzz.h"

#include "wire/frame.h"

#define PAYLOAD_MAX 300

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t again[ZB_FRAME_HEADER_SIZE];
    struct zb_frame frame;
    struct zb_err err;

    while (size >= ZB_FRAME_HEADER_SIZE) {
        if (zb_frame_header_decode(data, PAYLOAD_MAX, &frame, &err) != ZB_OK) {
            return 0;
        }
        assert(frame.payload_size <= PAYLOAD_MAX);
        zb_frame_header_encode(frame.type, frame.payload_size, again);
        assert(memcmp(again, data, sizeof again) == 0);
        data += ZB_FRAME_HEADER_SIZE;
        size -= ZB_FRAME_HEADER_SIZE;
        if (frame.payload_size > size) {
            return 0;
        }
        data += frame.payload_size;
        size -= frame.payload_size;
    }
    return 0;
}
