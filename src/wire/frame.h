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
    const uint8_t *payload; /* borrowed; NULL after zb_frame_header_decode */
};

/* Frames out of a byte stream that comes in pieces. One buffer, sized for the largest frame. */
struct zb_frame_decoder {
    uint8_t *buf; /* borrowed */
    size_t size;
    size_t begin; /* first byte not given out yet */
    size_t end;   /* behind the last byte received */
    uint32_t payload_max;
};

/* buf of ZB_FRAME_HEADER_SIZE. */
void zb_frame_header_encode(enum zb_frame_type type, uint32_t payload_size, uint8_t *buf);
/* buf of ZB_FRAME_HEADER_SIZE. ZB_E_FORMAT: version, type or the zero field; ZB_E_LIMIT: payload
 * above payload_max. */
enum zb_rc zb_frame_header_decode(const uint8_t *buf, uint32_t payload_max, struct zb_frame *frame,
                                  struct zb_err *err) ZB_CHECKED;

/* buf stays the caller's and must hold a header and payload_max bytes (asserted). */
void zb_frame_decoder_init(struct zb_frame_decoder *d, uint8_t *buf, size_t size,
                           uint32_t payload_max);
/* Changes the bound (ZB_WIRE_HELLO_MAX until the hello was accepted); must fit the buffer
 * (asserted). Holds for frames whose header was not yet seen by zb_frame_decoder_next. */
void zb_frame_decoder_bound_set(struct zb_frame_decoder *d, uint32_t payload_max);
/* Where the next received bytes go and how many at most; never 0 after zb_frame_decoder_next said
 * that no frame is complete. Invalidates payloads given out. */
uint8_t *zb_frame_decoder_space(struct zb_frame_decoder *d, size_t *space);
/* size bytes were put where zb_frame_decoder_space said (asserted to be no more than that). */
void zb_frame_decoder_received(struct zb_frame_decoder *d, size_t size);
/* The next complete frame, or *complete = false when bytes are missing. The payload is valid until
 * zb_frame_decoder_space. ZB_E_FORMAT, ZB_E_LIMIT as the header's: the stream cannot go on. */
enum zb_rc zb_frame_decoder_next(struct zb_frame_decoder *d, struct zb_frame *frame, bool *complete,
                                 struct zb_err *err) ZB_CHECKED;

#endif
