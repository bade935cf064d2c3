#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "keeper/copies.h"
#include "wire/record.h"

#define BUFFER_BYTES (1 << 20)

_Static_assert(ZB_ZFS_BEGIN_SIZE == ZB_STREAM_BEGIN_SIZE, "one begin record");

/*
 * Opens the way of a stream and hands the engine its end. A socket pair, not a pipe: shutdown(2)
 * from any thread ends the kernel's call at once, whatever the engine does with its end.
 */
static enum zb_rc
transfer_begin(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    struct zb_krep more = {.id = job->req.id, .op = job->req.op, .more = 1};
    const int bytes = BUFFER_BYTES;
    int pair[2];
    bool canceled;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        return zb_err_sys(err, errno, "socketpair");
    }
    for (int i = 0; i < 2; i++) {
        (void)setsockopt(pair[i], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes));
    }
    (void)pthread_mutex_lock(&k->lock);
    canceled = job->canceled;
    if (!canceled) {
        job->transfer_fd = pair[0];
    }
    (void)pthread_mutex_unlock(&k->lock);
    if (canceled) {
        (void)close(pair[0]);
        (void)close(pair[1]);
        return zb_err_set(err, ZB_E_CANCELED, "canceled before it began");
    }
    zb_keeper_reply(k, job->generation, &more, pair[1]);
    return ZB_OK;
}

/* Closes the kernel's end. A call that was ended by CANCEL says so. */
static enum zb_rc
transfer_end(struct zb_keeper *k, struct zb_keeper_job *job, enum zb_rc rc, struct zb_err *err)
{
    int fd;
    bool canceled;

    (void)pthread_mutex_lock(&k->lock);
    fd = job->transfer_fd;
    job->transfer_fd = -1;
    canceled = job->canceled;
    (void)pthread_mutex_unlock(&k->lock);
    if (fd >= 0) {
        (void)close(fd);
    }
    return rc != ZB_OK && canceled ? zb_err_set(err, ZB_E_CANCELED, "canceled") : rc;
}

/* ---- SEND ---- */

/* Whether the base has the name that the engine knows it by. */
static bool
base_is_named(const char *dataset, const struct zb_kreq *req, char *from)
{
    const char *names[1] = {from};
    uint64_t guid = 0;
    struct zb_err ignored;

    return req->from_snap[0] != '\0' &&
           (size_t)snprintf(from, ZB_DATASET_NAME_SIZE, "%s@%s", dataset, req->from_snap) <
               ZB_DATASET_NAME_SIZE &&
           zb_zfs_guids(names, 1, &guid, &ignored) == ZB_OK && guid == req->from_guid;
}

/* The name of the base: a snapshot of this dataset, or else a bookmark. */
static enum zb_rc
base_find(const char *dataset, uint64_t guid, char *from, struct zb_err *err)
{
    struct zb_zfs_snaps list = {0};
    const struct zb_zfs_snap *found;
    char sign = '@';
    enum zb_rc rc = zb_zfs_snaps_list(dataset, &list, err);

    if (rc != ZB_OK) {
        return rc;
    }
    found = zb_zfs_snaps_find_guid(&list, guid);
    if (found == NULL) {
        zb_zfs_snaps_close(&list);
        rc = zb_zfs_bookmarks_list(dataset, &list, err);
        if (rc != ZB_OK) {
            return rc;
        }
        found = zb_zfs_snaps_find_guid(&list, guid);
        sign = '#';
    }
    if (found == NULL) {
        rc = zb_err_set(err, ZB_E_NOTFOUND, "%s has no snapshot or bookmark with guid %llu",
                        dataset, (unsigned long long)guid);
    } else if ((size_t)snprintf(from, ZB_DATASET_NAME_SIZE, "%s%c%s", dataset, sign, found->name) >=
               ZB_DATASET_NAME_SIZE) {
        rc = zb_err_set(err, ZB_E_LIMIT, "name of the base of %s is too long", dataset);
    }
    zb_zfs_snaps_close(&list);
    return rc;
}

/* A token may come from another host: it only says where to go on, never what is sent. */
static enum zb_rc
resume_fill(const struct zb_keeper_job *job, struct zb_zfs_send *send, struct zb_err *err)
{
    const struct zb_kreq *req = &job->req;
    struct zb_zfs_token token;
    enum zb_rc rc = zb_zfs_token_decode(req->token, &token, err);

    if (rc != ZB_OK) {
        return rc;
    }
    if (token.toguid != req->guid || token.fromguid != req->from_guid) {
        return zb_err_set(err, ZB_E_MISMATCH, "the token belongs to another stream");
    }
    rc = zb_rules_flavour(job->conf.flavour, token.raw, "the token", err);
    if (rc != ZB_OK) {
        return rc;
    }
    send->resume_object = token.object;
    send->resume_offset = token.offset;
    return ZB_OK;
}

/* What is of the raw flavour does not leave in clear, whatever the declaration says now. */
static enum zb_rc
flavour_prove(const char *dataset, enum zb_conf_flavour flavour, struct zb_err *err)
{
    struct zb_zfs_props props = {0};
    enum zb_rc rc = zb_zfs_props_get(dataset, &props, err);

    rc = rc == ZB_OK ? zb_keeper_copy_check(flavour, &props, err) : rc;
    zb_zfs_props_close(&props);
    return rc;
}

static enum zb_rc
send_prepare(struct zb_keeper *k, const struct zb_keeper_job *job, char *snap, char *from,
             struct zb_zfs_send *send, struct zb_err *err)
{
    const struct zb_kreq *req = &job->req;
    char dataset[ZB_DATASET_NAME_SIZE];
    const char *names[1] = {snap};
    uint64_t guid = 0;
    enum zb_rc rc = zb_keeper_dataset_name(k, req->service, req->rel, dataset, err);

    if (rc != ZB_OK) {
        return rc;
    }
    rc = flavour_prove(dataset, job->conf.flavour, err);
    if (rc != ZB_OK) {
        return rc;
    }
    if (req->snap[0] == '\0' || req->guid == 0 ||
        (size_t)snprintf(snap, ZB_DATASET_NAME_SIZE, "%s@%s", dataset, req->snap) >=
            ZB_DATASET_NAME_SIZE) {
        return zb_err_set(err, ZB_E_USAGE, "a snapshot's name and guid are wanted");
    }
    rc = zb_zfs_guids(names, 1, &guid, err);
    if (rc == ZB_OK && guid != req->guid) {
        rc = zb_err_set(err, ZB_E_MISMATCH, "guid of %s is %llu, not %llu", snap,
                        (unsigned long long)guid, (unsigned long long)req->guid);
    }
    if (rc == ZB_OK && req->from_guid != 0 && !base_is_named(dataset, req, from)) {
        rc = base_find(dataset, req->from_guid, from, err);
    }
    *send = (struct zb_zfs_send){.snap = snap,
                                 .from = req->from_guid != 0 ? from : NULL,
                                 .raw = job->conf.flavour == ZB_CONF_FLAVOUR_RAW};
    if (rc == ZB_OK && req->token[0] != '\0') {
        rc = resume_fill(job, send, err);
    }
    return rc;
}

enum zb_rc
zb_keeper_op_send(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    char snap[ZB_DATASET_NAME_SIZE];
    char from[ZB_DATASET_NAME_SIZE];
    struct zb_zfs_send send;
    enum zb_rc rc = zb_keeper_aside_check(k, job, zb_keeper_asides(k, job->service), err);

    if (rc == ZB_OK) {
        rc = send_prepare(k, job, snap, from, &send, err);
    }
    if (rc == ZB_OK) {
        rc = transfer_begin(k, job, err);
    }
    if (rc != ZB_OK) {
        return rc;
    }
    send.fd = job->transfer_fd;
    rc = zb_zfs_send(&send, err);
    return transfer_end(k, job, rc, err);
}

/* ---- RECEIVE ---- */

/* A partial receive in the way: gone on with when the sender resumes exactly it, else thrown away.
 */
static enum zb_rc
partial_settle(const struct zb_kreq *req, const struct zb_keeper_view *view,
               const struct zb_kdataset *d, bool *resumes, bool *aborted, struct zb_err *err)
{
    const struct zb_zfs_props *props = view->props[d - view->datasets];
    struct zb_zfs_token token;

    *resumes = false;
    *aborted = false;
    if (props->token[0] == '\0' && !props->inconsistent) {
        return ZB_OK;
    }
    if (req->token[0] != '\0' && strcmp(props->token, req->token) == 0 &&
        zb_zfs_token_decode(props->token, &token, err) == ZB_OK && token.toguid == req->guid &&
        token.fromguid == req->from_guid) {
        *resumes = true;
        return ZB_OK;
    }
    if (!zb_keeper_is_own(view, d)) { /* S9 */
        return zb_err_set(err, ZB_E_REFUSED,
                          "a partial receive that may not be zbaton's is in the way: %s",
                          props->name);
    }
    zb_log_info("%s: throwing a partial receive away", props->name);
    *aborted = true;
    return zb_zfs_receive_abort(props->name, err);
}

/* Whether d is a copy that shares its newest snapshot with the sender and belongs to nobody yet. */
static bool
is_adoptable(const struct zb_kreq *req, const struct zb_kdataset *d,
             const struct zb_zfs_props *props)
{
    return (req->flags & ZB_KF_ADOPT) != 0 && req->from_guid != 0 && d->uuid[0] == '\0' &&
           !d->marked && d->newest_guid == req->from_guid && d->written_bytes == 0 &&
           zb_zfs_props_local(props, "zbaton:service") == NULL;
}

static enum zb_rc
copy_adopt(struct zb_keeper *k, const struct zb_keeper_job *job, struct zb_keeper_view *view,
           const struct zb_kdataset *d, struct zb_err *err)
{
    const struct zb_kreq *req = &job->req;
    struct zb_keeper_mark mark = {.service = req->service,
                                  .node = k->conf->node,
                                  .uuid = req->uuid,
                                  .cluster = "",
                                  .pool_guid = view->pool_guid,
                                  .raw = job->conf.flavour == ZB_CONF_FLAVOUR_RAW};
    enum zb_rc rc = zb_keeper_adopt(view->props[d - view->datasets], &mark, d->rel[0] == '\0', err);

    if (rc != ZB_OK) {
        return rc;
    }
    zb_keeper_view_close(view);
    rc = zb_keeper_view_open(k, req->service, view, err);
    if (rc == ZB_OK) {
        zb_keeper_written_prove(k, view, req->rel, true);
    }
    return rc;
}

/* All that is decided before the engine gets its end. */
static enum zb_rc
receive_check(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_keeper_view *view,
              bool *resumes, struct zb_err *err)
{
    struct zb_keeper_record r;
    struct zb_keeper_facts facts;
    const struct zb_kdataset *d;
    bool aborted = false;
    enum zb_rc rc = zb_keeper_facts(k, job, view, false, &facts, err);

    zb_keeper_record_copy(k, job->service, &r);
    if (rc == ZB_OK) {
        rc = zb_rules_receive(&r, &job->req, &facts, err);
    }
    d = rc == ZB_OK ? zb_keeper_view_find(view, job->req.rel) : NULL;
    if (d != NULL) {
        rc = partial_settle(&job->req, view, d, resumes, &aborted, err);
    }
    if (rc == ZB_OK && aborted) {
        zb_keeper_view_close(view);
        rc = zb_keeper_view_open(k, job->req.service, view, err);
    }
    if (rc != ZB_OK) {
        return rc;
    }
    zb_keeper_written_prove(k, view, job->req.rel, true);
    d = zb_keeper_view_find(view, job->req.rel);
    if (d != NULL && view->props[d - view->datasets]->inconsistent) {
        d = NULL; /* the beginning of this very full stream */
    }
    rc = d != NULL ? zb_keeper_copy_check(job->conf.flavour, view->props[d - view->datasets], err)
                   : ZB_OK;
    if (rc != ZB_OK) {
        return rc;
    }
    if (d != NULL && is_adoptable(&job->req, d, view->props[d - view->datasets])) {
        rc = copy_adopt(k, job, view, d, err);
        d = rc == ZB_OK ? zb_keeper_view_find(view, job->req.rel) : NULL;
        if (rc != ZB_OK) {
            return rc;
        }
    }
    rc = zb_rules_receive_dataset(&job->req, d, err);
    if (rc == ZB_OK && d != NULL) {
        rc = zb_keeper_rest_set(view->props[d - view->datasets], d->rel[0] == '\0', false, err);
    }
    return rc;
}

/* Where the first copy came from, it goes on from; another one begins anew. */
static void
copier_remember(struct zb_keeper *k, const struct zb_keeper_job *job)
{
    struct zb_keeper_service *s = job->service;

    (void)pthread_mutex_lock(&k->lock);
    zb_strcopy(s->copier, sizeof(s->copier), job->req.node);
    s->copier_term = job->req.term;
    (void)pthread_mutex_unlock(&k->lock);
}

/* The stream itself: its begin record first, then the kernel, then what the pool says. */
static enum zb_rc
receive_run(struct zb_keeper_job *job, struct zb_zfs_receive *receive,
            const struct zb_keeper_mark *mark, struct zb_err *err)
{
    uint8_t begin[ZB_ZFS_BEGIN_SIZE];
    struct zb_keeper_new_props props = {0};
    struct zb_stream_begin parsed;
    const char *names[1] = {receive->snap};
    enum zb_rc rc = zb_zfs_begin_read(receive->fd, begin, err);

    if (rc == ZB_OK) {
        rc = zb_stream_begin_parse(begin, &parsed, err);
    }
    if (rc == ZB_OK) {
        rc = zb_rules_receive_begin(&job->req, parsed.toguid, parsed.fromguid, err);
    }
    if (rc == ZB_OK) {
        rc = zb_rules_flavour(job->conf.flavour, parsed.raw, "the stream", err);
        receive->raw = parsed.raw;
    }
    if (rc == ZB_OK && job->req.from_guid == 0) {
        zb_keeper_new_props_fill(&props, mark, job->req.rel[0] == '\0',
                                 parsed.volume ? ZB_ZFS_VOLUME : ZB_ZFS_FILESYSTEM);
        receive->props = props.props;
        receive->props_count = props.count;
    }
    if (rc == ZB_OK) {
        receive->begin = begin;
        rc = zb_zfs_receive(receive, &job->rep.bytes, err);
        receive->begin = NULL;
        receive->props = NULL;
    }
    if (rc == ZB_OK) { /* S7 */
        rc = zb_zfs_guids(names, 1, &job->rep.guid, err);
    }
    if (rc == ZB_OK && job->rep.guid != job->req.guid) {
        rc = zb_err_set(err, ZB_E_MISMATCH, "%s has guid %llu, planned was %llu", receive->snap,
                        (unsigned long long)job->rep.guid, (unsigned long long)job->req.guid);
    }
    return rc;
}

enum zb_rc
zb_keeper_op_receive(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    struct zb_keeper_view view = {0};
    struct zb_keeper_mark mark = {.service = job->req.service,
                                  .node = k->conf->node,
                                  .uuid = job->req.uuid,
                                  .cluster = "",
                                  .raw = job->conf.flavour == ZB_CONF_FLAVOUR_RAW};
    char dataset[ZB_DATASET_NAME_SIZE];
    char snap[ZB_DATASET_NAME_SIZE];
    struct zb_zfs_receive receive = {.snap = snap, .resumable = true};
    bool resumes = false;
    enum zb_rc rc = zb_keeper_dataset_name(k, job->req.service, job->req.rel, dataset, err);

    if (rc == ZB_OK &&
        (size_t)snprintf(snap, sizeof(snap), "%s@%s", dataset, job->req.snap) >= sizeof(snap)) {
        rc = zb_err_set(err, ZB_E_LIMIT, "name of %s@%s is too long", dataset, job->req.snap);
    }
    if (rc == ZB_OK) {
        rc = zb_keeper_view_open(k, job->req.service, &view, err);
    }
    if (rc != ZB_OK) {
        return rc;
    }
    rc = receive_check(k, job, &view, &resumes, err);
    if (rc == ZB_OK && (job->req.flags & ZB_KF_COPY) != 0) {
        copier_remember(k, job);
    }
    mark.pool_guid = view.pool_guid;
    zb_keeper_view_close(&view);
    if (rc == ZB_OK) {
        rc = transfer_begin(k, job, err);
    }
    if (rc != ZB_OK) {
        return rc;
    }
    receive.fd = job->transfer_fd;
    rc = receive_run(job, &receive, &mark, err);
    if (rc == ZB_OK) {
        zb_keeper_copy_received(snap, job->rep.guid);
    }
    return transfer_end(k, job, rc, err);
}
