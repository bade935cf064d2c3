#include <string.h>

#include "keeper/rules_internal.h"

const char *
zb_keeper_stage_word(enum zb_keeper_stage stage)
{
    static const char *const words[] = {
        [ZB_STAGE_REST] = "at rest",
        [ZB_STAGE_MOUNTED] = "mounted",
        [ZB_STAGE_UNMOUNTED] = "unmounted, not sealed",
        [ZB_STAGE_SEALED] = "sealed",
    };
    return words[stage];
}

/* A child without any mark came in since the last set, and waits for the next one. */
static bool
is_newcomer(const struct zb_kdataset *d)
{
    return d->rel[0] != '\0' && !d->marked && d->uuid[0] == '\0';
}

enum zb_rc
zb_rules_idle(const struct zb_keeper_facts *f, struct zb_err *err)
{
    const struct zb_kdataset *d = mounted_one(f);

    if (d != NULL) {
        return zb_err_set(err, ZB_E_REFUSED, "dataset %s is mounted here", rel_name(d->rel));
    }
    if (f->running) {
        return zb_err_set(err, ZB_E_REFUSED, "the service is running here");
    }
    return ZB_OK;
}

enum zb_rc
zb_rules_define(const struct zb_keeper_record *r, const struct zb_kreq *req,
                const struct zb_keeper_facts *f, struct zb_err *err)
{
    if (req->version < r->rec.version) {
        return zb_err_set(err, ZB_E_REFUSED, "version " TERM " is older than version " TERM,
                          req->version, r->rec.version);
    }
    if ((req->text == NULL || req->text[0] == '\0') && !zb_rules_untouched(r, f)) {
        return zb_rules_idle(f, err);
    }
    return ZB_OK;
}

bool
zb_rules_untouched(const struct zb_keeper_record *r, const struct zb_keeper_facts *f)
{
    if (r->rec.granted_term != 0 || r->rec.learned_term != 0 || r->rec.established_term != 0) {
        return false;
    }
    for (uint32_t i = 0; i < f->datasets_count; i++) {
        if (f->datasets[i].marked) {
            return false;
        }
    }
    return true;
}

/* This node is the established leader of term, and has neither granted nor released nor learned
 * anything since. */
static enum zb_rc
leads_check(const struct zb_keeper_record *r, uint64_t term, const char *self, struct zb_err *err)
{
    const struct zb_record *rec = &r->rec;

    if (term == 0 || rec->established_term != term) {
        return zb_err_set(err, ZB_E_REFUSED,
                          "this node is not the established leader of term " TERM
                          " (it last led term " TERM ")",
                          term, rec->established_term);
    }
    if (rec->granted_term != term || strcmp(rec->granted_to, self) != 0) {
        return zb_err_set(err, ZB_E_REFUSED, "term " TERM " was granted to %s since",
                          rec->granted_term, rec->granted_to);
    }
    if (rec->learned_term != term || strcmp(rec->learned_leader, self) != 0) {
        return zb_err_set(err, ZB_E_REFUSED, "%s leads term " TERM, rec->learned_leader,
                          rec->learned_term);
    }
    if (rec->released_term >= term) {
        return zb_err_set(err, ZB_E_REFUSED, "it was released as term " TERM " to %s",
                          rec->released_term, rec->released_to);
    }
    return ZB_OK;
}

enum zb_rc
zb_rules_snapshot(const struct zb_keeper_record *r, const struct zb_kreq *req,
                  const struct zb_keeper_facts *f, bool any_set, uint64_t last_seq,
                  struct zb_err *err)
{
    enum zb_rc rc = leads_check(r, req->term, f->self, err);

    if (rc != ZB_OK) {
        return rc;
    }
    if (f->stage == ZB_STAGE_REST) {
        return zb_err_set(err, ZB_E_REFUSED,
                          "the tree was not mounted by this keeper: a set of it would not be "
                          "known to be the leader's");
    }
    /* M6: (term, seq) is never used twice. */
    if (any_set && req->seq <= last_seq) {
        return zb_err_set(err, ZB_E_REFUSED, "set " TERM "/" TERM " is not above " TERM "/" TERM,
                          req->term, req->seq, req->term, last_seq);
    }
    return ZB_OK;
}

enum zb_rc
zb_rules_rekey(const struct zb_keeper_record *r, const struct zb_kreq *req,
               const struct zb_keeper_facts *f, struct zb_err *err)
{
    enum zb_rc rc = leads_check(r, req->term, f->self, err);

    if (rc != ZB_OK) {
        return rc;
    }
    /* Sealed, it may be given away with a set that was made before. */
    if (f->stage != ZB_STAGE_MOUNTED || f->datasets_count == 0 ||
        f->datasets[0].mount != ZB_MOUNT_RW) {
        return zb_err_set(err, ZB_E_REFUSED,
                          "the tree is not mounted read-write by this keeper (it is %s): no set of "
                          "it would carry another key",
                          zb_keeper_stage_word(f->stage));
    }
    return ZB_OK;
}

enum zb_rc
zb_rules_leads(const struct zb_keeper_record *r, const char *self, struct zb_err *err)
{
    return leads_check(r, r->rec.established_term, self, err);
}

enum zb_rc
zb_rules_start(const struct zb_keeper_facts *f, struct zb_err *err)
{
    if (f->stage != ZB_STAGE_MOUNTED) {
        return zb_err_set(err, ZB_E_REFUSED, "the tree is not mounted read-write here (it is %s)",
                          zb_keeper_stage_word(f->stage));
    }
    for (uint32_t i = 0; i < f->datasets_count; i++) {
        if (f->datasets[i].mount != ZB_MOUNT_RW && !is_newcomer(&f->datasets[i])) {
            return zb_err_set(err, ZB_E_REFUSED, "dataset %s is not mounted read-write",
                              rel_name(f->datasets[i].rel));
        }
    }
    return ZB_OK;
}

enum zb_rc
zb_rules_seal(const struct zb_keeper_record *r, const struct zb_kreq *req,
              const struct zb_keeper_facts *f, struct zb_err *err)
{
    enum zb_rc rc = leads_check(r, req->term, f->self, err);

    if (rc != ZB_OK) {
        return rc;
    }
    if (f->stage == ZB_STAGE_REST) {
        return zb_err_set(err, ZB_E_REFUSED, "the tree was not mounted by this keeper");
    }
    if (f->running) {
        return zb_err_set(err, ZB_E_REFUSED, "the service is running");
    }
    if (req->manifest.id.term != req->term || req->manifest.entries_count == 0) {
        return zb_err_set(err, ZB_E_REFUSED, "the final set is not one of term " TERM, req->term);
    }
    return ZB_OK;
}

/* S2, S7 for one dataset. */
static enum zb_rc
dataset_equal(const struct zb_manifest_entry *e, const struct zb_kdataset *d, struct zb_err *err)
{
    if (strcmp(e->uuid, d->uuid) != 0) {
        return zb_err_set(err, ZB_E_MISMATCH, "dataset %s has uuid %s, the set says %s",
                          rel_name(d->rel), d->uuid, e->uuid);
    }
    if (d->newest_guid != e->guid) {
        return zb_err_set(err, ZB_E_MISMATCH,
                          "the newest snapshot of %s is %s (guid " TERM "), the set has " TERM,
                          rel_name(d->rel), d->newest, d->newest_guid, e->guid);
    }
    if (d->written_bytes != 0) {
        return zb_err_set(err, ZB_E_MISMATCH, "%s has " TERM " bytes written after the set",
                          rel_name(d->rel), d->written_bytes);
    }
    return ZB_OK;
}

enum zb_rc
zb_rules_tree_equal(const struct zb_manifest *m, const struct zb_keeper_facts *f,
                    struct zb_err *err)
{
    for (uint32_t i = 0; i < f->datasets_count; i++) {
        const struct zb_kdataset *d = &f->datasets[i];
        const struct zb_manifest_entry *e = zb_manifest_find(m, d->rel);
        enum zb_rc rc;

        if (e == NULL) {
            return zb_err_set(err, ZB_E_MISMATCH, "dataset %s is not in the set", rel_name(d->rel));
        }
        rc = dataset_equal(e, d, err);
        if (rc != ZB_OK) {
            return rc;
        }
    }
    if (m->entries_count != f->datasets_count) {
        return zb_err_set(err, ZB_E_MISMATCH, "the set has %u datasets, the tree %u",
                          m->entries_count, f->datasets_count);
    }
    return ZB_OK;
}

static bool
manifest_equal(const struct zb_manifest *a, const struct zb_manifest *b)
{
    struct zb_set_ref ra;
    struct zb_set_ref rb;

    zb_manifest_ref(a, &ra);
    zb_manifest_ref(b, &rb);
    return zb_set_ref_equal(&ra, &rb);
}

enum zb_rc
zb_rules_release(const struct zb_keeper_record *r, const struct zb_kreq *req,
                 const struct zb_keeper_facts *f, bool *again, struct zb_err *err)
{
    const struct zb_record *rec = &r->rec;
    struct zb_set_ref ref;
    enum zb_rc rc;

    zb_manifest_ref(&req->manifest, &ref);
    if (req->term != 0 && rec->released_term == req->term &&
        strcmp(rec->released_to, req->node) == 0 && zb_set_ref_equal(&rec->released_set, &ref)) {
        if (rec->granted_term > req->term) { /* M5 */
            return zb_err_set(err, ZB_E_REFUSED, "term " TERM " was granted to %s since",
                              rec->granted_term, rec->granted_to);
        }
        *again = true;
        return ZB_OK;
    }
    *again = false;
    rc = leads_check(r, rec->established_term, f->self, err);
    if (rc != ZB_OK) {
        return rc;
    }
    if (req->term <= rec->granted_term) { /* M1: a term is granted at most once */
        return zb_err_set(err, ZB_E_REFUSED, "term " TERM " is not above term " TERM, req->term,
                          rec->granted_term);
    }
    if (req->node[0] == '\0' || is_self(f, req->node)) {
        return zb_err_set(err, ZB_E_REFUSED, "a release is to another node");
    }
    if (f->stage != ZB_STAGE_SEALED || !manifest_equal(f->sealed, &req->manifest)) {
        return zb_err_set(err, ZB_E_REFUSED, "the tree is not sealed with this set (it is %s)",
                          zb_keeper_stage_word(f->stage));
    }
    if (f->running) {
        return zb_err_set(err, ZB_E_REFUSED, "the service is running");
    }
    return ZB_OK;
}

enum zb_rc
zb_rules_grant(const struct zb_keeper_record *r, const struct zb_kreq *req,
               const struct zb_keeper_facts *f, bool *again, struct zb_err *err)
{
    const struct zb_record *rec = &r->rec;
    enum zb_rc rc;

    if (req->term == 0 || req->node[0] == '\0') {
        return zb_err_set(err, ZB_E_USAGE, "a grant wants a term and a candidate");
    }
    if (req->version < r->granted_version) { /* M11 */
        return zb_err_set(err, ZB_E_REFUSED, "version " TERM " of the voters is older than " TERM,
                          req->version, r->granted_version);
    }
    *again = req->term == rec->granted_term && strcmp(req->node, rec->granted_to) == 0;
    if (!*again && req->term <= rec->granted_term) { /* M1, M2 */
        return zb_err_set(err, ZB_E_REFUSED, "term " TERM " was granted to %s", rec->granted_term,
                          rec->granted_to);
    }
    if (!*again && req->term <= rec->learned_term) {
        return zb_err_set(err, ZB_E_REFUSED, "%s leads term " TERM, rec->learned_leader,
                          rec->learned_term);
    }
    /* M2: demoted first. The stage too: what is mounted shows in the datasets, unless they
     * could not be seen. */
    rc = zb_rules_idle(f, err);
    if (rc != ZB_OK) {
        return rc;
    }
    if (f->stage == ZB_STAGE_MOUNTED) {
        return zb_err_set(err, ZB_E_REFUSED, "this node leads and has not demoted itself");
    }
    return ZB_OK;
}

enum zb_rc
zb_rules_learn(const struct zb_keeper_record *r, const struct zb_kreq *req, bool *known,
               struct zb_err *err)
{
    const struct zb_record *rec = &r->rec;

    if (req->term == 0 || req->node[0] == '\0') {
        return zb_err_set(err, ZB_E_USAGE, "a term and its leader are wanted");
    }
    *known = req->term == rec->learned_term && strcmp(req->node, rec->learned_leader) == 0;
    if (req->term == rec->learned_term && !*known) { /* M10 */
        return zb_err_set(err, ZB_E_MISMATCH, "split brain: term " TERM " is led by %s and by %s",
                          req->term, rec->learned_leader, req->node);
    }
    if (req->term < rec->learned_term) {
        return zb_err_set(err, ZB_E_REFUSED, "term " TERM " is led by %s already",
                          rec->learned_term, rec->learned_leader);
    }
    if (req->term < rec->granted_term) { /* M2 */
        return zb_err_set(err, ZB_E_REFUSED, "term " TERM " was granted to %s", rec->granted_term,
                          rec->granted_to);
    }
    return ZB_OK;
}

/* Without a release only the last leader or the first one may take the tree as it stands (M6). */
static enum zb_rc
unplanned_check(const struct zb_keeper_record *r, const char *self, struct zb_err *err)
{
    const struct zb_record *rec = &r->rec;

    if (rec->learned_term == 0 && rec->established_term == 0) {
        return ZB_OK;
    }
    if (rec->learned_term != rec->established_term || strcmp(rec->learned_leader, self) != 0) {
        return zb_err_set(err, ZB_E_REFUSED,
                          "without a release only the last leader takes the tree again: %s led "
                          "term " TERM,
                          rec->learned_leader, rec->learned_term);
    }
    if (rec->released_term > rec->established_term) {
        return zb_err_set(err, ZB_E_REFUSED,
                          "this node released term " TERM " to %s and never takes the tree back "
                          "by itself",
                          rec->released_term, rec->released_to);
    }
    return ZB_OK;
}

static enum zb_rc
dataset_check(const struct zb_kdataset *d, struct zb_err *err)
{
    if (d->mount != ZB_MOUNT_NONE) {
        return zb_err_set(err, ZB_E_REFUSED, "dataset %s is mounted already", rel_name(d->rel));
    }
    if (!d->marked || d->uuid[0] == '\0') {
        return zb_err_set(err, ZB_E_REFUSED,
                          "dataset %s does not carry the marks of this node and pool",
                          rel_name(d->rel));
    }
    return ZB_OK;
}

/* The tree as it stands. */
static enum zb_rc
datasets_check(const struct zb_keeper_facts *f, struct zb_err *err)
{
    enum zb_rc rc = ZB_OK;

    if (f->datasets_count == 0) {
        return zb_err_set(err, ZB_E_NOTFOUND, "the service's dataset does not exist here");
    }
    for (uint32_t i = 0; i < f->datasets_count && rc == ZB_OK; i++) {
        const struct zb_kdataset *d = &f->datasets[i];
        if (!is_newcomer(d) || d->mount != ZB_MOUNT_NONE) {
            rc = dataset_check(d, err);
        }
    }
    return rc;
}

/* After a release (M7, S2): every entry of the set has its dataset here, guid by guid. What the set
 * does not have is not looked at: with the release given, refusing would leave nobody to lead. */
static enum zb_rc
planned_check(const struct zb_manifest *m, const struct zb_keeper_facts *f, struct zb_err *err)
{
    enum zb_rc rc = ZB_OK;

    if (f->datasets_count == 0) {
        return zb_err_set(err, ZB_E_NOTFOUND, "the service's dataset does not exist here");
    }
    if (m->entries_count == 0) {
        return zb_err_set(err, ZB_E_REFUSED, "the released set is empty");
    }
    for (uint32_t i = 0; i < m->entries_count && rc == ZB_OK; i++) {
        const struct zb_manifest_entry *e = &m->entries[i];
        int64_t at = zb_rules_entry_dataset(e, f);

        if (at < 0) {
            return zb_err_set(err, ZB_E_MISMATCH, "dataset %s of the set is not here",
                              rel_name(e->rel));
        }
        rc = dataset_check(&f->datasets[at], err);
        if (rc == ZB_OK) {
            rc = dataset_equal(e, &f->datasets[at], err);
        }
    }
    return rc;
}

/* An aborted move, or a mount that somebody took away, is put back under the same term, by the life
 * that mounted it only. */
static enum zb_rc
remount_check(const struct zb_keeper_record *r, const struct zb_kreq *req,
              const struct zb_keeper_facts *f, struct zb_err *err)
{
    enum zb_rc rc = leads_check(r, req->term, f->self, err);

    if (rc == ZB_OK && f->stage == ZB_STAGE_REST) {
        rc = zb_err_set(err, ZB_E_REFUSED, "this keeper has not mounted the tree (it is %s)",
                        zb_keeper_stage_word(f->stage));
    }
    return rc;
}

/* A term goes on from what was before it. A record that says otherwise is not read again. */
static enum zb_rc
earlier_check(const struct zb_kreq *req, struct zb_err *err)
{
    const struct zb_lineage *l = &req->lineage;
    struct zb_set_id from = zb_rules_goes_on_from(req);

    if (from.term >= req->term) {
        return zb_err_set(err, ZB_E_REFUSED, "term " TERM " cannot go on from set " TERM "/" TERM,
                          req->term, from.term, from.seq);
    }
    if (l->count > 0 && l->lines[l->count - 1].term >= req->term) {
        return zb_err_set(err, ZB_E_REFUSED, "term " TERM " cannot go on from term " TERM,
                          req->term, l->lines[l->count - 1].term);
    }
    return ZB_OK;
}

enum zb_rc
zb_rules_promote(const struct zb_keeper_record *r, const struct zb_kreq *req,
                 const struct zb_keeper_facts *f, struct zb_err *err)
{
    const struct zb_record *rec = &r->rec;
    enum zb_rc rc;

    if ((req->flags & ZB_KF_REMOUNT) != 0) {
        rc = remount_check(r, req, f, err);
        return rc == ZB_OK ? datasets_check(f, err) : rc;
    }
    if (req->term == 0 || rec->granted_term != req->term || !is_self(f, rec->granted_to)) { /* M1 */
        return zb_err_set(
            err, ZB_E_REFUSED,
            "this node has not granted term " TERM " to itself (highest: term " TERM " to %s)",
            req->term, rec->granted_term, rec->granted_to[0] != '\0' ? rec->granted_to : "nobody");
    }
    if (req->term <= rec->established_term) { /* M6: only in a new term */
        return zb_err_set(err, ZB_E_REFUSED,
                          "term " TERM " was led by this node before: a new "
                          "term is needed",
                          req->term);
    }
    if (req->term <= rec->learned_term) {
        return zb_err_set(err, ZB_E_REFUSED, "%s leads term " TERM, rec->learned_leader,
                          rec->learned_term);
    }
    if (f->running) {
        return zb_err_set(err, ZB_E_REFUSED, "the service is running already");
    }
    rc = earlier_check(req, err);
    if (rc == ZB_OK && (req->flags & ZB_KF_EXACT) != 0) {
        return planned_check(&req->manifest, f, err);
    }
    rc = rc == ZB_OK ? datasets_check(f, err) : rc;
    return rc == ZB_OK ? unplanned_check(r, f->self, err) : rc;
}

bool
zb_rules_is_first(const struct zb_keeper_record *r, const char *leader, const char *self)
{
    return r->rec.learned_term == 0 && r->rec.established_term == 0 && strcmp(leader, self) == 0;
}

bool
zb_rules_continues(const struct zb_keeper_record *r, const char *self, const char *boot_id,
                   uint64_t pool_guid)
{
    struct zb_err err;

    return r->rec.established_term != 0 &&
           leads_check(r, r->rec.established_term, self, &err) == ZB_OK &&
           strcmp(r->established_boot, boot_id) == 0 && r->pool_guid == pool_guid;
}

bool
zb_rules_may_have_led(const struct zb_keeper_record *r, bool led)
{
    return r->rec.established_term > 0 || led;
}
