/*
 * Structs as bytes, driven by tables: a shape lists the fields of a struct in the order they are
 * encoded. Integers are big-endian, strings and lists have their length in front. Pure; only
 * decoding allocates (texts and lists, which zb_codec_close frees). Bytes to decode are hostile:
 * every length is checked against the field's bound and against what is left, before memory is
 * asked for.
 */
#ifndef ZB_WIRE_CODEC_H
#define ZB_WIRE_CODEC_H

#include "base/types.h"

enum zb_field_kind {
    ZB_FIELD_INT,    /* size 4 or 8, signed or not; max: largest value (0: any) */
    ZB_FIELD_STRING, /* char[size] with NUL; valid: asked where it is not empty (NULL: any) */
    ZB_FIELD_BYTES,  /* uint8_t[size] */
    ZB_FIELD_TEXT, /* char *, owned; max: longest in bytes; NULL and "" are both decoded as NULL */
    ZB_FIELD_STRUCT, /* shape; check: of the whole, after decoding (NULL: none) */
    ZB_FIELD_ARRAY,  /* shape[max] inside the struct; count_offset: uint32_t, how many are used */
    ZB_FIELD_LIST,   /* pointer to shape[count], owned; count_offset as above, at most max */
};

struct zb_shape;

struct zb_field {
    const char *name;
    enum zb_field_kind kind;
    size_t offset;
    size_t size;
    size_t count_offset;
    uint32_t max;
    bool (*valid)(const char *s);
    bool (*check)(const void *s);
    const struct zb_shape *shape;
};

struct zb_shape {
    const struct zb_field *fields;
    size_t fields_count;
    size_t size; /* of the struct */
};

/* An array whose elements are all used has no count. */
#define ZB_FIELD_NO_COUNT SIZE_MAX

/* *used is the length. ZB_E_LIMIT when it does not fit into size bytes or a count or text is past
 * its bound. */
enum zb_rc zb_codec_encode(const struct zb_shape *shape, const void *from, uint8_t *buf,
                           size_t size, size_t *used, struct zb_err *err) ZB_CHECKED;
/* Decodes exactly size bytes into the struct at to, which is zeroed first. ZB_E_FORMAT, ZB_E_LIMIT,
 * ZB_E_NOMEM; then the struct is closed. err names the field. */
enum zb_rc zb_codec_decode(const struct zb_shape *shape, const uint8_t *buf, size_t size, void *to,
                           struct zb_err *err) ZB_CHECKED;
/* Frees what is owned and zeroes the struct. */
void zb_codec_close(const struct zb_shape *shape, void *s);

#endif
