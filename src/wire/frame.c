#include "wire/frame.h"

#include <string.h>

#include "base/be.h"

/* Offsets in the header. */
enum { AT_SIZE = 0, AT_TYPE = 4, AT_VERSION = 5, AT_ZERO = 6 };

void
zb_frame_header_encode(enum zb_frame_type type, uint32_t payload_size, uint8_t *buf)
{
    memset(buf, 0, ZB_FRAME_HEADER_SIZE);
    zb_be32_put(buf + AT_SIZE, payload_size);
    buf[AT_TYPE] = (uint8_t)type;
    buf[AT_VERSION] = ZB_FRAME_VERSION;
}

enum zb_rc
zb_frame_header_decode(const uint8_t *buf, uint32_t payload_max, struct zb_frame *frame,
                       struct zb_err *err)
{
    uint32_t payload_size = zb_be32_get(buf + AT_SIZE);
    uint8_t type = buf[AT_TYPE];

    if (buf[AT_VERSION] != ZB_FRAME_VERSION) {
        return zb_err_set(err, ZB_E_FORMAT, "frame: version %u, expected %d", buf[AT_VERSION],
                          ZB_FRAME_VERSION);
    }
    if (type < ZB_FRAME_JSON || type > ZB_FRAME_END) {
        return zb_err_set(err, ZB_E_FORMAT, "frame: unknown type %u", type);
    }
    if (buf[AT_ZERO] != 0 || buf[AT_ZERO + 1] != 0) {
        return zb_err_set(err, ZB_E_FORMAT, "frame: the last two bytes of the header are not 0");
    }
    if (payload_size > payload_max) {
        return zb_err_set(err, ZB_E_LIMIT, "frame: payload of %u bytes, at most %u", payload_size,
                          payload_max);
    }
    *frame = (struct zb_frame){.type = (enum zb_frame_type)type, .payload_size = payload_size};
    return ZB_OK;
}
