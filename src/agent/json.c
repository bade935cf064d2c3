#include "agent/json.h"

#include <inttypes.h>

#include "agent/must.h"

static void *
must_malloc(size_t size)
{
    return zb_must(malloc(size));
}

void
zb_json_memory_use(void)
{
    json_set_alloc_funcs(must_malloc, free);
}

json_t *
zb_json_new(const char *type)
{
    json_t *o = zb_must(json_object());
    zb_json_put(o, "t", zb_json_text(type));
    return o;
}

json_t *
zb_json_array_new(void)
{
    return zb_must(json_array());
}

void
zb_json_put(json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new_nocheck(object, key, zb_must(value)) != 0) {
        zb_out_of_memory();
    }
}

void
zb_json_append(json_t *array, json_t *value)
{
    if (json_array_append_new(array, zb_must(value)) != 0) {
        zb_out_of_memory();
    }
}

json_t *
zb_json_u64(uint64_t v)
{
    char buf[21];
    (void)snprintf(buf, sizeof(buf), "%" PRIu64, v);
    return zb_must(json_string_nocheck(buf));
}

json_t *
zb_json_int(int64_t v)
{
    return zb_must(json_integer(v));
}

json_t *
zb_json_bool(bool v)
{
    return json_boolean(v);
}

json_t *
zb_json_text(const char *s)
{
    json_t *text = json_string(s);
    if (text != NULL) {
        return text;
    }
    char *ascii = zb_must(strdup(s));
    for (char *p = ascii; *p != '\0'; p++) {
        if ((unsigned char)*p >= 0x80) {
            *p = '?';
        }
    }
    text = zb_must(json_string_nocheck(ascii));
    free(ascii);
    return text;
}

json_t *
zb_json_set(const struct zb_set_ref *set)
{
    if (zb_set_id_is_none(set->id)) {
        return json_null();
    }
    static const char hex[] = "0123456789abcdef";
    char digest[2 * ZB_DIGEST_SIZE + 1];
    for (size_t i = 0; i < ZB_DIGEST_SIZE; i++) {
        digest[2 * i] = hex[set->digest[i] >> 4];
        digest[2 * i + 1] = hex[set->digest[i] & 15];
    }
    digest[2 * ZB_DIGEST_SIZE] = '\0';
    json_t *o = zb_must(json_object());
    zb_json_put(o, "term", zb_json_u64(set->id.term));
    zb_json_put(o, "seq", zb_json_u64(set->id.seq));
    zb_json_put(o, "digest", zb_json_text(digest));
    return o;
}

json_t *
zb_json_set_id(struct zb_set_id id)
{
    if (zb_set_id_is_none(id)) {
        return json_null();
    }
    json_t *o = zb_must(json_object());
    zb_json_put(o, "term", zb_json_int((int64_t)id.term));
    zb_json_put(o, "seq", zb_json_int((int64_t)id.seq));
    return o;
}

struct zb_json_reader
zb_json_read(const json_t *object)
{
    return (struct zb_json_reader){.object = object};
}

enum zb_rc
zb_json_read_end(const struct zb_json_reader *r, struct zb_err *err)
{
    if (r->bad != NULL) {
        return zb_err_set(err, ZB_E_FORMAT, "\"%s\" is missing or wrong", r->bad);
    }
    return ZB_OK;
}

void
zb_json_read_fail(struct zb_json_reader *r, const char *key)
{
    if (r->bad == NULL) {
        r->bad = key;
    }
}

bool
zb_json_is_u64(const json_t *value, uint64_t *out)
{
    if (json_is_integer(value)) {
        json_int_t v = json_integer_value(value);
        if (v < 0) {
            return false;
        }
        *out = (uint64_t)v;
        return true;
    }
    const char *s = json_string_value(value);
    size_t length = json_string_length(value);
    if (s == NULL || length == 0 || length > 20 || (s[0] == '0' && length > 1)) {
        return false;
    }
    uint64_t v = 0;
    for (size_t i = 0; i < length; i++) {
        if (s[i] < '0' || s[i] > '9') {
            return false;
        }
        uint64_t digit = (uint64_t)(s[i] - '0');
        if (v > (UINT64_MAX - digit) / 10) {
            return false;
        }
        v = v * 10 + digit;
    }
    *out = v;
    return true;
}

uint64_t
zb_json_read_u64(struct zb_json_reader *r, const char *key)
{
    uint64_t v = 0;
    if (!zb_json_is_u64(json_object_get(r->object, key), &v)) {
        zb_json_read_fail(r, key);
    }
    return v;
}

int64_t
zb_json_read_int(struct zb_json_reader *r, const char *key, int64_t min, int64_t max)
{
    const json_t *value = json_object_get(r->object, key);
    json_int_t v = json_integer_value(value);
    if (!json_is_integer(value) || v < min || v > max) {
        zb_json_read_fail(r, key);
        return 0;
    }
    return v;
}

bool
zb_json_read_bool(struct zb_json_reader *r, const char *key)
{
    const json_t *value = json_object_get(r->object, key);
    if (!json_is_boolean(value)) {
        zb_json_read_fail(r, key);
    }
    return json_is_true(value);
}

void
zb_json_read_text(struct zb_json_reader *r, const char *key, char *buf, size_t size)
{
    const json_t *value = json_object_get(r->object, key);
    const char *s = json_string_value(value);
    buf[0] = '\0';
    /* A NUL inside would make the text mean something else than what was checked. */
    if (s == NULL || json_string_length(value) >= size || strlen(s) != json_string_length(value)) {
        zb_json_read_fail(r, key);
        return;
    }
    zb_strcopy(buf, size, s);
}

void
zb_json_read_name(struct zb_json_reader *r, const char *key, char *buf, size_t size,
                  bool (*valid)(const char *s))
{
    zb_json_read_text(r, key, buf, size);
    if (!valid(buf)) {
        zb_json_read_fail(r, key);
        buf[0] = '\0';
    }
}

static int
hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void
zb_json_read_set(struct zb_json_reader *r, const char *key, struct zb_set_ref *set)
{
    const json_t *value = json_object_get(r->object, key);
    *set = (struct zb_set_ref){0};
    if (json_is_null(value)) {
        return;
    }
    struct zb_json_reader in = zb_json_read(value);
    struct zb_set_ref got = {0};
    char digest[2 * ZB_DIGEST_SIZE + 1];
    got.id.term = zb_json_read_u64(&in, "term");
    got.id.seq = zb_json_read_u64(&in, "seq");
    zb_json_read_text(&in, "digest", digest, sizeof(digest));
    bool good = in.bad == NULL && strlen(digest) == 2 * ZB_DIGEST_SIZE && got.id.term > 0;
    for (size_t i = 0; good && i < ZB_DIGEST_SIZE; i++) {
        int high = hex_digit(digest[2 * i]);
        int low = hex_digit(digest[2 * i + 1]);
        good = high >= 0 && low >= 0;
        got.digest[i] = (uint8_t)((unsigned)high << 4 | (unsigned)low);
    }
    if (!good) {
        zb_json_read_fail(r, key);
        return;
    }
    *set = got;
}
