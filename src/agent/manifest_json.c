/* Manifests as JSON, apart from json.c: their digests want a library that programs which read other
 * JSON need not load. */
#include <string.h>

#include "agent/json.h"
#include "agent/must.h"

json_t *
zb_json_manifest(const struct zb_manifest *m)
{
    json_t *entries = zb_json_array_new();
    for (uint32_t i = 0; i < m->entries_count; i++) {
        json_t *e = zb_json_array_new();
        zb_json_append(e, zb_json_text(m->entries[i].uuid));
        zb_json_append(e, zb_json_text(m->entries[i].rel));
        zb_json_append(e, zb_json_u64(m->entries[i].guid));
        zb_json_append(entries, e);
    }
    json_t *o = zb_must(json_object());
    zb_json_put(o, "term", zb_json_u64(m->id.term));
    zb_json_put(o, "seq", zb_json_u64(m->id.seq));
    zb_json_put(o, "time", zb_json_int(m->time.s));
    zb_json_put(o, "entries", entries);
    return o;
}

static bool
manifest_entry_read(const json_t *value, struct zb_manifest_entry *e)
{
    const char *uuid = json_string_value(json_array_get(value, 0));
    const char *rel = json_string_value(json_array_get(value, 1));
    if (json_array_size(value) != 3 || uuid == NULL || rel == NULL ||
        strlen(uuid) >= sizeof(e->uuid) || strlen(rel) >= sizeof(e->rel) ||
        strlen(rel) != json_string_length(json_array_get(value, 1)) ||
        !zb_json_is_u64(json_array_get(value, 2), &e->guid)) {
        return false;
    }
    zb_strcopy(e->uuid, sizeof(e->uuid), uuid);
    zb_strcopy(e->rel, sizeof(e->rel), rel);
    return true;
}

void
zb_json_read_manifest(struct zb_json_reader *r, const char *key, struct zb_manifest *m)
{
    struct zb_json_reader in = zb_json_read(json_object_get(r->object, key));
    struct zb_manifest got = {0};
    struct zb_err err;
    const json_t *entries = json_object_get(in.object, "entries");
    struct zb_set_id id = {.term = zb_json_read_u64(&in, "term"),
                           .seq = zb_json_read_u64(&in, "seq")};
    int64_t time = zb_json_read_int(&in, "time", 0, INT64_C(253402300799));
    bool good = in.bad == NULL && json_array_size(entries) > 0 &&
                json_array_size(entries) <= ZB_DATASETS_MAX;
    if (good && zb_manifest_init(&got, (uint32_t)json_array_size(entries), &err) != ZB_OK) {
        zb_out_of_memory();
    }
    got.id = id;
    got.time.s = time;
    for (uint32_t i = 0; good && i < got.entries_count; i++) {
        good = manifest_entry_read(json_array_get(entries, i), &got.entries[i]);
    }
    if (!good || !zb_manifest_valid(&got)) {
        zb_json_read_fail(r, key);
        zb_manifest_close(&got);
        return;
    }
    *m = got;
}
