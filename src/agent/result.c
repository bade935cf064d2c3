/* Results of commands, as they are told on the control socket and between nodes. */
#include "agent/json.h"
#include "agent/must.h"
#include "agent/request.h"

json_t *
zb_result_error(const struct zb_err *err, const char *rule)
{
    json_t *result = zb_must(json_object());

    zb_json_put(result, "type", zb_json_text("result"));
    zb_json_put(result, "rc", zb_json_int(err->rc));
    zb_json_put(result, "word", zb_json_text(zb_rc_word(err->rc)));
    zb_json_put(result, "error", zb_json_text(err->msg));
    zb_json_put(result, "hint", zb_json_text(err->hint));
    zb_json_put(result, "rule", rule == NULL ? zb_must(json_null()) : zb_json_text(rule));
    return result;
}

json_t *
zb_result_data(const json_t *result, struct zb_err *err)
{
    json_t *data = json_object_get(result, "data");
    const json_t *number = json_object_get(result, "rc");
    const char *error = json_string_value(json_object_get(result, "error"));
    const char *hint = json_string_value(json_object_get(result, "hint"));
    json_int_t rc = json_is_integer(number) ? json_integer_value(number) : -1;
    bool known = rc > ZB_OK && rc <= ZB_E_UNSUPPORTED;

    if (rc == ZB_OK && json_is_object(data)) {
        return data;
    }
    (void)zb_err_set(err, known ? (enum zb_rc)rc : ZB_E_FORMAT, "%s",
                     error == NULL ? "the answer is not understood" : error);
    (void)zb_err_hint(err, "%s", hint == NULL ? "" : hint);
    return NULL;
}
