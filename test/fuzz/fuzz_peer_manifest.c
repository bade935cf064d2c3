/* A manifest in a peer's message. */
#include "fuzz.h"

#include "agent/json.h"

static bool
read_manifest(json_t *value, struct zb_manifest *m)
{
    json_t *message = json_object();
    int set = json_object_set(message, "manifest", value);
    struct zb_json_reader reader = zb_json_read(message);

    if (set == 0) {
        zb_json_read_manifest(&reader, "manifest", m);
    }
    json_decref(message);
    return set == 0 && reader.bad == NULL;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct zb_manifest m = {0};
    struct zb_manifest again = {0};
    json_t *value = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);

    if (read_manifest(value, &m)) {
        json_t *told = zb_json_manifest(&m);
        bool read = read_manifest(told, &again);
        assert(read && again.entries_count == m.entries_count);
        assert(zb_set_id_cmp(again.id, m.id) == 0 && again.time.s == m.time.s);
        assert(memcmp(again.entries, m.entries, m.entries_count * sizeof *m.entries) == 0);
        zb_manifest_close(&again);
        json_decref(told);
    }
    zb_manifest_close(&m);
    json_decref(value);
    return 0;
}
