/* Refusals of what comes from another member, or is done to one: the part of rules.h about RECEIVE,
 * ARRANGE and FENCE. */
#include <string.h>

#include "keeper/rules_internal.h"

enum zb_rc
zb_rules_term_led(const struct zb_keeper_record *r, const struct zb_kreq *req, struct zb_err *err)
{
    const struct zb_record *rec = &r->rec;

    if (req->term == 0 || req->term != rec->learned_term) {
        return zb_err_set(err, ZB_E_REFUSED,
                          "term " TERM " is not the one known to be led (" TERM ")", req->term,
                          rec->learned_term);
    }
    if (req->term < rec->granted_term) { /* M2 */
        return zb_err_set(err, ZB_E_REFUSED,
                          "term " TERM " was granted to %s: term " TERM " is over",
                          rec->granted_term, rec->granted_to, req->term);
    }
    return ZB_OK;
}

enum zb_rc
zb_rules_led_by(const struct zb_keeper_record *r, const struct zb_kreq *req, struct zb_err *err)
{
    enum zb_rc rc = zb_rules_term_led(r, req, err);

    if (rc == ZB_OK && strcmp(req->node, r->rec.learned_leader) != 0) {
        rc = zb_err_set(err, ZB_E_REFUSED, "%s leads term " TERM ", not %s", r->rec.learned_leader,
                        req->term, req->node);
    }
    return rc;
}

/* What any follower may send: of a tree that holds nothing yet nothing is lost, and what comes is
 * of the leader's history by the guids that are asked for. */
static enum zb_rc
first_copy(const struct zb_keeper_record *r, const struct zb_kreq *req,
           const struct zb_keeper_facts *f, struct zb_err *err)
{
    enum zb_rc rc = zb_rules_term_led(r, req, err);

    if (rc != ZB_OK || f->copier) {
        return rc;
    }
    for (uint32_t i = 0; i < f->datasets_count; i++) {
        if (f->datasets[i].newest_guid != 0) {
            return zb_err_set(err, ZB_E_REFUSED,
                              "a first copy from %s, but dataset %s has snapshots here", req->node,
                              rel_name(f->datasets[i].rel));
        }
    }
    return ZB_OK;
}

enum zb_rc
zb_rules_candidate(const struct zb_keeper_record *r, const struct zb_kreq *req,
                   const struct zb_keeper_facts *f, struct zb_err *err)
{
    const struct zb_record *rec = &r->rec;

    if (req->term == 0 || req->term != rec->granted_term || !is_self(f, rec->granted_to)) {
        return zb_err_set(
            err, ZB_E_REFUSED,
            "this node has not granted term " TERM " to itself (term " TERM " was granted to %s)",
            req->term, rec->granted_term, rec->granted_to[0] != '\0' ? rec->granted_to : "nobody");
    }
    if (req->term <= rec->learned_term) { /* led already: what is missing comes from its leader */
        return zb_err_set(err, ZB_E_REFUSED, "%s leads term " TERM " already", rec->learned_leader,
                          rec->learned_term);
    }
    return ZB_OK;
}

static bool
is_suspect(const struct zb_record *rec, const char *node)
{
    for (size_t i = 0; i < sizeof(rec->suspects) / sizeof(rec->suspects[0]); i++) {
        if (strcmp(rec->suspects[i], node) == 0) {
            return true;
        }
    }
    return false;
}

enum zb_rc
zb_rules_fence(const struct zb_keeper_record *r, const struct zb_kreq *req,
               const struct zb_keeper_facts *f, bool member, struct zb_err *err)
{
    if (req->node[0] == '\0' || is_self(f, req->node)) {
        return zb_err_set(err, ZB_E_REFUSED, "this node does not fence itself");
    }
    if (!member && !is_suspect(&r->rec, req->node)) {
        return zb_err_set(err, ZB_E_REFUSED, "%s is no member of %s, nor may it have led it",
                          req->node, req->service);
    }
    return zb_rules_candidate(r, req, f, err);
}

enum zb_rc
zb_rules_at_rest(const struct zb_keeper_facts *f, struct zb_err *err)
{
    const struct zb_kdataset *d = mounted_one(f);

    if (f->stage != ZB_STAGE_REST) {
        return zb_err_set(err, ZB_E_REFUSED, "this node leads (the tree is %s)",
                          zb_keeper_stage_word(f->stage));
    }
    if (d != NULL) {
        return zb_err_set(err, ZB_E_REFUSED, "dataset %s is mounted here", rel_name(d->rel));
    }
    return ZB_OK;
}

enum zb_rc
zb_rules_receive(const struct zb_keeper_record *r, const struct zb_kreq *req,
                 const struct zb_keeper_facts *f, struct zb_err *err)
{
    /* S6: a candidate is fast-forwarded before it leads, from whoever is ahead. */
    enum zb_rc rc = (req->flags & ZB_KF_FORWARD) != 0 ? zb_rules_candidate(r, req, f, err)
                    : (req->flags & ZB_KF_COPY) != 0  ? first_copy(r, req, f, err)
                                                      : zb_rules_led_by(r, req, err);

    if (rc == ZB_OK && (req->node[0] == '\0' || is_self(f, req->node))) {
        rc = zb_err_set(err, ZB_E_REFUSED,
                        "this node leads, or is to: it does not receive from itself");
    }
    return rc == ZB_OK ? zb_rules_at_rest(f, err) : rc;
}

enum zb_rc
zb_rules_receive_dataset(const struct zb_kreq *req, const struct zb_kdataset *d, struct zb_err *err)
{
    if (req->guid == 0 || req->uuid[0] == '\0' || req->snap[0] == '\0') {
        return zb_err_set(err, ZB_E_USAGE, "a snapshot's name and guid and the uuid are wanted");
    }
    if (req->from_guid == 0) {
        if (d != NULL) {
            return zb_err_set(err, ZB_E_REFUSED, "a full stream, but dataset %s exists here",
                              rel_name(req->rel));
        }
        return ZB_OK;
    }
    if (d == NULL) {
        return zb_err_set(err, ZB_E_NOTFOUND,
                          "dataset %s does not exist here: it wants a full "
                          "stream",
                          rel_name(req->rel));
    }
    if (strcmp(d->uuid, req->uuid) != 0) {
        return zb_err_set(err, ZB_E_MISMATCH, "dataset %s is another one here: uuid %s, not %s",
                          rel_name(req->rel), d->uuid[0] != '\0' ? d->uuid : "(none)", req->uuid);
    }
    if (!d->marked) {
        return zb_err_set(err, ZB_E_REFUSED,
                          "dataset %s does not carry the marks of this node and pool",
                          rel_name(req->rel));
    }
    if (d->newest_guid != req->from_guid) { /* S8, S9: never rolled back to the base */
        return zb_err_set(err, ZB_E_DIVERGED,
                          "the newest snapshot of %s is %s (guid " TERM "), not the base " TERM,
                          rel_name(req->rel), d->newest[0] != '\0' ? d->newest : "(none)",
                          d->newest_guid, req->from_guid);
    }
    if (d->written_bytes != 0) {
        return zb_err_set(err, ZB_E_DIVERGED, "%s has " TERM " bytes written after %s",
                          rel_name(req->rel), d->written_bytes, d->newest);
    }
    return ZB_OK;
}

enum zb_rc
zb_rules_flavour(enum zb_conf_flavour flavour, bool raw, const char *what, struct zb_err *err)
{
    bool wants_raw = flavour == ZB_CONF_FLAVOUR_RAW;

    return raw == wants_raw
               ? ZB_OK
               : zb_err_set(err, ZB_E_MISMATCH, "%s is of flavour \"%s\", the service of \"%s\"",
                            what, raw ? "raw" : "plain", wants_raw ? "raw" : "plain");
}

enum zb_rc
zb_rules_receive_begin(const struct zb_kreq *req, uint64_t toguid, uint64_t fromguid,
                       struct zb_err *err)
{
    if (toguid != req->guid || fromguid != req->from_guid) {
        return zb_err_set(err, ZB_E_MISMATCH,
                          "the stream leads from " TERM " to " TERM ", announced was from " TERM
                          " to " TERM,
                          fromguid, toguid, req->from_guid, req->guid);
    }
    return ZB_OK;
}
