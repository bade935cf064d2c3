#include "agent/memo.h"

#include "agent/internal.h"
#include "agent/must.h"

enum kind { KIND_SET = 1, KIND_TERM, KIND_POSITION, KIND_RECORD, KIND_EVENT, KIND_PRUNE };

struct entry {
    enum kind kind;
    char service[ZB_SERVICE_NAME_SIZE];
    union {
        struct zb_manifest set;
        struct zb_history_term term;
        struct zb_history_position position;
        struct zb_history_record record;
        struct zb_history_event event;
        struct {
            struct zb_set_id below;
            uint32_t keep_count;
            struct zb_set_id keep[ZB_LABELS_MAX];
        } prune;
    } u;
    int64_t event_id;
    struct entry *next;
};

struct zb_memo {
    struct zb_agent *a;
    uv_timer_t timer;
    uint32_t count;
    struct entry *head;
    struct entry **tail;
};

static void
on_timer(uv_timer_t *timer)
{
    struct zb_memo *m = timer->data;
    zb_agent_flush(m->a);
}

struct zb_memo *
zb_memo_new(struct zb_agent *a)
{
    struct zb_memo *m = zb_must_alloc(1, sizeof(*m));
    m->a = a;
    m->tail = &m->head;
    m->timer.data = m;
    (void)uv_timer_init(&a->loop, &m->timer);
    return m;
}

static void
on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void
zb_memo_free(struct zb_memo *m)
{
    if (m != NULL) {
        zb_agent_flush(m->a);
        uv_close((uv_handle_t *)&m->timer, on_closed);
    }
}

static enum zb_rc
term_write(struct zb_history *h, const char *service, struct zb_history_term *t, struct zb_err *err)
{
    struct zb_history_term old;
    enum zb_rc rc = zb_history_term_get(h, service, t->term, &old, err);
    if (rc != ZB_OK && rc != ZB_E_NOTFOUND) {
        return rc;
    }
    if (rc == ZB_OK && t->reason == ZB_HISTORY_UNTOLD) {
        return ZB_OK; /* more is known of it */
    }
    if (rc == ZB_OK) {
        t->started = old.started;
        if (t->who[0] == '\0') {
            zb_strcopy(t->who, sizeof(t->who), old.who);
        }
        if (t->lost[0] == '\0') {
            zb_strcopy(t->lost, sizeof(t->lost), old.lost);
        }
        if (t->down_ms == 0) {
            t->down_ms = old.down_ms;
            t->own_ms = old.own_ms;
        }
        if (zb_set_id_is_none(t->fork.id)) {
            t->fork = old.fork;
        }
    }
    return zb_history_term_put(h, service, t, err);
}

static enum zb_rc
entry_write(struct zb_history *h, struct entry *e, struct zb_err *err)
{
    switch (e->kind) {
    case KIND_SET:
        return zb_history_set_put(h, e->service, &e->u.set, err);
    case KIND_TERM:
        return term_write(h, e->service, &e->u.term, err);
    case KIND_POSITION:
        return zb_history_position_put(h, e->service, &e->u.position, err);
    case KIND_RECORD:
        return zb_history_record_put(h, e->service, &e->u.record, err);
    case KIND_EVENT:
        return zb_history_event_append(h, &e->u.event, &e->event_id, err);
    case KIND_PRUNE:
        return zb_history_sets_prune(h, e->service, e->u.prune.below, e->u.prune.keep,
                                     e->u.prune.keep_count, err);
    }
    return ZB_OK;
}

/* Writes an entry and says in the log when it cannot be: ZB_OK too when the entry itself is wrong,
 * which hinders no other. */
static enum zb_rc
entry_try(struct zb_history *h, struct entry *e, struct zb_err *err)
{
    enum zb_rc rc = entry_write(h, e, err);
    if (rc != ZB_OK) {
        e->event_id = 0;
        zb_log_error("history: %s%s%s", e->service, e->service[0] != '\0' ? ": " : "", err->msg);
    }
    return rc == ZB_E_LIMIT || rc == ZB_E_FORMAT ? ZB_OK : rc;
}

/* All or none of them. */
static enum zb_rc
entries_write(struct zb_history *h, struct entry *head, struct zb_err *err)
{
    enum zb_rc rc = zb_history_begin(h, err);
    if (rc != ZB_OK) {
        return rc;
    }
    for (struct entry *e = head; e != NULL && rc == ZB_OK; e = e->next) {
        rc = entry_try(h, e, err);
    }
    if (rc != ZB_OK) {
        zb_history_rollback(h);
        return rc;
    }
    return zb_history_commit(h, err);
}

/* In their order, each alone, up to the first that fails: what there was room for, or the disk took
 * when it was asked again. */
static void
entries_write_singly(struct zb_history *h, struct entry *head)
{
    struct zb_err err;
    bool failed = false;
    for (struct entry *e = head; e != NULL; e = e->next) {
        e->event_id = 0;
        failed = failed || entry_try(h, e, &err) != ZB_OK;
    }
}

void
zb_agent_flush(struct zb_agent *a)
{
    struct zb_memo *m = a->memo;
    struct entry *head = m->head;
    struct zb_err err;
    if (head == NULL) {
        return;
    }
    m->head = NULL;
    m->tail = &m->head;
    m->count = 0;
    (void)uv_timer_stop(&m->timer);
    if (entries_write(a->history, head, &err) != ZB_OK) {
        zb_log_error("history: %s", err.msg);
        entries_write_singly(a->history, head);
    }
    while (head != NULL) {
        struct entry *e = head;
        head = e->next;
        if (e->kind == KIND_EVENT) {
            zb_agent_event_publish(a, &e->u.event, e->event_id);
        } else if (e->kind == KIND_SET) {
            zb_manifest_close(&e->u.set);
        }
        free(e);
    }
}

/* A new entry at the end; the caller fills it before anything else happens. */
static struct entry *
entry_add(struct zb_agent *a, enum kind kind, const char *service)
{
    struct zb_memo *m = a->memo;
    if (m->count >= ZB_MEMO_ENTRIES_MAX) {
        zb_agent_flush(a);
    }
    if (m->count == 0) {
        (void)uv_timer_start(&m->timer, on_timer, ZB_MEMO_MS, 0);
    }
    struct entry *e = zb_must_alloc(1, sizeof(*e));
    e->kind = kind;
    zb_strcopy(e->service, sizeof(e->service), service);
    *m->tail = e;
    m->tail = &e->next;
    m->count++;
    return e;
}

void
zb_memo_set(struct zb_agent *a, const char *service, const struct zb_manifest *manifest)
{
    struct zb_err err;
    struct entry *e = entry_add(a, KIND_SET, service);
    if (zb_manifest_copy(&e->u.set, manifest, &err) != ZB_OK) {
        zb_out_of_memory();
    }
}

void
zb_memo_term(struct zb_agent *a, const char *service, const struct zb_history_term *term)
{
    entry_add(a, KIND_TERM, service)->u.term = *term;
}

void
zb_memo_position(struct zb_agent *a, const char *service,
                 const struct zb_history_position *position)
{
    entry_add(a, KIND_POSITION, service)->u.position = *position;
}

void
zb_memo_record(struct zb_agent *a, const char *service, const struct zb_history_record *record)
{
    entry_add(a, KIND_RECORD, service)->u.record = *record;
}

void
zb_memo_event(struct zb_agent *a, const struct zb_history_event *event)
{
    entry_add(a, KIND_EVENT, event->service)->u.event = *event;
}

void
zb_memo_prune(struct zb_agent *a, const char *service, struct zb_set_id id)
{
    struct entry *e = entry_add(a, KIND_PRUNE, service);

    e->u.prune.below = id;
    e->u.prune.keep_count = zb_labels_sets(&a->labels, service, e->u.prune.keep);
}
