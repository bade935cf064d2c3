/* Refusals of EXPIRE: when a copy of another tool's snapshot is not zbaton's to destroy. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "keeper/rules_internal.h"

enum zb_rc
zb_rules_expire(const struct zb_keeper_record *r, const struct zb_kreq *req,
                const struct zb_keeper_facts *f, const struct zb_kdataset *d, struct zb_err *err)
{
    struct zb_set_id newest;
    enum zb_rc rc = zb_rules_led_by(r, req, err);

    if (rc == ZB_OK && (req->node[0] == '\0' || is_self(f, req->node))) {
        rc = zb_err_set(err, ZB_E_REFUSED, "this node leads: what is here is not a copy");
    }
    if (rc == ZB_OK) {
        rc = zb_rules_at_rest(f, err);
    }
    if (rc != ZB_OK) {
        return rc;
    }
    if (d == NULL) {
        return zb_err_set(err, ZB_E_NOTFOUND, "there is no such dataset");
    }
    if (!d->marked) { /* S9 */
        return zb_err_set(err, ZB_E_REFUSED, "%s does not carry the marks of this node",
                          rel_name(d->rel));
    }
    if (d->token[0] != '\0') { /* what it goes on from must stay */
        return zb_err_set(err, ZB_E_REFUSED, "%s has a part of a set", rel_name(d->rel));
    }
    if (d->written_bytes != 0 || !zb_set_name_parse(d->newest, &newest, NULL)) { /* S4 */
        return zb_err_set(err, ZB_E_DIVERGED, "%s has something after its newest set",
                          rel_name(d->rel));
    }
    if (!zb_lineage_has(&r->rec.lineage, newest)) {
        return zb_err_set(err, ZB_E_DIVERGED, "%s stands on %s, which %s's history does not have",
                          rel_name(d->rel), d->newest, req->node);
    }
    return ZB_OK;
}

bool
zb_rules_foreign_stays(const struct zb_rules_foreign *s, char *buf)
{
    struct zb_set_id id;
    const char *why = "";
    const char *what = "";

    if (zb_set_name_parse(s->name, &id, NULL)) { /* retention's */
        why = "a set";
    } else if (!s->received) { /* S9 */
        why = "not received by zbaton here";
    } else if (!s->is_older) {
        why = "newer than the newest set";
    } else if (s->hold[0] != '\0') {
        why = "held: ";
        what = s->hold;
    } else if (s->clone[0] != '\0') {
        why = "cloned: ";
        what = s->clone;
    }
    (void)snprintf(buf, ZB_FOREIGN_WHY_SIZE, "%s%.*s", why, ZB_DATASET_NAME_SIZE - 1, what);
    return why[0] != '\0';
}

void
zb_rules_received_format(const char *node, uint64_t pool_guid, char *buf)
{
    (void)snprintf(buf, ZB_RECEIVED_MARK_SIZE, "%s/%" PRIu64, node, pool_guid);
}
