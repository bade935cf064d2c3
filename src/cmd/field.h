/*
 * Fields of answers, read without trust in their presence: what is absent, null or of another type
 * is the default.
 */
#ifndef ZB_CMD_FIELD_H
#define ZB_CMD_FIELD_H

#include <jansson.h>

#include "base/types.h"

/* "" by default; valid as long as the object. */
const char *zb_field_text(const json_t *object, const char *key);
int64_t zb_field_int(const json_t *object, const char *key, int64_t otherwise);
bool zb_field_bool(const json_t *object, const char *key);
/* Empty array by default (json_array_foreach over NULL is fine). */
const json_t *zb_field_array(const json_t *object, const char *key);
/* "12/345" of {"term","seq"}; "" when the field is null. buf of 48 bytes; returns buf. */
const char *zb_field_set(const json_t *object, const char *key, char *buf);

#endif
