#include "conf/service.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "conf/service_key.h"

#define JSON_TEXT_MAX (64u << 10) /* what a keeper message carries (wire/kmsg.h) */

static json_t *
value_make(const struct zb_conf_key *key, const struct zb_conf_values *values)
{
    if (key->kind != ZB_CONF_NAMES) {
        return json_string(values->items[0]);
    }
    json_t *array = json_array();
    for (size_t i = 0; i < values->count; i++) {
        if (json_array_append_new(array, json_string(values->items[i])) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

/* NULL without memory; json_dumps can leave out a key then and succeed. */
static char *
object_dump(const json_t *object)
{
    size_t size = json_dumpb(object, NULL, 0, JSON_COMPACT);
    char *text = size > 0 ? calloc(1, size + 1) : NULL;

    if (text != NULL && json_dumpb(object, text, size, JSON_COMPACT) != size) {
        free(text);
        text = NULL;
    }
    return text;
}

enum zb_rc
zb_conf_service_to_json(const struct zb_conf_service *service, char **text, struct zb_err *err)
{
    json_t *object = json_object();
    int failed = json_object_set_new(object, "name", json_string(service->name));

    for (size_t i = 0; i < zb_conf_service_keys_count && failed == 0; i++) {
        const struct zb_conf_key *key = &zb_conf_service_keys[i];
        struct zb_conf_values values;
        zb_conf_key_values(key, service, &values);
        if (values.count > 0) {
            failed = json_object_set_new(object, key->name, value_make(key, &values));
        }
    }
    /* Members of an object keep the order in which they were set. */
    char *dump = failed == 0 ? object_dump(object) : NULL;
    json_decref(object);
    if (dump == NULL) {
        return zb_err_set(err, ZB_E_NOMEM, "service %s: out of memory", service->name);
    }
    *text = dump;
    return ZB_OK;
}

/* An array of strings; more than ZB_MEMBERS_MAX of them are counted and refused by the key. */
static enum zb_rc
names_take(const struct zb_conf_key *key, const json_t *value, void *base, struct zb_err *err)
{
    const char *texts[ZB_MEMBERS_MAX];
    size_t count = json_array_size(value);
    bool strings = json_is_array(value);

    for (size_t i = 0; i < count && i < ZB_MEMBERS_MAX; i++) {
        texts[i] = json_string_value(json_array_get(value, i));
        strings = strings && texts[i] != NULL;
    }
    if (!strings) {
        return zb_err_set(err, ZB_E_FORMAT, "%s: expected an array of strings", key->name);
    }
    return zb_conf_key_set(key, texts, count, base, err);
}

static enum zb_rc
value_take(const struct zb_conf_key *key, const json_t *value, void *base, struct zb_err *err)
{
    const char *text = json_string_value(value);

    if (key->kind == ZB_CONF_NAMES) {
        return names_take(key, value, base, err);
    }
    if (text == NULL) {
        return zb_err_set(err, ZB_E_FORMAT, "%s: expected a string", key->name);
    }
    return zb_conf_key_set(key, &text, 1, base, err);
}

static enum zb_rc
name_take(const json_t *object, struct zb_conf_service *service, struct zb_err *err)
{
    const char *name = json_string_value(json_object_get(object, "name"));

    if (name == NULL || !zb_service_name_valid(name)) {
        return zb_err_set(err, ZB_E_FORMAT, "name: expected the name of a service");
    }
    zb_strcopy(service->name, sizeof service->name, name);
    return ZB_OK;
}

static enum zb_rc
object_take(json_t *object, struct zb_conf_service *service, struct zb_err *err)
{
    const char *name;
    json_t *value;
    uint64_t seen = 0;
    enum zb_rc rc = name_take(object, service, err);

    if (rc != ZB_OK) {
        return rc;
    }
    json_object_foreach(object, name, value)
    {
        const struct zb_conf_key *key =
            zb_conf_key_find(zb_conf_service_keys, zb_conf_service_keys_count, name);
        if (key == NULL && strcmp(name, "name") == 0) {
            continue;
        }
        if (key == NULL) {
            return zb_err_set(err, ZB_E_FORMAT, "unknown key '%.63s'", name);
        }
        rc = value_take(key, value, service, err);
        if (rc != ZB_OK) {
            return rc;
        }
        seen |= UINT64_C(1) << (key - zb_conf_service_keys);
    }
    return zb_conf_service_check(service, seen, NULL, err);
}

enum zb_rc
zb_conf_service_from_json(const char *text, struct zb_conf_service *service, struct zb_err *err)
{
    struct zb_conf_service found = {0};
    json_error_t problem;
    enum zb_rc rc;
    bool starved;

    if (strnlen(text, JSON_TEXT_MAX + 1) > JSON_TEXT_MAX) {
        return zb_err_set(err, ZB_E_LIMIT, "service as JSON: longer than %u bytes", JSON_TEXT_MAX);
    }
    errno = 0;
    json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, &problem);
    /* jansson takes want of memory for a mistake in the text, or loses a byte of it. */
    starved = errno == ENOMEM;
    if (starved) {
        rc = zb_err_set(err, ZB_E_NOMEM, "out of memory");
    } else if (object == NULL || !json_is_object(object)) {
        rc = zb_err_set(err, ZB_E_FORMAT, "%s", object == NULL ? problem.text : "not an object");
    } else {
        zb_conf_keys_default(zb_conf_service_keys, zb_conf_service_keys_count, &found);
        rc = object_take(object, &found, err);
    }
    json_decref(object);
    if (rc != ZB_OK) {
        return zb_err_wrap(err, "service as JSON");
    }
    *service = found;
    return ZB_OK;
}
