#include "unit.h"

#include "model_ops.h"

/* --- rescues --- */

void
model_rescue(struct model *m, const struct zb_kreq *req, struct zb_krep *rep)
{
    uint32_t before = m->rescued;
    if (zb_manifest_find(&req->manifest, "") == NULL) {
        if ((req->flags & ZB_KF_WHOLE) == 0) {
            model_refuse(rep, ZB_E_NOTFOUND, "nothing in common");
            return;
        }
        m->rescued += m->datasets_count;
        m->datasets_count = 0;
    }
    for (uint32_t i = 0; m->datasets_count > 0 && i < req->manifest.entries_count; i++) {
        const struct zb_manifest_entry *e = &req->manifest.entries[i];
        struct model_dataset *d = model_find(m, e->rel);
        assert_non_null(d);
        while (model_newest_of(d) != e->guid) {
            assert_true(d->snaps_count > 0);
            d->snaps_count--;
            m->rescued++;
        }
    }
    rep->bytes = 4096;
    rep->text = m->rescued > before ? strdup(MODEL_RESCUE_NAME) : NULL;
}

void
model_rescues(const struct model *m, const struct zb_kreq *req, struct zb_krep *rep)
{
    rep->count = m->rescued > 0 ? 1 : 0;
    if (rep->count > 0 && req->count == 0) {
        rep->text = strdup("{\"name\":\"" MODEL_RESCUE_NAME "\",\"service\":\"web\",\"bytes\":4096,"
                           "\"created\":\"2026-11-22T06:41:00Z\",\"datasets\":[{\"rel\":\"\","
                           "\"fork\":\"zbaton-000001-00000007-20261122T064000Z\"}]}");
    }
}

/* --- the programs of the administrator --- */

void
model_notify_end(struct model *m, enum zb_rc rc)
{
    struct zb_krep rep = {.id = m->notify_id, .op = ZB_KOP_NOTIFY};
    assert_int_not_equal(m->notify_id, 0);
    m->notify_id = 0;
    if (rc != ZB_OK) {
        model_refuse(&rep, rc, "notify: exit status 1: no mail today");
    }
    model_reply(m, &rep, -1);
}

void
model_notify(struct model *m, const struct zb_kreq *req)
{
    assert_int_equal(m->notify_id, 0); /* never two at once */
    m->notify_id = req->id;
    m->notified++;
    (void)snprintf(m->notified_last, sizeof(m->notified_last), "%s %s %u: %s", req->service,
                   req->snap, (unsigned)req->count, req->text);
    if (!m->notify_stalls) {
        model_notify_end(m, m->notify_rc);
    }
}

void
model_fence_end(struct model *m, enum zb_rc rc)
{
    struct zb_krep rep = {.id = m->fence_id, .op = ZB_KOP_FENCE};
    assert_int_not_equal(m->fence_id, 0);
    m->fence_id = 0;
    if (rc != ZB_OK) {
        model_refuse(&rep, rc, "fence: exit status 1: no answer of the BMC");
    }
    model_reply(m, &rep, -1);
}

void
model_fence(struct model *m, const struct zb_kreq *req)
{
    assert_int_equal(m->fence_id, 0); /* never two at once */
    assert_string_not_equal(req->node, m->node);
    m->fence_id = req->id;
    m->fence = *req;
    m->fence.text = NULL;
    if (m->on_fence != NULL) {
        m->on_fence(m->on_fence_ctx, req);
    }
    if (!m->fence_stalls) {
        model_fence_end(m, m->fence_rc);
    }
}

/* --- pruning --- */

void
model_prune(struct model *m, const struct zb_kreq *req)
{
    m->floor = (struct zb_set_id){req->base_term, req->base_seq};
    m->floor_way = (struct zb_set_id){req->term, req->seq};
    if (req->text != NULL) {
        (void)snprintf(m->prune_text, sizeof(m->prune_text), "%s", req->text);
    }
}

/* --- how much is sent --- */

void
model_estimate(struct model *m, const struct zb_kreq *req, struct zb_krep *rep)
{
    const struct model_dataset *d = model_find(m, req->rel);
    uint32_t end = 0;
    while (d != NULL && end < d->snaps_count && d->snaps[end].guid != req->guid) {
        end++;
    }
    if (d == NULL || end == d->snaps_count || req->count == 0 || req->count > end + 1) {
        model_refuse(rep, ZB_E_NOTFOUND, "no such snapshots");
        return;
    }
    uint32_t first = end + 1 - req->count;
    bool based = req->from_guid == 0 || (first > 0 && d->snaps[first - 1].guid == req->from_guid);
    if (!based || m->estimate_bytes == 0) {
        model_refuse(rep, ZB_E_UNSUPPORTED, "the base is no snapshot before them");
        return;
    }
    rep->bytes = req->count * m->estimate_bytes;
}
