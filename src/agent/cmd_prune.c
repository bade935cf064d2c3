/*
 * prune: old sets of a service go from this node now; dry run: each set and why it stays, as the
 * keeper would decide it now.
 */
#include "agent/drive.h"
#include "agent/foreign.h"
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/must.h"
#include "agent/request.h"

struct prune {
    struct zb_request *r;
    uint16_t service;
    struct zb_kreq req; /* SETS; snap: the last one that was told */
    json_t *sets;       /* owned */
};

static void
prune_fail(struct prune *p, enum zb_rc rc, const char *text, const char *rule)
{
    const char *name = p->r->a->services[p->service].conf.name;
    struct zb_err err;

    zb_err_set(&err, rc, "%s on %s: %s", name, p->r->a->nodes[p->r->a->self].name, text);
    zb_err_hint(&err, "zbaton explain %s", name);
    zb_request_fail(p->r, &err, rule);
    json_decref(p->sets);
    free(p->req.text);
    free(p);
}

static void
prune_done(struct prune *p)
{
    json_t *data = zb_must(json_object());

    zb_json_put(data, "service", zb_json_text(p->r->a->services[p->service].conf.name));
    zb_json_put(data, "node", zb_json_text(p->r->a->nodes[p->r->a->self].name));
    if (p->sets != NULL) {
        zb_json_put(data, "sets", p->sets);
    }
    zb_request_done(p->r, data);
    free(p->req.text);
    free(p);
}

/* --- dry run --- */

/* "zbaton-000012-00000345-20261122T064100Z", or the name of a copy, and why it stays. */
static void
snap_add(struct prune *p, const char *snap, const char *why)
{
    struct zb_set_id id;
    struct zb_wall time;
    char text[24];
    bool is_set = zb_set_name_parse(snap, &id, &time);
    json_t *one = zb_must(json_object());
    json_t *set = is_set ? zb_json_set_id(id) : zb_must(json_null());

    if (is_set) {
        zb_wall_format(time, text);
        zb_json_put(set, "time", zb_json_text(text));
        zb_strcopy(p->req.snap, sizeof p->req.snap, snap);
    }
    zb_json_put(one, "set", set);
    zb_json_put(one, "snapshot", zb_json_text(snap));
    zb_json_put(one, "goes", zb_json_bool(why[0] == '\0'));
    zb_json_put(one, "why", zb_json_text(why));
    zb_json_append(p->sets, one);
}

/* False: not in the form of kmsg.h, or without a set to go on after. */
static bool
lines_take(struct prune *p, char *text)
{
    char *save = NULL;
    bool taken = true;

    for (char *line = strtok_r(text, "\n", &save); line != NULL && taken;
         line = strtok_r(NULL, "\n", &save)) {
        char *tab = strchr(line, '\t');
        if (tab != NULL) {
            *tab = '\0';
        }
        taken = tab != NULL;
        if (taken) {
            snap_add(p, line, tab + 1);
        }
    }
    return taken && p->req.snap[0] != '\0';
}

static void
on_sets(void *ctx, const struct zb_krep *rep)
{
    struct prune *p = ctx;

    if (rep->rc != ZB_OK) {
        prune_fail(p, (enum zb_rc)rep->rc, rep->msg, NULL);
    } else if (rep->text == NULL || rep->text[0] == '\0') {
        prune_done(p);
    } else {
        char *text = zb_must(strdup(rep->text));
        bool taken = lines_take(p, text);
        free(text);
        if (taken) {
            zb_agent_keeper_call(p->r->a, &p->req, on_sets, p);
        } else {
            prune_fail(p, ZB_E_FORMAT, "the keeper's answer is not understood", NULL);
        }
    }
}

static void
sets_ask(struct prune *p)
{
    struct zb_agent *a = p->r->a;
    struct zb_action plan;

    if (!zb_core_prune_plan(a->core, p->service, &plan)) {
        prune_fail(p, ZB_E_REFUSED, "nothing is pruned: what others need of it is not known", "S5");
        return;
    }
    p->sets = zb_json_array_new();
    p->req = (struct zb_kreq){.op = ZB_KOP_SETS};
    zb_strcopy(p->req.service, sizeof p->req.service, a->services[p->service].conf.name);
    zb_act_protect(&plan, &p->req);
    p->req.text = zb_foreign_text(a, p->service, false);
    zb_agent_keeper_call(a, &p->req, on_sets, p);
}

/* --- now --- */

static void
on_reply(void *ctx, const struct zb_action *reply)
{
    struct prune *p = ctx;

    if (reply->rc == ZB_OK) {
        prune_done(p);
    } else {
        prune_fail(p, reply->rc, reply->text, reply->rule);
    }
}

void
zb_cmd_prune(struct zb_request *r)
{
    uint16_t service = zb_request_service(r);

    if (service == ZB_SERVICE_NONE || !zb_forward_to_named(r)) {
        return;
    }
    struct prune *p = zb_must_alloc(1, sizeof *p);
    *p = (struct prune){.r = r, .service = service};
    if (zb_request_bool(r, "dry_run")) {
        sets_ask(p);
        return;
    }
    zb_foreign_hurry(r->a, service);
    struct zb_agent_command command = {.kind = ZB_CMD_PRUNE,
                                       .service = service,
                                       .node = ZB_NODE_NONE,
                                       .who = r->who,
                                       .on_reply = on_reply,
                                       .ctx = p};
    zb_agent_command_start(r->a, &command);
}
