#include "cmd/field.h"

#include <inttypes.h>

const char *
zb_field_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text == NULL ? "" : text;
}

int64_t
zb_field_int(const json_t *object, const char *key, int64_t otherwise)
{
    const json_t *value = json_object_get(object, key);

    return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

bool
zb_field_bool(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

const json_t *
zb_field_array(const json_t *object, const char *key)
{
    return json_object_get(object, key);
}

const char *
zb_field_set(const json_t *object, const char *key, char *buf)
{
    const json_t *set = json_object_get(object, key);

    buf[0] = '\0';
    if (json_is_object(set)) {
        snprintf(buf, 48, "%" PRId64 "/%" PRId64, zb_field_int(set, "term", 0),
                 zb_field_int(set, "seq", 0));
    }
    return buf;
}
