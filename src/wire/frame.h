/*
 * Peer frames: an 8-byte header {u32 payload length, u8 type, u8 version, u16 zero}, big-endian,
 * then the payload. Pure: bytes come from and go to buffers of the caller, nothing is allocated.
 * What a payload means is the caller's; a frame that does not decode closes the connection.
 */
#ifndef ZB_WIRE_FRAME_H
#define ZB_WIRE_FRAME_H

#include "base/types.h"

#define ZB_FRAME_HEADER_SIZE 8
#define ZB_FRAME_VERSION 1

enum zb_frame_type {
    ZB_FRAME_JSON = 1, /* control message */
    ZB_FRAME_DATA = 2, /* bytes of a stream */
    ZB_FRAME_END = 3,  /* end of a stream with its result, as JSON */
};

struct zb_frame {
    enum zb_frame_type type;
    uint32_t payload_size;
};

/* buf of ZB_FRAME_HEADER_SIZE. */
void zb_frame_header_encode(enum zb_frame_type type, uint32_t payload_size, uint8_t *buf);
/* buf of ZB_FRAME_HEADER_SIZE. ZB_E_FORMAT: version, type or the zero field; ZB_E_LIMIT: payload
 * above payload_max. */
enum zb_rc zb_frame_header_decode(const uint8_t *buf, uint32_t payload_max, struct zb_frame *frame,
                                  struct zb_err *err) ZB_CHECKED;

#endif
