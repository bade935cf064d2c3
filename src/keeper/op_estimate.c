#include <stdio.h>

#include "keeper/internal.h"

/* The snapshots that the streams make are the last `count` up to the one with req's guid; *first of
 * them. */
static enum zb_rc
span_find(const struct zb_kreq *req, const struct zb_zfs_snaps *list, size_t *first,
          struct zb_err *err)
{
    const struct zb_zfs_snap *to = zb_zfs_snaps_find_guid(list, req->guid);
    size_t end = to != NULL ? (size_t)(to - list->snaps) : 0;

    if (to == NULL || req->count == 0 || req->count > end + 1) {
        return zb_err_set(err, ZB_E_NOTFOUND, "the snapshots of the streams are not all there");
    }
    size_t begin = end + 1 - req->count;
    if (req->from_guid != 0 && (begin == 0 || list->snaps[begin - 1].guid != req->from_guid)) {
        return zb_err_set(err, ZB_E_UNSUPPORTED, "the base is no snapshot before them");
    }
    *first = begin;
    return ZB_OK;
}

/* What of the first stream is there already: a wrong number in a token, which may come from another
 * host, makes the estimate wrong and nothing else. */
static uint64_t
bytes_there(const struct zb_kreq *req, uint64_t first_guid)
{
    struct zb_zfs_token token;
    struct zb_err ignored;

    return req->token[0] != '\0' && zb_zfs_token_decode(req->token, &token, &ignored) == ZB_OK &&
                   token.toguid == first_guid
               ? token.bytes
               : 0;
}

static enum zb_rc
span_sum(const struct zb_kreq *req, const char *dataset, const struct zb_zfs_snaps *list,
         uint64_t *bytes, struct zb_err *err)
{
    char names[2][2 * ZB_DATASET_NAME_SIZE];
    uint64_t sum = 0;
    size_t first = 0;
    enum zb_rc rc = span_find(req, list, &first, err);

    for (size_t i = first; rc == ZB_OK && i < first + req->count; i++) {
        const char *from = NULL;
        uint64_t one = 0;
        if (i > first || req->from_guid != 0) {
            (void)snprintf(names[0], sizeof names[0], "%s@%s", dataset, list->snaps[i - 1].name);
            from = names[0];
        }
        (void)snprintf(names[1], sizeof names[1], "%s@%s", dataset, list->snaps[i].name);
        rc = zb_zfs_send_space(names[1], from, &one, err);
        sum += one;
    }
    if (rc == ZB_OK) {
        uint64_t there = bytes_there(req, list->snaps[first].guid);
        *bytes = sum > there ? sum - there : 0;
    }
    return rc;
}

enum zb_rc
zb_keeper_op_estimate(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    struct zb_zfs_snaps list = {0};
    char dataset[ZB_DATASET_NAME_SIZE];
    enum zb_rc rc = zb_keeper_dataset_name(k, job->req.service, job->req.rel, dataset, err);

    if (rc == ZB_OK) {
        rc = zb_zfs_snaps_list(dataset, &list, err);
    }
    if (rc == ZB_OK) {
        rc = span_sum(&job->req, dataset, &list, &job->rep.bytes, err);
    }
    zb_zfs_snaps_close(&list);
    return rc;
}
