#include "agent/leave.h"

#include "agent/internal.h"
#include "agent/must.h"

#define RETRY_MS 1000
#define RETRY_MAX_MS 60000

struct leaving {
    struct leaving *next;
    struct zb_agent *a;
    char service[ZB_SERVICE_NAME_SIZE];
    uint64_t version;
    bool remount;
    bool asked;   /* the keeper has a request of it */
    bool stopped; /* declared again meanwhile */
    int64_t again_ms;
    int64_t wait_ms;
};

struct zb_leaves {
    uv_timer_t timer;
    struct leaving *head;
};

static void step(struct leaving *l);

static void
unlink_free(struct leaving *l)
{
    struct leaving **at = &l->a->leaves->head;

    while (*at != l) {
        at = &(*at)->next;
    }
    *at = l->next;
    free(l);
}

static void
on_timer(uv_timer_t *timer)
{
    struct zb_leaves *all = timer->data;
    int64_t now_ms = zb_mono_now().ms;

    for (struct leaving *l = all->head, *next; l != NULL; l = next) {
        next = l->next;
        if (!l->asked && l->stopped) {
            unlink_free(l);
        } else if (!l->asked && now_ms >= l->again_ms) {
            step(l);
        }
    }
}

/* What failed is said once, and tried again with longer and longer waits. */
static void
failed(struct leaving *l, const struct zb_krep *rep)
{
    if (l->wait_ms == RETRY_MS && rep->rc != ZB_E_BUSY) {
        zb_agent_event(l->a, ZB_LOG_WARNING, l->service, "A-leave-failed",
                       "withdrawn, but not wholly given back here yet: %s", rep->msg);
    }
    l->again_ms = zb_mono_now().ms + l->wait_ms;
    if (rep->rc != ZB_E_BUSY && l->wait_ms < RETRY_MAX_MS) {
        l->wait_ms *= 2;
    }
}

static void
on_undefined(void *ctx, const struct zb_krep *rep)
{
    struct leaving *l = ctx;

    l->asked = false;
    if (l->a->stopping) {
        return;
    }
    if (rep->rc != ZB_OK) {
        failed(l, rep);
        return;
    }
    zb_agent_event(l->a, ZB_LOG_INFO, l->service, "A-left",
                   "withdrawn: stopped, properties put back as before adoption; data and "
                   "snapshots stay");
    unlink_free(l);
}

static void
ask(struct leaving *l, struct zb_kreq *req, void (*cb)(void *ctx, const struct zb_krep *rep))
{
    zb_strcopy(req->service, sizeof(req->service), l->service);
    l->asked = true;
    zb_agent_keeper_call(l->a, req, cb, l);
}

static void
on_unadopted(void *ctx, const struct zb_krep *rep)
{
    struct leaving *l = ctx;
    struct zb_kreq req = {.op = ZB_KOP_DEFINE, .version = l->version};

    l->asked = false;
    if (l->a->stopping) {
        return;
    }
    if (rep->rc != ZB_OK || l->stopped) {
        failed(l, rep);
        return;
    }
    ask(l, &req, on_undefined);
}

/* Whatever DEMOTE said: UNADOPT looks itself whether anything is mounted or running. */
static void
on_demoted(void *ctx, const struct zb_krep *rep)
{
    struct leaving *l = ctx;
    struct zb_kreq req = {.op = ZB_KOP_UNADOPT, .flags = l->remount ? ZB_KF_REMOUNT : 0};

    l->asked = false;
    if (l->a->stopping) {
        return;
    }
    if (rep->rc == ZB_E_BUSY || l->stopped) {
        failed(l, rep);
        return;
    }
    ask(l, &req, on_unadopted);
}

static void
step(struct leaving *l)
{
    struct zb_kreq req = {.op = ZB_KOP_DEMOTE, .timeout_ms = 60000};

    ask(l, &req, on_demoted);
}

static struct leaving *
find(struct zb_agent *a, const char *service)
{
    struct leaving *l = a->leaves->head;

    while (l != NULL && (l->stopped || strcmp(l->service, service) != 0)) {
        l = l->next;
    }
    return l;
}

void
zb_leave_start(struct zb_agent *a, const char *service, uint64_t version, bool remount)
{
    struct leaving *l;

    if (find(a, service) != NULL) {
        return;
    }
    l = zb_must_alloc(1, sizeof(*l));
    l->a = a;
    l->version = version;
    l->remount = remount;
    l->wait_ms = RETRY_MS;
    zb_strcopy(l->service, sizeof(l->service), service);
    l->next = a->leaves->head;
    a->leaves->head = l;
    step(l);
}

void
zb_leave_stop(struct zb_agent *a, const char *service)
{
    struct leaving *l = find(a, service);

    if (l != NULL) {
        l->stopped = true;
    }
}

void
zb_leave_rest(struct zb_agent *a, const char *names, uint64_t version)
{
    while (*names != '\0') {
        size_t size = strcspn(names, "\n");
        char name[ZB_SERVICE_NAME_SIZE];
        if (size > 0 && size < sizeof(name)) {
            memcpy(name, names, size);
            name[size] = '\0';
            if (zb_agent_service_find(a, name) == ZB_SERVICE_NONE) {
                zb_leave_start(a, name, version, false);
            }
        }
        names += size + (names[size] == '\n');
    }
}

struct zb_leaves *
zb_leaves_new(struct zb_agent *a)
{
    struct zb_leaves *all = zb_must_alloc(1, sizeof(*all));

    all->timer.data = all;
    (void)uv_timer_init(&a->loop, &all->timer);
    (void)uv_timer_start(&all->timer, on_timer, RETRY_MS, RETRY_MS);
    return all;
}

static void
on_closed(uv_handle_t *handle)
{
    struct zb_leaves *all = handle->data;

    while (all->head != NULL) {
        struct leaving *l = all->head;
        all->head = l->next;
        free(l);
    }
    free(all);
}

void
zb_leaves_free(struct zb_agent *a)
{
    if (a->leaves != NULL) {
        uv_close((uv_handle_t *)&a->leaves->timer, on_closed);
        a->leaves = NULL;
    }
}
