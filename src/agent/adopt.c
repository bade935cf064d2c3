#include "agent/adopt.h"

#include "agent/internal.h"
#include "agent/must.h"
#include "base/log.h"

struct asking {
    struct zb_agent *a;
    char service[ZB_SERVICE_NAME_SIZE];
    uint64_t version;
    enum zb_rc rc;
    char msg[512];
    char hint[256];
    char *text; /* owned */
    void (*cb)(void *ctx, const struct zb_adopt_plan *plan);
    void *ctx;
};

static void
on_undefined(void *ctx, const struct zb_krep *rep)
{
    struct asking *q = ctx;
    struct zb_adopt_plan plan = {
        .rc = q->rc, .msg = q->msg, .hint = q->hint, .text = q->text == NULL ? "" : q->text};

    if (rep->rc != ZB_OK) {
        zb_log_warning("%s: the declaration asked about stays with the keeper: %s", q->service,
                       rep->msg);
    }
    q->cb(q->ctx, &plan);
    free(q->text);
    free(q);
}

static void
answer_keep(struct asking *q, const struct zb_krep *rep)
{
    q->rc = (enum zb_rc)rep->rc;
    (void)snprintf(q->msg, sizeof q->msg, "%s", rep->msg);
    (void)snprintf(q->hint, sizeof q->hint, "%s", rep->hint);
}

static void
on_planned(void *ctx, const struct zb_krep *rep)
{
    struct asking *q = ctx;
    struct zb_kreq req = {.op = ZB_KOP_DEFINE, .version = q->version};

    answer_keep(q, rep);
    q->text = rep->text == NULL ? NULL : zb_must(strdup(rep->text));
    zb_strcopy(req.service, sizeof req.service, q->service);
    zb_agent_keeper_call(q->a, &req, on_undefined, q);
}

static void
on_defined(void *ctx, const struct zb_krep *rep)
{
    struct asking *q = ctx;
    struct zb_kreq req = {.op = ZB_KOP_CREATE, .flags = ZB_KF_DRY_RUN};

    if (rep->rc != ZB_OK) {
        struct zb_krep nothing = {.rc = ZB_OK};
        answer_keep(q, rep);
        on_undefined(q, &nothing);
        return;
    }
    zb_strcopy(req.service, sizeof req.service, q->service);
    zb_strcopy(req.uuid, sizeof req.uuid, q->a->cluster_id);
    zb_agent_keeper_call(q->a, &req, on_planned, q);
}

void
zb_adopt_plan(struct zb_agent *a, const struct zb_conf_service *service, uint64_t version,
              void (*cb)(void *ctx, const struct zb_adopt_plan *plan), void *ctx)
{
    struct asking *q = zb_must_alloc(1, sizeof *q);
    struct zb_kreq req = {.op = ZB_KOP_DEFINE, .version = version};
    struct zb_err err;

    *q = (struct asking){.a = a, .version = version, .cb = cb, .ctx = ctx};
    zb_strcopy(q->service, sizeof q->service, service->name);
    zb_strcopy(req.service, sizeof req.service, service->name);
    if (zb_conf_service_to_json(service, &req.text, &err) != ZB_OK) {
        zb_out_of_memory();
    }
    zb_agent_keeper_call(a, &req, on_defined, q);
    free(req.text);
}
