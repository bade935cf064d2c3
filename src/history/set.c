#include "history/history.h"

#include <assert.h>
#include <stdlib.h>

#include "history/statement.h"
#include "wire/manifest.h"

enum zb_rc
zb_history_set_put(struct zb_history *h, const char *service, const struct zb_manifest *manifest,
                   struct zb_err *err)
{
    struct zb_statement s = zb_statement_begin(h, ZB_SQL_SET_PUT);
    struct zb_set_ref ref;
    size_t used = 0;
    uint8_t *blob = malloc(ZB_WIRE_MANIFEST_MAX);

    if (blob == NULL) {
        return zb_err_set(err, ZB_E_NOMEM, "history %s: out of memory", h->path);
    }
    assert(zb_manifest_valid(manifest));
    enum zb_rc rc = zb_wire_manifest_encode(manifest, blob, ZB_WIRE_MANIFEST_MAX, &used, err);
    if (rc == ZB_OK) {
        zb_manifest_ref(manifest, &ref);
        zb_statement_text(&s, service, ZB_SERVICE_NAME_SIZE);
        zb_statement_ref(&s, &ref);
        zb_statement_i64(&s, manifest->time.s);
        zb_statement_blob(&s, blob, used);
        rc = zb_statement_run(&s, err);
    }
    free(blob);
    return rc;
}

/* What a row says of itself, and the manifest that is in it. */
struct stored {
    struct zb_set_ref ref;
    struct zb_manifest manifest;
    enum zb_rc rc; /* of decoding, with err */
    struct zb_err err;
};

static void
stored_take(struct zb_statement *s, void *item)
{
    struct stored *stored = item;
    size_t size;

    zb_column_ref(s, &stored->ref);
    const void *blob = zb_column_blob(s, &size);
    stored->rc = zb_wire_manifest_decode(blob, size, &stored->manifest, &stored->err);
}

/* Runs a statement that selects one set, and proves that the manifest is the set's. */
static enum zb_rc
manifest_one(struct zb_statement *s, struct zb_manifest *out, struct zb_err *err)
{
    struct stored stored = {0};
    struct zb_set_ref ref;
    enum zb_rc rc = zb_statement_one(s, stored_take, &stored, err);

    if (rc == ZB_OK && stored.rc != ZB_OK) {
        *err = stored.err;
        rc = zb_err_wrap(err, "history %s: stored manifest", s->h->path);
    }
    if (rc == ZB_OK) {
        zb_manifest_ref(&stored.manifest, &ref);
        if (!zb_set_ref_equal(&ref, &stored.ref)) {
            rc = zb_err_set(err, ZB_E_FORMAT, "history %s: a manifest does not have its digest",
                            s->h->path);
        }
    }
    if (rc != ZB_OK) {
        zb_manifest_close(&stored.manifest);
        return rc;
    }
    *out = stored.manifest;
    return ZB_OK;
}

enum zb_rc
zb_history_set_get(struct zb_history *h, const char *service, struct zb_set_id id,
                   struct zb_manifest *out, struct zb_err *err)
{
    struct zb_statement s = zb_statement_begin(h, ZB_SQL_SET_GET);

    zb_statement_text(&s, service, ZB_SERVICE_NAME_SIZE);
    zb_statement_u64(&s, id.term);
    zb_statement_u64(&s, id.seq);
    return manifest_one(&s, out, err);
}

static void
set_take(struct zb_statement *s, void *item)
{
    struct zb_history_set *set = item;

    zb_column_ref(s, &set->ref);
    set->time.s = zb_column_i64(s);
}

enum zb_rc
zb_history_sets_list(struct zb_history *h, const char *service, uint32_t limit,
                     struct zb_history_set **items, uint32_t *count, struct zb_err *err)
{
    struct zb_statement s = zb_statement_begin(h, ZB_SQL_SETS_LIST);
    void *rows = NULL;

    zb_statement_text(&s, service, ZB_SERVICE_NAME_SIZE);
    zb_statement_u64(&s, limit);
    enum zb_rc rc = zb_statement_all(&s, sizeof **items, set_take, &rows, count, err);
    if (rc == ZB_OK) {
        *items = rows;
    }
    return rc;
}

/* What is between the two, which stay. */
static enum zb_rc
sets_delete(struct zb_history *h, const char *service, struct zb_set_id above,
            struct zb_set_id below, struct zb_err *err)
{
    struct zb_statement s = zb_statement_begin(h, ZB_SQL_SETS_PRUNE);

    zb_statement_text(&s, service, ZB_SERVICE_NAME_SIZE);
    zb_statement_u64(&s, above.term);
    zb_statement_u64(&s, above.seq);
    zb_statement_u64(&s, below.term);
    zb_statement_u64(&s, below.seq);
    return zb_statement_run(&s, err);
}

enum zb_rc
zb_history_sets_prune(struct zb_history *h, const char *service, struct zb_set_id id,
                      const struct zb_set_id *keep, uint32_t count, struct zb_err *err)
{
    struct zb_set_id above = {0}; /* no set has it */
    enum zb_rc rc = ZB_OK;

    for (uint32_t i = 0; i < count && rc == ZB_OK && zb_set_id_cmp(keep[i], id) < 0; i++) {
        rc = sets_delete(h, service, above, keep[i], err);
        above = keep[i];
    }
    return rc == ZB_OK ? sets_delete(h, service, above, id, err) : rc;
}

enum zb_rc
zb_history_service_forget(struct zb_history *h, const char *service, struct zb_err *err)
{
    static const int statements[] = {ZB_SQL_FORGET_SETS, ZB_SQL_FORGET_TERMS,
                                     ZB_SQL_FORGET_POSITIONS, ZB_SQL_FORGET_RECORDS};
    enum zb_rc rc = zb_history_begin(h, err);

    for (size_t i = 0; rc == ZB_OK && i < sizeof(statements) / sizeof(statements[0]); i++) {
        struct zb_statement s = zb_statement_begin(h, statements[i]);
        zb_statement_text(&s, service, ZB_SERVICE_NAME_SIZE);
        rc = zb_statement_run(&s, err);
    }
    if (rc == ZB_OK) {
        rc = zb_history_commit(h, err);
    } else {
        zb_history_rollback(h);
    }
    return rc;
}
