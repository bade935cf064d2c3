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

bool
zb_rules_mark_parse(const char *name, struct zb_set_id *id)
{
    const size_t n = sizeof(ZB_MARK_PREFIX) - 1;

    return strncmp(name, ZB_MARK_PREFIX, n) == 0 && zb_set_name_parse(name + n, id, NULL);
}

/* Where another member stands: the set that it had last, or the one after it, for what was sent
 * last may have arrived unheard. */
struct stand {
    struct zb_set_id at;
    struct zb_set_id next; /* none: there is none yet */
    bool there;            /* of `at` there is a snapshot or a bookmark */
};

struct stands {
    size_t count;
    struct stand list[ZB_MEMBERS_MAX + 1];
};

static void
stands_see(struct stands *s, struct zb_set_id id)
{
    for (size_t i = 0; i < s->count; i++) {
        struct stand *one = &s->list[i];
        int order = zb_set_id_cmp(id, one->at);
        one->there = one->there || order == 0;
        if (order > 0 && (zb_set_id_is_none(one->next) || zb_set_id_cmp(id, one->next) < 0)) {
            one->next = id;
        }
    }
}

static void
stands_find(const struct zb_rules_prune *in, struct stands *s)
{
    struct zb_set_id id;

    s->count = 0;
    for (size_t i = 0; i < in->req->count && i < in->req->protect_count; i++) {
        s->list[s->count++] = (struct stand){.at = in->req->protect[i]};
    }
    for (size_t i = 0; i < in->snaps_count; i++) {
        if (zb_set_name_parse(in->snaps[i].name, &id, NULL)) {
            stands_see(s, id);
        }
    }
    for (size_t i = 0; i < in->marks_count; i++) {
        if (zb_rules_mark_parse(in->marks[i].name, &id)) {
            stands_see(s, id);
        }
    }
}

static bool
is_stood_on(const struct stands *s, struct zb_set_id id)
{
    for (size_t i = 0; i < s->count; i++) {
        const struct stand *one = &s->list[i];
        if (one->there && (zb_set_id_cmp(one->at, id) == 0 || zb_set_id_cmp(one->next, id) == 0)) {
            return true;
        }
    }
    return false;
}

/* A member of which there is nothing where it is said to stand may stand elsewhere, unheard of as
 * yet: until then no bookmark goes. */
static bool
all_are_there(const struct stands *s)
{
    for (size_t i = 0; i < s->count; i++) {
        if (!s->list[i].there) {
            return false;
        }
    }
    return true;
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
zb_rules_prune(const struct zb_rules_prune *in, uint32_t *stays, bool *marks_stay)
{
    struct zb_retention retention;
    struct stands stands;
    struct zb_set_id id;
    size_t go_count = 0;
    size_t ignored;

    stands_find(in, &stands);
    zb_retention_begin(&retention, in->keep, in->now);
    for (size_t i = in->snaps_count; i-- > 0;) {
        struct zb_wall time;
        if (!zb_set_name_parse(in->snaps[i].name, &id, &time)) {
            stays[i] = ZB_KEEP_FOREIGN;
            continue;
        }
        stays[i] = zb_retention_next(&retention, time);
        stays[i] |= is_protected(id, retention.count, in) ? ZB_KEEP_BASE : 0;
        stays[i] |= zb_rules_label_find(in->req->text, id, &ignored) != NULL ? ZB_KEEP_LABEL : 0;
        go_count += stays[i] == 0;
        stays[i] |= stays[i] == 0 && is_stood_on(&stands, id) ? ZB_KEEP_MARK : 0;
    }
    for (size_t i = 0; i < in->marks_count; i++) {
        marks_stay[i] = !all_are_there(&stands) || !zb_rules_mark_parse(in->marks[i].name, &id) ||
                        is_stood_on(&stands, id);
    }
    return go_count;
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
