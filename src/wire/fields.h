/*
 * Short words for the tables of wire/codec.h; for files of wire only.
 */
#ifndef ZB_WIRE_FIELDS_H
#define ZB_WIRE_FIELDS_H

#include "wire/codec.h"

/* A field f of struct t; what differs by kind follows. */
#define FIELD(k, t, f, ...)                                                                        \
    {                                                                                              \
        .name = #f, .kind = (k), .offset = offsetof(struct t, f),                                  \
        .size = sizeof(((struct t *)0)->f), .count_offset = ZB_FIELD_NO_COUNT, __VA_ARGS__         \
    }
#define INT(t, f) FIELD(ZB_FIELD_INT, t, f, .max = 0)
#define INT_UPTO(t, f, m) FIELD(ZB_FIELD_INT, t, f, .max = (m))
#define BOOL(t, f) INT_UPTO(t, f, 1)
#define STRING(t, f, v) FIELD(ZB_FIELD_STRING, t, f, .valid = (v))
#define BYTES(t, f) FIELD(ZB_FIELD_BYTES, t, f, .max = 0)
#define TEXT(t, f, m) FIELD(ZB_FIELD_TEXT, t, f, .max = (m))
#define STRUCT(t, f, s) FIELD(ZB_FIELD_STRUCT, t, f, .shape = &(s))
/* Elements with their number in field n. */
#define COUNTED(k, t, f, n, m, s)                                                                  \
    {                                                                                              \
        .name = #f, .kind = (k), .offset = offsetof(struct t, f),                                  \
        .count_offset = offsetof(struct t, n), .max = (m), .shape = &(s)                           \
    }
#define LIST(t, f, n, m, s) COUNTED(ZB_FIELD_LIST, t, f, n, m, s)
#define ARRAY(t, f, n, m, s) COUNTED(ZB_FIELD_ARRAY, t, f, n, m, s)
#define SHAPE(f, s)                                                                                \
    {                                                                                              \
        .fields = (f), .fields_count = sizeof(f) / sizeof((f)[0]), .size = (s)                     \
    }

#endif
