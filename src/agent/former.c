#include "agent/former.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/config_store.h"
#include "core/core.h"
#include "history/history.h"

#define SETS_MAX 256 /* newest ones of a service: as many as are compared with a disk */

static void
term_add(struct zb_former *former, uint64_t term)
{
    former->term = term > former->term ? term : former->term;
}

static enum zb_rc
service_terms(struct zb_history *h, const char *service, struct zb_former *former,
              struct zb_err *err)
{
    struct zb_history_term *terms = NULL;
    struct zb_history_position *positions = NULL;
    struct zb_history_record *records = NULL;
    uint32_t count = 0;
    enum zb_rc rc = zb_history_terms_list(h, service, 1, &terms, &count, err);

    for (uint32_t i = 0; rc == ZB_OK && i < count; i++) {
        term_add(former, terms[i].term);
    }
    if (rc == ZB_OK) {
        rc = zb_history_positions_list(h, service, ZB_NODES_MAX, &positions, &count, err);
    }
    for (uint32_t i = 0; rc == ZB_OK && i < count; i++) {
        term_add(former, positions[i].set.id.term);
    }
    if (rc == ZB_OK) {
        rc = zb_history_records_list(h, service, ZB_PEERS_MAX, &records, &count, err);
    }
    for (uint32_t i = 0; rc == ZB_OK && i < count; i++) {
        term_add(former, records[i].granted_term);
        term_add(former, records[i].learned_term);
    }
    free(terms);
    free(positions);
    free(records);
    return rc;
}

enum zb_rc
zb_former_load(const char *path, struct zb_former *former, struct zb_err *err)
{
    struct zb_history *h = NULL;
    struct zb_config_store store = {0};
    enum zb_rc rc;

    if (access(path, F_OK) != 0) {
        return errno == ENOENT ? zb_err_set(err, ZB_E_NOTFOUND, "%s does not exist", path)
                               : zb_err_sys(err, errno, "%s", path);
    }
    rc = zb_history_open_existing(path, &h, err);
    if (rc == ZB_OK) {
        rc = zb_config_store_load(h, &store, err);
    }
    if (rc == ZB_OK && store.committed_text != NULL) {
        rc = zb_config_doc_parse(store.committed_text, &former->doc, err);
    }
    for (uint32_t i = 0; rc == ZB_OK && i < former->doc.services.count; i++) {
        rc = service_terms(h, former->doc.services.items[i].name, former, err);
    }
    term_add(former, former->doc.recovered.term);
    zb_config_store_close(&store);
    zb_history_close(h);
    return rc;
}

/* --- sets --- */

enum zb_rc
zb_former_sets_each(const char *path, const char *service,
                    enum zb_rc (*take)(void *ctx, const char *service, const struct zb_manifest *m,
                                       struct zb_err *err),
                    void *ctx, struct zb_err *err)
{
    struct zb_history *h = NULL;
    struct zb_history_set *sets = NULL;
    uint32_t count = 0;
    enum zb_rc rc = zb_history_open_existing(path, &h, err);

    if (rc == ZB_OK) {
        rc = zb_history_sets_list(h, service, SETS_MAX, &sets, &count, err);
    }
    for (uint32_t i = 0; rc == ZB_OK && i < count; i++) {
        struct zb_manifest m = {0};
        rc = zb_history_set_get(h, service, sets[i].ref.id, &m, err);
        if (rc == ZB_OK) {
            rc = take(ctx, service, &m, err);
            zb_manifest_close(&m);
        }
    }
    free(sets);
    zb_history_close(h);
    return rc;
}

static enum zb_rc
set_put(void *ctx, const char *service, const struct zb_manifest *m, struct zb_err *err)
{
    return zb_history_set_put(ctx, service, m, err);
}

enum zb_rc
zb_former_sets_copy(const char *from, const char *to, const struct zb_recovered *services,
                    struct zb_err *err)
{
    struct zb_history *h = NULL;
    enum zb_rc rc = zb_history_open(to, &h, err);

    if (rc == ZB_OK) {
        rc = zb_history_begin(h, err);
    }
    if (rc == ZB_OK) {
        for (uint32_t i = 0; rc == ZB_OK && i < services->count; i++) {
            rc = zb_former_sets_each(from, services->services[i], set_put, h, err);
        }
        if (rc == ZB_OK) {
            rc = zb_history_commit(h, err);
        } else {
            zb_history_rollback(h);
        }
    }
    zb_history_close(h);
    return rc;
}

void
zb_former_close(struct zb_former *former)
{
    zb_config_doc_close(&former->doc);
    *former = (struct zb_former){0};
}
