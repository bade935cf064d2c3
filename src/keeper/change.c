/* What the record becomes, which dataset an entry is about and which sets go: the part of rules.h
 * that computes changes. */
#include "keeper/rules.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static enum zb_rc
suspect_add(struct zb_record *rec, const char *node, struct zb_err *err)
{
    for (size_t i = 0; i < ZB_MEMBERS_MAX + 1; i++) {
        if (strcmp(rec->suspects[i], node) == 0) {
            return ZB_OK;
        }
        if (rec->suspects[i][0] == '\0') {
            zb_strcopy(rec->suspects[i], ZB_NODE_NAME_SIZE, node);
            return ZB_OK;
        }
    }
    return zb_err_set(err, ZB_E_LIMIT, "more than %d suspects", ZB_MEMBERS_MAX + 1);
}

enum zb_rc
zb_rules_granted(struct zb_keeper_record *r, const struct zb_kreq *req, struct zb_err *err)
{
    struct zb_keeper_record next = *r;
    enum zb_rc rc = suspect_add(&next.rec, req->node, err); /* M3 */

    if (rc != ZB_OK) {
        return rc;
    }
    next.rec.granted_term = req->term;
    zb_strcopy(next.rec.granted_to, ZB_NODE_NAME_SIZE, req->node);
    next.granted_version = req->version;
    next.granted_nonce = req->nonce;
    *r = next;
    return ZB_OK;
}

enum zb_rc
zb_rules_released(struct zb_keeper_record *r, const struct zb_kreq *req, struct zb_err *err)
{
    struct zb_keeper_record next = *r;
    enum zb_rc rc = suspect_add(&next.rec, req->node, err);

    if (rc != ZB_OK) {
        return rc;
    }
    next.rec.granted_term = req->term; /* M1: a release is the holder's grant */
    zb_strcopy(next.rec.granted_to, ZB_NODE_NAME_SIZE, req->node);
    next.granted_nonce = req->nonce;
    next.rec.released_term = req->term;
    zb_strcopy(next.rec.released_to, ZB_NODE_NAME_SIZE, req->node);
    zb_manifest_ref(&req->manifest, &next.rec.released_set);
    *r = next;
    return ZB_OK;
}

static void
leader_set(struct zb_record *rec, uint64_t term, const char *node)
{
    rec->learned_term = term;
    zb_strcopy(rec->learned_leader, ZB_NODE_NAME_SIZE, node);
    memset(rec->suspects, 0, sizeof(rec->suspects));
    zb_strcopy(rec->suspects[0], ZB_NODE_NAME_SIZE, node);
}

void
zb_rules_learned(struct zb_keeper_record *r, const struct zb_kreq *req)
{
    leader_set(&r->rec, req->term, req->node);
    r->rec.lineage = req->lineage;
}

struct zb_set_id
zb_rules_goes_on_from(const struct zb_kreq *req)
{
    return req->manifest.entries_count > 0 ? req->manifest.id
                                           : (struct zb_set_id){req->base_term, req->base_seq};
}

void
zb_rules_promoted(struct zb_keeper_record *r, const struct zb_kreq *req, const char *self,
                  const char *boot_id, uint64_t pool_guid)
{
    leader_set(&r->rec, req->term, self);
    r->rec.established_term = req->term;
    zb_strcopy(r->established_boot, ZB_UUID_SIZE, boot_id);
    r->pool_guid = pool_guid;
    if (req->lineage.count > 0) { /* of a failover: its granters may know of later terms */
        r->rec.lineage = req->lineage;
    }
    zb_lineage_add(&r->rec.lineage, req->term, zb_rules_goes_on_from(req)); /* M7 */
}

static bool
is_from(struct zb_set_id id, struct zb_set_id floor)
{
    return !zb_set_id_is_none(floor) && zb_set_id_cmp(id, floor) >= 0;
}

/* What this node stands on itself, and what a member that is behind may come to stand on. rank
 * counts from the newest set on. */
static bool
is_protected(struct zb_set_id id, uint32_t rank, const struct zb_rules_prune *in)
{
    const struct zb_kreq *req = in->req;
    const struct zb_set_id floor = {req->base_term, req->base_seq};
    const struct zb_set_id floor_way = {req->term, req->seq};

    for (size_t i = req->count; i < req->protect_count; i++) {
        if (zb_set_id_cmp(id, req->protect[i]) == 0) {
            return true;
        }
    }
    return (rank <= in->catch_up && is_from(id, floor)) || is_from(id, floor_way);
}

/* The oldest set of which there is a snapshot or a bookmark, from `from` on, or after it; none. */
static struct zb_set_id
next_there(const struct zb_rules_prune *in, struct zb_set_id from, bool after)
{
    const struct zb_ksnap *lists[] = {in->snaps, in->marks};
    const size_t counts[] = {in->snaps_count, in->marks_count};
    struct zb_set_id best = {0};
    struct zb_set_id id;

    for (size_t l = 0; l < 2; l++) {
        for (size_t i = 0; i < counts[l]; i++) {
            if (zb_set_name_parse(lists[l][i].name, &id, NULL) &&
                zb_set_id_cmp(id, from) >= (after ? 1 : 0) &&
                (zb_set_id_is_none(best) || zb_set_id_cmp(id, best) < 0)) {
                best = id;
            }
        }
    }
    return best;
}

struct standing {
    size_t count;
    struct zb_set_id ids[2 * (ZB_MEMBERS_MAX + 1)];
    bool unknown; /* where one of them stands is not known */
};

/* Where the others stand, and the set after it each: what was sent last may have arrived. */
static void
standing_find(const struct zb_rules_prune *in, struct standing *s)
{
    *s = (struct standing){0};
    for (size_t i = 0; i < in->req->count && i < in->req->protect_count; i++) {
        const struct zb_set_id at = in->req->protect[i];

        s->unknown = s->unknown || at.term == 0;
        if (at.term != 0 && zb_set_id_cmp(next_there(in, at, false), at) == 0) {
            s->ids[s->count++] = at;
            s->ids[s->count++] = next_there(in, at, true);
        }
    }
}

static bool
is_standing(const struct standing *s, struct zb_set_id id)
{
    for (size_t i = 0; i < s->count; i++) {
        if (zb_set_id_cmp(s->ids[i], id) == 0) {
            return true;
        }
    }
    return false;
}

const char *
zb_rules_label_find(const char *text, struct zb_set_id set, size_t *size)
{
    char wanted[48];
    size_t n =
        (size_t)snprintf(wanted, sizeof(wanted), "%" PRIu64 "/%" PRIu64 "\t", set.term, set.seq);

    while (text != NULL && *text != '\0') {
        size_t line = strcspn(text, "\n");
        if (strncmp(text, wanted, n) == 0) {
            *size = line - n;
            return text + n;
        }
        text += line + (text[line] == '\n');
    }
    return NULL;
}

size_t
zb_rules_prune(const struct zb_rules_prune *in, uint32_t *stays)
{
    struct zb_retention retention;
    struct standing standing;
    size_t go_count = 0;
    size_t ignored;

    standing_find(in, &standing);
    zb_retention_begin(&retention, in->keep, in->now);
    for (size_t i = in->snaps_count; i-- > 0;) {
        struct zb_set_id id;
        struct zb_wall time;
        if (!zb_set_name_parse(in->snaps[i].name, &id, &time)) {
            stays[i] = ZB_KEEP_FOREIGN;
            continue;
        }
        stays[i] = zb_retention_next(&retention, time);
        stays[i] |= is_protected(id, retention.count, in) ? ZB_KEEP_BASE : 0;
        stays[i] |= zb_rules_label_find(in->req->text, id, &ignored) != NULL ? ZB_KEEP_LABEL : 0;
        go_count += stays[i] == 0;
        stays[i] |= stays[i] == 0 && is_standing(&standing, id) ? ZB_KEEP_MARK : 0;
    }
    return go_count;
}

void
zb_rules_prune_marks(const struct zb_rules_prune *in, bool *stay)
{
    struct standing standing;
    struct zb_set_id id;

    standing_find(in, &standing);
    for (size_t i = 0; i < in->marks_count; i++) {
        stay[i] = standing.unknown || !zb_set_name_parse(in->marks[i].name, &id, NULL) ||
                  is_standing(&standing, id);
    }
}

int64_t
zb_rules_entry_dataset(const struct zb_manifest_entry *e, const struct zb_keeper_facts *f)
{
    int64_t there = -1;
    int64_t renamed = -1;

    for (uint32_t i = 0; i < f->datasets_count; i++) {
        const struct zb_kdataset *d = &f->datasets[i];
        bool same = strcmp(d->uuid, e->uuid) == 0;

        if (strcmp(d->rel, e->rel) == 0) {
            there = i;
            if (same) {
                return there;
            }
        } else if (same && d->marked) {
            renamed = i;
        }
    }
    return renamed >= 0 ? renamed : there;
}

bool
zb_rules_is_orphan(const struct zb_manifest *m, const struct zb_keeper_facts *f, uint32_t i)
{
    for (uint32_t j = 0; j < m->entries_count; j++) {
        const struct zb_manifest_entry *e = &m->entries[j];
        if (strcmp(e->uuid, f->datasets[i].uuid) == 0 || strcmp(e->rel, f->datasets[i].rel) == 0) {
            if (zb_rules_entry_dataset(e, f) == (int64_t)i) {
                return false;
            }
        }
    }
    return true;
}
