#include "agent/heart.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/json.h"
#include "agent/must.h"

static const char *const lives[] = {
    [ZB_LIFE_ALIVE] = "alive", [ZB_LIFE_DEAD] = "dead", [ZB_LIFE_LEFT] = "left"};

static json_t *
number_json(uint64_t number)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%016" PRIx64, number);
    return zb_json_text(text);
}

static bool
number_parse(const json_t *json, uint64_t *number)
{
    const char *text = json_string_value(json);

    if (text == NULL || strlen(text) != 16 || text[strspn(text, "0123456789abcdef")] != '\0') {
        return false;
    }
    *number = strtoull(text, NULL, 16);
    return true;
}

json_t *
zb_heart_value_json(const struct zb_session_value *value, const char *fingerprint)
{
    json_t *json = zb_must(json_object());

    zb_json_put(json, "life", zb_json_text(lives[value->life]));
    zb_json_put(json, "id", number_json(value->id));
    zb_json_put(json, "nonce", number_json(value->nonce));
    zb_json_put(json, "timeout_ms", zb_json_int(value->timeout_ms));
    zb_json_put(json, "fenced", zb_json_bool(value->fenced));
    zb_json_put(json, "fingerprint", zb_json_text(fingerprint));
    return json;
}

static bool
life_parse(const json_t *json, enum zb_life *life)
{
    const char *text = json_string_value(json);

    for (unsigned i = ZB_LIFE_ALIVE; text != NULL && i <= ZB_LIFE_LEFT; i++) {
        if (strcmp(lives[i], text) == 0) {
            *life = (enum zb_life)i;
            return true;
        }
    }
    return false;
}

static bool
value_read(const json_t *json, struct zb_session_value *v)
{
    const json_t *timeout = json_object_get(json, "timeout_ms");
    const json_t *fenced = json_object_get(json, "fenced");
    json_int_t ms = json_integer_value(timeout);

    if (!life_parse(json_object_get(json, "life"), &v->life) ||
        !number_parse(json_object_get(json, "id"), &v->id) || v->id == 0 ||
        !number_parse(json_object_get(json, "nonce"), &v->nonce) || ms < 1 || ms > 86400000 ||
        !json_is_boolean(fenced) || !json_is_string(json_object_get(json, "fingerprint"))) {
        return false;
    }
    v->timeout_ms = (uint32_t)ms;
    v->fenced = json_is_true(fenced);
    return true;
}

bool
zb_heart_value_parse(const char *text, size_t size, const char *fingerprint, const char *next,
                     struct zb_session_value *value)
{
    struct zb_session_value v = {0};
    json_t *json = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    bool good = value_read(json, &v);

    if (good) {
        const char *of = json_string_value(json_object_get(json, "fingerprint"));
        bool same = of[0] != '\0' && (strcmp(of, fingerprint) == 0 || strcmp(of, next) == 0);
        v.fenced = v.fenced && same;
        *value = v;
    }
    json_decref(json);
    return good;
}
