#include "agent/note.h"

#include <stdlib.h>

#include "agent/internal.h"
#include "agent/must.h"
#include "base/log.h"

json_t *
zb_note_load(const struct zb_agent *a, const char *name)
{
    json_t *object = NULL;
    char *text = NULL;
    struct zb_err err;
    enum zb_rc rc = zb_history_meta_get(a->history, name, &text, &err);

    if (rc == ZB_OK) {
        object = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    } else if (rc != ZB_E_NOTFOUND) {
        zb_log_error("%s in the history: %s", name, err.msg);
    }
    free(text);
    if (!json_is_object(object)) {
        json_decref(object);
        object = zb_must(json_object());
    }
    return object;
}

bool
zb_note_store(const struct zb_agent *a, const char *name, const json_t *object)
{
    char *text = zb_must(json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS));
    struct zb_err err;

    enum zb_rc rc = zb_history_meta_set(a->history, name, text, &err);
    if (rc != ZB_OK) {
        zb_log_error("%s in the history: %s", name, err.msg);
    }
    free(text);
    return rc == ZB_OK;
}
