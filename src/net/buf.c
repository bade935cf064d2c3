#include "net/buf.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define SIZE_MIN 4096

uint8_t *
zb_buf_reserve(struct zb_buf *buf, size_t size)
{
    size_t length = zb_buf_length(buf);

    if (buf->size - buf->end >= size) {
        return buf->bytes + buf->end;
    }
    if (buf->size - length < size) {
        size_t grown = buf->size < SIZE_MIN ? SIZE_MIN : buf->size;
        while (grown - length < size) {
            grown *= 2;
        }
        uint8_t *bytes = malloc(grown);
        if (bytes == NULL) {
            zb_out_of_memory();
        }
        if (length > 0) {
            memcpy(bytes, zb_buf_data(buf), length);
        }
        free(buf->bytes);
        buf->bytes = bytes;
        buf->size = grown;
    } else {
        memmove(buf->bytes, zb_buf_data(buf), length);
    }
    buf->begin = 0;
    buf->end = length;
    return buf->bytes + length;
}

void
zb_buf_added(struct zb_buf *buf, size_t size)
{
    assert(size <= buf->size - buf->end);
    buf->end += size;
}

void
zb_buf_append(struct zb_buf *buf, const void *bytes, size_t size)
{
    if (size > 0) {
        memcpy(zb_buf_reserve(buf, size), bytes, size);
        zb_buf_added(buf, size);
    }
}

void
zb_buf_consume(struct zb_buf *buf, size_t size)
{
    assert(size <= zb_buf_length(buf));
    buf->begin += size;
    if (buf->begin == buf->end) {
        buf->begin = buf->end = 0;
    }
}

void
zb_buf_close(struct zb_buf *buf)
{
    free(buf->bytes);
    memset(buf, 0, sizeof *buf);
}

struct json_sink {
    struct zb_buf *buf;
    size_t left;
    bool full;
};

/* json_dump_callback_t: stops past the bound; jansson goes on after a key that did not fit. */
static int
json_append(const char *bytes, size_t size, void *ctx)
{
    struct json_sink *sink = ctx;
    sink->full = sink->full || size > sink->left;
    if (sink->full) {
        return -1;
    }
    sink->left -= size;
    zb_buf_append(sink->buf, bytes, size);
    return 0;
}

enum zb_rc
zb_buf_json(struct zb_buf *buf, enum zb_frame_type type, const json_t *json, size_t payload_max,
            struct zb_err *err)
{
    struct json_sink sink = {.buf = buf, .left = payload_max};
    size_t before = zb_buf_length(buf);

    zb_buf_reserve(buf, ZB_FRAME_HEADER_SIZE);
    zb_buf_added(buf, ZB_FRAME_HEADER_SIZE);
    if (json_dump_callback(json, json_append, &sink, JSON_COMPACT) != 0 || sink.full) {
        buf->end = buf->begin + before;
        return zb_err_set(err, ZB_E_LIMIT, "message longer than %zu bytes", payload_max);
    }
    zb_frame_header_encode(type, (uint32_t)(payload_max - sink.left), zb_buf_data(buf) + before);
    return ZB_OK;
}
