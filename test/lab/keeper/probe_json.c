#include "probe.h"

static json_t *
manifest_json(const struct zb_manifest *m)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < m->entries_count; i++) {
        json_array_append_new(list,
                              json_pack("{s:s,s:s,s:I}", "uuid", m->entries[i].uuid, "rel",
                                        m->entries[i].rel, "guid", (json_int_t)m->entries[i].guid));
    }
    return json_pack("{s:I,s:I,s:o}", "term", (json_int_t)m->id.term, "seq", (json_int_t)m->id.seq,
                     "entries", list);
}

static json_t *
record_json(const struct zb_record *r)
{
    json_t *suspects = json_array();

    for (size_t i = 0; i < ZB_MEMBERS_MAX + 1 && r->suspects[i][0] != '\0'; i++) {
        json_array_append_new(suspects, json_string(r->suspects[i]));
    }
    return json_pack("{s:I,s:s,s:I,s:s,s:I,s:I,s:s,s:I,s:o}", "granted_term",
                     (json_int_t)r->granted_term, "granted_to", r->granted_to, "learned_term",
                     (json_int_t)r->learned_term, "learned_leader", r->learned_leader,
                     "established_term", (json_int_t)r->established_term, "released_term",
                     (json_int_t)r->released_term, "released_to", r->released_to, "version",
                     (json_int_t)r->version, "suspects", suspects);
}

static json_t *
datasets_json(const struct zb_krep *rep)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < rep->datasets_count; i++) {
        const struct zb_kdataset *d = &rep->datasets[i];
        json_array_append_new(
            list,
            json_pack("{s:s,s:s,s:i,s:i,s:i,s:I,s:s,s:I,s:s}", "rel", d->rel, "uuid", d->uuid,
                      "mount", (int)d->mount, "readonly_on", (int)d->readonly_on, "marked",
                      (int)d->marked, "written_bytes", (json_int_t)d->written_bytes, "newest",
                      d->newest, "newest_guid", (json_int_t)d->newest_guid, "token", d->token));
    }
    return list;
}

static json_t *
snaps_json(const struct zb_krep *rep)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < rep->snaps_count; i++) {
        json_array_append_new(list, json_pack("{s:s,s:I}", "name", rep->snaps[i].name, "guid",
                                              (json_int_t)rep->snaps[i].guid));
    }
    return list;
}

json_t *
probe_reply(const struct zb_krep *rep)
{
    return json_pack("{s:s,s:s,s:s,s:s,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:I,s:I,s:I,s:I,s:s,s:s,s:s,"
                     "s:o,s:o,s:o,s:o}",
                     "op", zb_kop_word(rep->op), "rc", zb_rc_word((enum zb_rc)rep->rc), "msg",
                     rep->msg, "hint", rep->hint, "flags", (int)rep->flags, "running",
                     (int)rep->running, "mounted_here", (int)rep->mounted_here, "sealed",
                     (int)rep->sealed, "foreign", (int)rep->foreign, "key", (int)rep->key, "count",
                     (int)rep->count, "keeper_ms", (int)rep->elapsed_ms, "bytes",
                     (json_int_t)rep->bytes, "guid", (json_int_t)rep->guid, "pool_guid",
                     (json_int_t)rep->pool_guid, "nonce", (json_int_t)rep->nonce, "node", rep->node,
                     "root", rep->root, "text", rep->text != NULL ? rep->text : "", "record",
                     record_json(&rep->record), "manifest", manifest_json(&rep->manifest),
                     "datasets", datasets_json(rep), "snaps", snaps_json(rep));
}
