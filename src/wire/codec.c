#include "wire/codec.h"

#include <stdlib.h>
#include <string.h>

#include "base/be.h"

struct writer {
    uint8_t *buf;
    size_t size;
    size_t used;
};

struct reader {
    const uint8_t *buf;
    size_t size;
    size_t at;
};

static const char *
at_const(const void *s, size_t offset)
{
    return (const char *)s + offset;
}

static char *
at(void *s, size_t offset)
{
    return (char *)s + offset;
}

static char *
pointer_get(const void *s, const struct zb_field *field)
{
    char *p;
    memcpy(&p, at_const(s, field->offset), sizeof p);
    return p;
}

static uint32_t
count_get(const void *s, const struct zb_field *field)
{
    uint32_t count = field->max;
    if (field->count_offset != ZB_FIELD_NO_COUNT) {
        memcpy(&count, at_const(s, field->count_offset), sizeof count);
    }
    return count;
}

/* Encoding */

static enum zb_rc
write_bytes(struct writer *w, const void *bytes, size_t size, struct zb_err *err)
{
    if (size > w->size - w->used) {
        return zb_err_set(err, ZB_E_LIMIT, "does not fit into %zu bytes", w->size);
    }
    if (size > 0) {
        memcpy(w->buf + w->used, bytes, size);
    }
    w->used += size;
    return ZB_OK;
}

static enum zb_rc
write_u32(struct writer *w, uint32_t value, struct zb_err *err)
{
    uint8_t bytes[4];
    zb_be32_put(bytes, value);
    return write_bytes(w, bytes, sizeof bytes, err);
}

static enum zb_rc
write_int(struct writer *w, const struct zb_field *field, const void *s, struct zb_err *err)
{
    uint32_t narrow;
    uint64_t wide;
    uint8_t bytes[8];

    if (field->size == sizeof narrow) {
        memcpy(&narrow, at_const(s, field->offset), sizeof narrow);
        return write_u32(w, narrow, err);
    }
    memcpy(&wide, at_const(s, field->offset), sizeof wide);
    zb_be64_put(bytes, wide);
    return write_bytes(w, bytes, sizeof bytes, err);
}

static enum zb_rc
write_string(struct writer *w, const char *text, size_t bound, struct zb_err *err)
{
    size_t length = text == NULL ? 0 : strnlen(text, bound);
    if (length == bound) {
        return zb_err_set(err, ZB_E_LIMIT, "longer than %zu bytes", bound - 1);
    }
    enum zb_rc rc = write_u32(w, (uint32_t)length, err);
    return rc == ZB_OK ? write_bytes(w, text, length, err) : rc;
}

static enum zb_rc write_struct(struct writer *w, const struct zb_shape *shape, const void *s,
                               struct zb_err *err);

static enum zb_rc
write_elements(struct writer *w, const struct zb_field *field, const void *s, struct zb_err *err)
{
    uint32_t count = count_get(s, field);
    const char *elements =
        field->kind == ZB_FIELD_LIST ? pointer_get(s, field) : at_const(s, field->offset);
    enum zb_rc rc = ZB_OK;

    if (count > field->max) {
        return zb_err_set(err, ZB_E_LIMIT, "%u elements, at most %u", count, field->max);
    }
    if (field->count_offset != ZB_FIELD_NO_COUNT) {
        rc = write_u32(w, count, err);
    }
    for (uint32_t i = 0; rc == ZB_OK && i < count; i++) {
        rc = write_struct(w, field->shape, elements + i * field->shape->size, err);
    }
    return rc;
}

static enum zb_rc
write_field(struct writer *w, const struct zb_field *field, const void *s, struct zb_err *err)
{
    switch (field->kind) {
    case ZB_FIELD_INT:
        return write_int(w, field, s, err);
    case ZB_FIELD_STRING:
        return write_string(w, at_const(s, field->offset), field->size, err);
    case ZB_FIELD_BYTES:
        return write_bytes(w, at_const(s, field->offset), field->size, err);
    case ZB_FIELD_TEXT:
        return write_string(w, pointer_get(s, field), (size_t)field->max + 1, err);
    case ZB_FIELD_STRUCT:
        return write_struct(w, field->shape, at_const(s, field->offset), err);
    case ZB_FIELD_ARRAY:
    case ZB_FIELD_LIST:
        return write_elements(w, field, s, err);
    }
    return zb_err_set(err, ZB_E_FORMAT, "unknown kind of field");
}

static enum zb_rc
write_struct(struct writer *w, const struct zb_shape *shape, const void *s, struct zb_err *err)
{
    for (size_t i = 0; i < shape->fields_count; i++) {
        if (write_field(w, &shape->fields[i], s, err) != ZB_OK) {
            return zb_err_wrap(err, "%s", shape->fields[i].name);
        }
    }
    return ZB_OK;
}

enum zb_rc
zb_codec_encode(const struct zb_shape *shape, const void *from, uint8_t *buf, size_t size,
                size_t *used, struct zb_err *err)
{
    struct writer w = {.buf = buf, .size = size};
    enum zb_rc rc = write_struct(&w, shape, from, err);
    if (rc == ZB_OK) {
        *used = w.used;
    }
    return rc;
}

/* Decoding */

static enum zb_rc
read_bytes(struct reader *r, size_t size, const uint8_t **bytes, struct zb_err *err)
{
    if (size > r->size - r->at) {
        (void)zb_err_set(err, ZB_E_FORMAT, "%zu bytes wanted, %zu left", size, r->size - r->at);
        return ZB_E_FORMAT;
    }
    *bytes = r->buf + r->at;
    r->at += size;
    return ZB_OK;
}

static enum zb_rc
read_u32(struct reader *r, uint32_t *value, struct zb_err *err)
{
    const uint8_t *bytes = NULL;
    enum zb_rc rc = read_bytes(r, 4, &bytes, err);
    if (rc == ZB_OK) {
        *value = zb_be32_get(bytes);
    }
    return rc;
}

static enum zb_rc
read_int(struct reader *r, const struct zb_field *field, void *s, struct zb_err *err)
{
    const uint8_t *bytes = NULL;
    enum zb_rc rc = read_bytes(r, field->size, &bytes, err);
    if (rc != ZB_OK) {
        return rc;
    }
    uint32_t narrow = field->size == sizeof narrow ? zb_be32_get(bytes) : 0;
    uint64_t wide = field->size == sizeof narrow ? narrow : zb_be64_get(bytes);
    if (field->max != 0 && wide > field->max) {
        return zb_err_set(err, ZB_E_FORMAT, "%llu is above %u", (unsigned long long)wide,
                          field->max);
    }
    if (field->size == sizeof narrow) {
        memcpy(at(s, field->offset), &narrow, sizeof narrow);
    } else {
        memcpy(at(s, field->offset), &wide, sizeof wide);
    }
    return ZB_OK;
}

/* A length below bound and that many bytes without a NUL among them. */
static enum zb_rc
read_string(struct reader *r, size_t bound, const char **text, uint32_t *length, struct zb_err *err)
{
    const uint8_t *bytes = NULL;
    enum zb_rc rc = read_u32(r, length, err);
    if (rc != ZB_OK) {
        return rc;
    }
    if (*length >= bound) {
        (void)zb_err_set(err, ZB_E_LIMIT, "%u bytes, at most %zu", *length, bound - 1);
        return ZB_E_LIMIT;
    }
    rc = read_bytes(r, *length, &bytes, err);
    if (rc == ZB_OK && *length > 0 && memchr(bytes, '\0', *length) != NULL) {
        rc = zb_err_set(err, ZB_E_FORMAT, "NUL inside a string");
    }
    *text = (const char *)bytes;
    return rc;
}

static enum zb_rc
read_fixed_string(struct reader *r, const struct zb_field *field, void *s, struct zb_err *err)
{
    const char *text;
    uint32_t length;
    char *to = at(s, field->offset);
    enum zb_rc rc = read_string(r, field->size, &text, &length, err);

    if (rc != ZB_OK) {
        return rc;
    }
    memcpy(to, text, length);
    to[length] = '\0';
    if (length > 0 && field->valid != NULL && !field->valid(to)) {
        return zb_err_set(err, ZB_E_FORMAT, "not a valid value");
    }
    return ZB_OK;
}

static enum zb_rc
read_text(struct reader *r, const struct zb_field *field, void *s, struct zb_err *err)
{
    const char *text;
    uint32_t length;
    enum zb_rc rc = read_string(r, (size_t)field->max + 1, &text, &length, err);

    if (rc != ZB_OK || length == 0) {
        return rc;
    }
    char *copy = calloc(1, (size_t)length + 1);
    if (copy == NULL) {
        return zb_err_set(err, ZB_E_NOMEM, "out of memory");
    }
    memcpy(copy, text, length);
    memcpy(at(s, field->offset), &copy, sizeof copy);
    // cppcheck-suppress memleak ; the struct owns it
    return ZB_OK;
}

static enum zb_rc read_struct(struct reader *r, const struct zb_shape *shape, void *s,
                              struct zb_err *err);

/* The count is stored only with the list that has it, so that closing is right at any point. */
static enum zb_rc
make_list(const struct zb_field *field, uint32_t count, void *s, char **elements)
{
    *elements = NULL;
    if (count > 0) {
        *elements = calloc(count, field->shape->size);
        if (*elements == NULL) {
            return ZB_E_NOMEM;
        }
    }
    memcpy(at(s, field->offset), elements, sizeof *elements);
    return ZB_OK;
}

static enum zb_rc
read_elements(struct reader *r, const struct zb_field *field, void *s, struct zb_err *err)
{
    uint32_t count = field->max;
    char *elements = at(s, field->offset);
    enum zb_rc rc = ZB_OK;

    if (field->count_offset != ZB_FIELD_NO_COUNT) {
        rc = read_u32(r, &count, err);
    }
    if (rc != ZB_OK) {
        return rc;
    }
    if (count > field->max) {
        return zb_err_set(err, ZB_E_LIMIT, "%u elements, at most %u", count, field->max);
    }
    if (count > r->size - r->at) {
        return zb_err_set(err, ZB_E_FORMAT, "%u elements in %zu bytes", count, r->size - r->at);
    }
    if (field->kind == ZB_FIELD_LIST && make_list(field, count, s, &elements) != ZB_OK) {
        return zb_err_set(err, ZB_E_NOMEM, "out of memory");
    }
    if (field->count_offset != ZB_FIELD_NO_COUNT) {
        memcpy(at(s, field->count_offset), &count, sizeof count);
    }
    for (uint32_t i = 0; rc == ZB_OK && i < count; i++) {
        rc = read_struct(r, field->shape, elements + i * field->shape->size, err);
    }
    return rc;
}

static enum zb_rc
read_nested(struct reader *r, const struct zb_field *field, void *s, struct zb_err *err)
{
    void *nested = at(s, field->offset);
    enum zb_rc rc = read_struct(r, field->shape, nested, err);
    if (rc == ZB_OK && field->check != NULL && !field->check(nested)) {
        rc = zb_err_set(err, ZB_E_FORMAT, "not a valid value");
    }
    return rc;
}

static enum zb_rc
read_field(struct reader *r, const struct zb_field *field, void *s, struct zb_err *err)
{
    const uint8_t *bytes = NULL;
    enum zb_rc rc;

    switch (field->kind) {
    case ZB_FIELD_INT:
        return read_int(r, field, s, err);
    case ZB_FIELD_STRING:
        return read_fixed_string(r, field, s, err);
    case ZB_FIELD_BYTES:
        rc = read_bytes(r, field->size, &bytes, err);
        if (rc == ZB_OK) {
            memcpy(at(s, field->offset), bytes, field->size);
        }
        return rc;
    case ZB_FIELD_TEXT:
        return read_text(r, field, s, err);
    case ZB_FIELD_STRUCT:
        return read_nested(r, field, s, err);
    case ZB_FIELD_ARRAY:
    case ZB_FIELD_LIST:
        return read_elements(r, field, s, err);
    }
    return zb_err_set(err, ZB_E_FORMAT, "unknown kind of field");
}

static enum zb_rc
read_struct(struct reader *r, const struct zb_shape *shape, void *s, struct zb_err *err)
{
    for (size_t i = 0; i < shape->fields_count; i++) {
        if (read_field(r, &shape->fields[i], s, err) != ZB_OK) {
            return zb_err_wrap(err, "%s", shape->fields[i].name);
        }
    }
    return ZB_OK;
}

enum zb_rc
zb_codec_decode(const struct zb_shape *shape, const uint8_t *buf, size_t size, void *to,
                struct zb_err *err)
{
    struct reader r = {.buf = buf, .size = size};

    memset(to, 0, shape->size);
    enum zb_rc rc = read_struct(&r, shape, to, err);
    if (rc == ZB_OK && r.at != size) {
        rc = zb_err_set(err, ZB_E_FORMAT, "%zu bytes too many", size - r.at);
    }
    if (rc != ZB_OK) {
        zb_codec_close(shape, to);
    }
    return rc;
}

static void
free_owned(const struct zb_shape *shape, void *s)
{
    for (size_t i = 0; i < shape->fields_count; i++) {
        const struct zb_field *field = &shape->fields[i];
        if (field->kind == ZB_FIELD_STRUCT) {
            free_owned(field->shape, at(s, field->offset));
        } else if (field->kind == ZB_FIELD_TEXT || field->kind == ZB_FIELD_LIST) {
            free(pointer_get(s, field));
        }
    }
}

void
zb_codec_close(const struct zb_shape *shape, void *s)
{
    free_owned(shape, s);
    memset(s, 0, shape->size);
}
