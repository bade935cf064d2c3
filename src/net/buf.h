/*
 * A byte queue in one piece of memory: bytes go in at the end, out at the start. Grows when asked
 * to; whoever fills it keeps the bound. Out of memory aborts (the engine is fail-stop).
 */
#ifndef ZB_NET_BUF_H
#define ZB_NET_BUF_H

#include <jansson.h>

#include "base/types.h"
#include "wire/frame.h"

struct zb_buf {
    uint8_t *bytes;
    size_t size;
    size_t begin;
    size_t end;
};

static inline size_t
zb_buf_length(const struct zb_buf *buf)
{
    return buf->end - buf->begin;
}

static inline uint8_t *
zb_buf_data(const struct zb_buf *buf)
{
    return buf->bytes + buf->begin;
}

/* Room for size more bytes behind the last one; moves or grows the memory. */
uint8_t *zb_buf_reserve(struct zb_buf *buf, size_t size);
/* size bytes were put into the reserved room. */
void zb_buf_added(struct zb_buf *buf, size_t size);
void zb_buf_append(struct zb_buf *buf, const void *bytes, size_t size);
/* Drops size bytes at the start. */
void zb_buf_consume(struct zb_buf *buf, size_t size);
void zb_buf_close(struct zb_buf *buf);

/* Appends a frame with the JSON as payload. ZB_E_LIMIT above payload_max bytes: nothing is
 * appended. */
enum zb_rc zb_buf_json(struct zb_buf *buf, enum zb_frame_type type, const json_t *json,
                       size_t payload_max, struct zb_err *err) ZB_CHECKED;

#endif
