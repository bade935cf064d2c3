#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/be.h"
#include "model.h"
#include "model_ops.h"

#define HEADER_SIZE 16 /* of a stream: guid, from_guid */

struct model_receive {
    struct model *m;
    struct model_receive *next;
    uv_poll_t poll;
    int fd;
    struct zb_kreq req;
    size_t size;
    uint8_t header[HEADER_SIZE];
};

uint64_t model_guid = 1000;

/* --- replies --- */

/* Nobody hears it any more. */
static bool
gone(const struct model *m)
{
    return m->faulted != 0 && m->fault >= MODEL_DROPS;
}

void
model_reply(struct model *m, const struct zb_krep *rep, int fd)
{
    struct zb_krep failed = {
        .id = rep->id, .op = rep->op, .rc = ZB_E_FAILED, .msg = "told to fail"};
    static uint8_t buf[4 + ZB_KMSG_MAX];
    union {
        struct cmsghdr header;
        uint8_t bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct zb_err err;
    size_t used = 0;
    if (gone(m)) {
        return;
    }
    if (rep->id == m->faulted) {
        rep = &failed;
    }
    assert_int_equal(zb_krep_encode(rep, buf + 4, ZB_KMSG_MAX, &used, &err), ZB_OK);
    zb_be32_put(buf, (uint32_t)used);
    struct iovec iov = {.iov_base = buf, .iov_len = used + 4};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd >= 0) {
        msg.msg_control = control.bytes;
        msg.msg_controllen = sizeof(control.bytes);
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.header), &fd, sizeof(int));
    }
    assert_int_equal(sendmsg(m->fd, &msg, MSG_NOSIGNAL), iov.iov_len);
}

void
model_refuse(struct zb_krep *rep, enum zb_rc rc, const char *msg)
{
    rep->rc = rc;
    (void)snprintf(rep->msg, sizeof(rep->msg), "%s", msg);
}

/* --- datasets --- */

struct model_dataset *
model_dataset_add(struct model *m, const char *uuid, const char *rel)
{
    assert_true(m->datasets_count < MODEL_DATASETS);
    struct model_dataset *d = &m->datasets[m->datasets_count++];
    memset(d, 0, sizeof(*d));
    zb_strcopy(d->uuid, sizeof(d->uuid), uuid);
    zb_strcopy(d->rel, sizeof(d->rel), rel);
    return d;
}

void
model_snap_add(struct model_dataset *d, const char *name, uint64_t guid)
{
    assert_true(d->snaps_count < MODEL_SNAPS);
    struct zb_ksnap *s = &d->snaps[d->snaps_count++];
    *s = (struct zb_ksnap){.guid = guid, .createtxg = d->snaps_count};
    zb_strcopy(s->name, sizeof(s->name), name);
}

struct model_dataset *
model_find(struct model *m, const char *rel)
{
    for (uint32_t i = 0; i < m->datasets_count; i++) {
        if (strcmp(m->datasets[i].rel, rel) == 0) {
            return &m->datasets[i];
        }
    }
    return NULL;
}

const struct model_dataset *
model_dataset_find(const struct model *m, const char *rel)
{
    return model_find((struct model *)(uintptr_t)m, rel);
}

uint64_t
model_newest_of(const struct model_dataset *d)
{
    return d != NULL && d->snaps_count > 0 ? d->snaps[d->snaps_count - 1].guid : 0;
}

uint64_t
model_newest(const struct model *m, const char *rel)
{
    return model_newest_of(model_dataset_find(m, rel));
}

static void
observe(struct model *m, struct zb_krep *rep)
{
    rep->record = m->record;
    rep->running = m->running;
    rep->mounted_here = m->mounted;
    rep->sealed = m->sealed;
    rep->pool_guid = m->pool_guid;
    rep->datasets_count = m->datasets_count;
    rep->datasets = calloc(MODEL_DATASETS, sizeof(*rep->datasets));
    for (uint32_t i = 0; i < m->datasets_count; i++) {
        const struct model_dataset *d = &m->datasets[i];
        struct zb_kdataset *to = &rep->datasets[i];
        zb_strcopy(to->uuid, sizeof(to->uuid), d->uuid);
        zb_strcopy(to->rel, sizeof(to->rel), d->rel);
        to->guid = i + 1;
        zb_strcopy(to->token, sizeof(to->token), d->token);
        bool mounted = m->mounted && !(m->unmounted_child && i + 1 == m->datasets_count);
        to->mount = mounted ? ZB_MOUNT_RW : ZB_MOUNT_NONE;
        to->marked = d->uuid[0] != '\0';
        to->written_bytes = !m->mounted ? m->changed_bytes : m->written ? 512 : 0;
        if (d->snaps_count > 0) {
            zb_strcopy(to->newest, sizeof(to->newest), d->snaps[d->snaps_count - 1].name);
            to->newest_guid = model_newest_of(d);
        }
    }
}

/* OBSERVE: as before, where it is. */
static void
look(struct model *m, const struct zb_kreq *req, struct zb_krep *rep)
{
    static uint8_t now[MODEL_LOOK];
    struct zb_krep seen = {.id = 1, .op = req->op};
    struct zb_err err;
    size_t size = 0;

    observe(m, &seen);
    assert_int_equal(zb_krep_encode(&seen, now, sizeof(now), &size, &err), ZB_OK);
    zb_krep_close(&seen);
    if (req->nonce != 0 && req->nonce == m->look && size == m->looked_size &&
        memcmp(now, m->looked, size) == 0) {
        rep->flags = ZB_KF_SAME;
        rep->nonce = req->nonce;
        m->sames++;
        return;
    }
    memcpy(m->looked, now, size);
    m->looked_size = size;
    observe(m, rep);
    rep->nonce = ++m->look;
}

static void
snaps(struct model *m, const struct zb_kreq *req, struct zb_krep *rep)
{
    const struct model_dataset *d = model_find(m, req->rel);
    if (d == NULL) {
        model_refuse(rep, ZB_E_NOTFOUND, "no such dataset");
        return;
    }
    rep->count = d->snaps_count;
    rep->snaps_count = d->snaps_count > req->count ? d->snaps_count - req->count : 0;
    rep->snaps_count = rep->snaps_count > 5 ? 5 : rep->snaps_count; /* in pages */
    rep->snaps = calloc(6, sizeof(*rep->snaps));
    for (uint32_t i = 0; i < rep->snaps_count; i++) {
        rep->snaps[i] = d->snaps[req->count + i];
    }
}

/* M6: no number twice. */
static bool
number_used(const struct model *m, const struct zb_kreq *req)
{
    struct zb_set_id id;
    for (uint32_t i = 0; i < m->datasets_count; i++) {
        const struct model_dataset *d = &m->datasets[i];
        for (uint32_t j = 0; j < d->snaps_count; j++) {
            if (zb_set_name_parse(d->snaps[j].name, &id, NULL) && id.term == req->term &&
                id.seq >= req->seq) {
                return true;
            }
        }
    }
    return false;
}

static void
snapshot(struct model *m, const struct zb_kreq *req, struct zb_krep *rep)
{
    char name[ZB_SNAP_NAME_SIZE];
    struct zb_err err;
    struct zb_manifest *out = &rep->manifest;
    struct zb_set_id id;
    if (number_used(m, req)) {
        model_refuse(rep, ZB_E_REFUSED, "the number is used");
        return;
    }
    assert_int_equal(zb_manifest_init(out, m->datasets_count, &err), ZB_OK);
    out->id = (struct zb_set_id){.term = req->term, .seq = req->seq};
    out->time.s = req->time_s;
    zb_set_name_format(out->id, out->time, name);
    for (uint32_t i = 0; i < m->datasets_count; i++) {
        struct model_dataset *d = &m->datasets[i];
        if (d->snaps_count > 0 &&
            !zb_set_name_parse(d->snaps[d->snaps_count - 1].name, &id, NULL)) {
            rep->foreign = 1;
        }
        model_snap_add(d, name, ++model_guid);
        zb_strcopy(out->entries[i].uuid, ZB_UUID_SIZE, d->uuid);
        zb_strcopy(out->entries[i].rel, ZB_REL_SIZE, d->rel);
        out->entries[i].guid = model_guid;
    }
    zb_manifest_sort(out);
    m->written = false;
}

/* --- streams --- */

static void
send_start(struct model *m, const struct zb_kreq *req, struct zb_krep *rep)
{
    const struct model_dataset *d = model_find(m, req->rel);
    static uint8_t zeros[1 << 16];
    uint8_t header[HEADER_SIZE];
    int fds[2];
    bool has = d != NULL && req->from_guid == 0;
    bool has_to = false;
    for (uint32_t i = 0; d != NULL && i < d->snaps_count; i++) {
        if (req->from_guid != 0 && d->snaps[i].guid == req->from_guid) {
            assert_string_equal(req->from_snap, d->snaps[i].name); /* else all are listed */
            has = true;
        }
        has_to =
            has_to || (d->snaps[i].guid == req->guid && strcmp(d->snaps[i].name, req->snap) == 0);
    }
    if (req->token[0] != '\0') {
        model_refuse(rep, ZB_E_MISMATCH, "the token belongs to another stream");
        return;
    }
    if (!has || !has_to) {
        model_refuse(rep, ZB_E_NOTFOUND, "no such snapshot");
        return;
    }
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    zb_be64_put(header, req->guid);
    zb_be64_put(header + 8, req->from_guid);
    assert_int_equal(write(fds[0], header, sizeof(header)), sizeof(header));
    assert_true(m->payload_bytes <= sizeof(zeros));
    assert_int_equal(write(fds[0], zeros, m->payload_bytes), m->payload_bytes);
    model_reply(m, &(struct zb_krep){.id = req->id, .op = req->op, .more = 1}, fds[1]);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

static void
on_receive_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void
receive_end(struct model_receive *v)
{
    struct model *m = v->m;
    struct zb_krep rep = {.id = v->req.id, .op = v->req.op};
    struct model_dataset *d = model_find(m, v->req.rel);
    if (v->size < HEADER_SIZE || zb_be64_get(v->header) != v->req.guid ||
        zb_be64_get(v->header + 8) != v->req.from_guid) {
        model_refuse(&rep, ZB_E_CLOSED, "the stream is cut");
    } else {
        if (d == NULL) {
            d = model_dataset_add(m, v->req.uuid, v->req.rel);
        }
        model_snap_add(d, v->req.snap, v->req.guid);
        d->token[0] = '\0';
        rep.guid = model_newest_of(d);
    }
    model_reply(m, &rep, -1);
    for (struct model_receive **at = &m->receives; *at != NULL; at = &(*at)->next) {
        if (*at == v) {
            *at = v->next;
            break;
        }
    }
    (void)uv_poll_stop(&v->poll);
    (void)close(v->fd);
    uv_close((uv_handle_t *)&v->poll, on_receive_closed);
}

static void
on_receive_readable(uv_poll_t *poll, int status, int events)
{
    struct model_receive *v = poll->data;
    uint8_t buf[4096];
    ssize_t n = recv(v->fd, buf, sizeof(buf), MSG_DONTWAIT);
    (void)status;
    (void)events;
    if (n < 0 && errno == EAGAIN) {
        return;
    }
    if (n <= 0) {
        receive_end(v);
        return;
    }
    for (ssize_t i = 0; i < n && v->size + (size_t)i < HEADER_SIZE; i++) {
        v->header[v->size + (size_t)i] = buf[i];
    }
    v->size += (size_t)n;
}

/* False: refused, in rep. */
static bool
receive_start(struct model *m, const struct zb_kreq *req, struct zb_krep *rep)
{
    struct model_dataset *d = model_find(m, req->rel);
    int fds[2];
    if (m->receive_fails_once != ZB_OK) {
        model_refuse(rep, m->receive_fails_once, "told to fail");
        m->receive_fails_once = ZB_OK;
        return false;
    }
    if (d != NULL && d->uuid[0] == '\0' && (req->flags & ZB_KF_ADOPT) != 0 &&
        model_newest_of(d) == req->from_guid) {
        zb_strcopy(d->uuid, sizeof(d->uuid), req->uuid);
    }
    if (req->term != m->record.learned_term || strcmp(req->node, m->record.learned_leader) != 0) {
        model_refuse(rep, ZB_E_REFUSED, "not the leader");
        return false;
    }
    if (model_newest_of(d) != req->from_guid || (d != NULL && strcmp(d->uuid, req->uuid) != 0)) {
        model_refuse(rep, ZB_E_DIVERGED, "not the base");
        return false;
    }
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    struct model_receive *v = calloc(1, sizeof(*v));
    *v = (struct model_receive){.m = m, .next = m->receives, .fd = fds[0], .req = *req};
    m->receives = v;
    v->poll.data = v;
    assert_int_equal(uv_poll_init(m->poll.loop, &v->poll, v->fd), 0);
    if (!m->receive_stalls &&
        (m->receive_stalls_at == NULL || strcmp(m->receive_stalls_at, req->rel) != 0)) {
        assert_int_equal(uv_poll_start(&v->poll, UV_READABLE | UV_DISCONNECT, on_receive_readable),
                         0);
    }
    model_reply(m, &(struct zb_krep){.id = req->id, .op = req->op, .more = 1}, fds[1]);
    (void)close(fds[1]);
    return true;
}

/* --- leading --- */

static void
learned(struct model *m, uint64_t term, const char *leader)
{
    m->record.learned_term = term;
    zb_strcopy(m->record.learned_leader, ZB_NODE_NAME_SIZE, leader);
    memset(m->record.suspects, 0, sizeof(m->record.suspects));
    zb_strcopy(m->record.suspects[0], ZB_NODE_NAME_SIZE, leader);
}

static void
granted(struct model *m, const struct zb_kreq *req)
{
    m->record.granted_term = req->term;
    zb_strcopy(m->record.granted_to, ZB_NODE_NAME_SIZE, req->node);
}

static void
lead(struct model *m, const struct zb_kreq *req, struct zb_krep *rep)
{
    switch (req->op) {
    case ZB_KOP_CREATE:
        if (m->datasets_count == 0) {
            (void)model_dataset_add(m, "00000000-0000-4000-8000-000000000001", "");
            (void)model_dataset_add(m, "00000000-0000-4000-8000-000000000002", "log");
        }
        break;
    case ZB_KOP_GRANT:
        if (req->term <= m->record.granted_term && strcmp(req->node, m->record.granted_to) != 0) {
            model_refuse(rep, ZB_E_STALE, "granted before");
            return;
        }
        granted(m, req);
        break;
    case ZB_KOP_LEARN:
        learned(m, req->term, req->node);
        break;
    case ZB_KOP_PROMOTE:
        m->record.established_term = req->term;
        learned(m, req->term, m->node);
        m->mounted = !m->mount_fails_once;
        m->sealed = false;
        if (m->mount_fails_once) {
            m->mount_fails_once = false;
            model_refuse(rep, ZB_E_FAILED, "told to fail");
            return;
        }
        break;
    case ZB_KOP_SEAL:
        m->mounted = false;
        m->sealed = true;
        break;
    case ZB_KOP_RELEASE:
        assert_true(m->sealed && !m->running);
        granted(m, req);
        m->record.released_term = req->term;
        zb_strcopy(m->record.released_to, ZB_NODE_NAME_SIZE, req->node);
        zb_manifest_ref(&req->manifest, &m->record.released_set);
        m->sealed = false;
        break;
    default: /* DEMOTE */
        m->mounted = false;
        m->running = false;
        break;
    }
    observe(m, rep);
}

/* One that has the name of another of the set is hidden, as the keeper's orphans are. */
static void
arrange(struct model *m, const struct zb_manifest *set)
{
    for (uint32_t i = 0; i < set->entries_count; i++) {
        struct model_dataset *d = model_find(m, set->entries[i].rel);
        if (d != NULL && d->uuid[0] != '\0' && strcmp(d->uuid, set->entries[i].uuid) != 0) {
            *d = m->datasets[--m->datasets_count];
        }
    }
}

void
model_request(struct model *m, const struct zb_kreq *req)
{
    struct zb_krep rep = {.id = req->id, .op = req->op};
    m->ops[req->op]++;
    switch (req->op) {
    case ZB_KOP_DEFINE:
        break;
    case ZB_KOP_CANCEL:
        if (req->target == m->fence_id && m->fence_id != 0) {
            model_fence_end(m, ZB_E_CANCELED);
        }
        break;
    case ZB_KOP_FENCE:
        model_fence(m, req);
        return;
    case ZB_KOP_NOTIFY:
        model_notify(m, req);
        return;
    case ZB_KOP_PRUNE:
        model_prune(m, req);
        rep.text = m->prune_asks != NULL ? strdup(m->prune_asks) : NULL;
        break;
    case ZB_KOP_OBSERVE:
        look(m, req, &rep);
        break;
    case ZB_KOP_RESCUE:
        model_rescue(m, req, &rep);
        break;
    case ZB_KOP_RESCUES:
        model_rescues(m, req, &rep);
        break;
    case ZB_KOP_PEEKS: /* there are none */
        break;
    case ZB_KOP_DRILL:
        if (m->drill_fails) {
            model_refuse(&rep, ZB_E_FAILED, "check: exit status 1");
        }
        break;
    case ZB_KOP_BLOCKERS:
        rep.text = m->blockers != NULL ? strdup(m->blockers) : NULL;
        break;
    case ZB_KOP_RESCUE_DROP:
        assert_string_equal(req->text, MODEL_RESCUE_NAME);
        break;
    case ZB_KOP_ARRANGE:
        arrange(m, &req->manifest);
        break;
    case ZB_KOP_SNAPS:
        snaps(m, req, &rep);
        break;
    case ZB_KOP_ESTIMATE:
        model_estimate(m, req, &rep);
        break;
    case ZB_KOP_SNAPSHOT:
        snapshot(m, req, &rep);
        break;
    case ZB_KOP_SEND:
        send_start(m, req, &rep);
        break;
    case ZB_KOP_RECEIVE:
        if (receive_start(m, req, &rep)) {
            return;
        }
        break;
    case ZB_KOP_START:
    case ZB_KOP_STOP:
        m->running = req->op == ZB_KOP_START && !m->no_runner;
        m->unmounted_child = false;
        rep.elapsed_ms = 7;
        break;
    case ZB_KOP_CHECK:
        rep.running = m->running;
        break;
    default:
        lead(m, req, &rep);
        break;
    }
    model_reply(m, &rep, -1);
    zb_krep_close(&rep);
}

static void
request_fault(struct model *m, const struct zb_kreq *req)
{
    bool piped = req->op == ZB_KOP_SEND || req->op == ZB_KOP_RECEIVE;
    bool done = m->fault == MODEL_UNSURE || m->fault == MODEL_BREAKS;
    m->faulted = req->id;
    if (done && !piped) {
        model_request(m, req);
    } else {
        model_reply(m, &(struct zb_krep){.id = req->id, .op = req->op}, -1);
    }
    if (gone(m)) {
        (void)shutdown(m->fd, SHUT_RDWR);
    }
}

static void
on_request(uv_poll_t *poll, int status, int events)
{
    struct model *m = poll->data;
    static uint8_t buf[ZB_KMSG_MAX];
    uint8_t length[4];
    struct zb_kreq req = {0};
    struct zb_err err;
    (void)status;
    (void)events;
    ssize_t n = recv(m->fd, length, sizeof(length), MSG_PEEK | MSG_DONTWAIT);
    if (n < 0) {
        return;
    }
    if (n < 4) {
        (void)uv_poll_stop(poll);
        return;
    }
    /* Requests are small here: the rest is in the socket already or comes at once. */
    (void)fcntl(m->fd, F_SETFL, 0);
    assert_int_equal(recv(m->fd, length, 4, MSG_WAITALL), 4);
    size_t size = zb_be32_get(length);
    assert_true(size <= sizeof(buf));
    assert_int_equal(recv(m->fd, buf, size, MSG_WAITALL), size);
    assert_int_equal(zb_kreq_decode(buf, size, &req, &err), ZB_OK);
    if (++m->requests == m->fault_at) {
        request_fault(m, &req);
    } else {
        model_request(m, &req);
    }
    zb_kreq_close(&req);
}

void
model_init(struct model *m, uv_loop_t *loop, const char *node, int fd)
{
    zb_strcopy(m->node, sizeof(m->node), node);
    m->fd = fd;
    m->payload_bytes = 3000;
    m->pool_guid = 77;
    m->poll.data = m;
    assert_int_equal(uv_poll_init(loop, &m->poll, fd), 0);
    assert_int_equal(uv_poll_start(&m->poll, UV_READABLE, on_request), 0);
}

void
model_close(struct model *m)
{
    while (m->receives != NULL) {
        struct model_receive *v = m->receives;
        m->receives = v->next;
        (void)uv_poll_stop(&v->poll);
        (void)close(v->fd);
        uv_close((uv_handle_t *)&v->poll, on_receive_closed);
    }
    (void)uv_poll_stop(&m->poll);
    (void)close(m->fd);
    uv_close((uv_handle_t *)&m->poll, NULL);
}
