#include "agent/explain.h"

#include "agent/internal.h"
#include "agent/json.h"
#include "agent/must.h"
#include "agent/place.h"

/* Finding out on this node. */
struct here {
    struct zb_explain_facts facts;
    uint32_t pending; /* answers that are to come, and the one who asks for them */
    void (*on_done)(void *ctx, json_t *member);
    void *ctx;
};

/* Where a dry run's answer goes. */
struct dry_run {
    struct here *h;
    uint8_t target; /* of a move; else ZB_NODE_NONE */
    struct zb_explain_reply *reply;
};

static const char *
role_of(const struct zb_explain_facts *f)
{
    const struct zb_conf_names *backups = &f->a->services[f->service].conf.backups;

    if (f->leads) {
        return "leader";
    }
    return zb_conf_names_contain(backups, f->a->nodes[f->a->self].name) ? "backup" : "follower";
}

static json_t *
member_json(const char *node, bool reachable, const char *role, json_t *lines)
{
    json_t *member = zb_must(json_object());

    zb_json_put(member, "node", zb_json_text(node));
    zb_json_put(member, "reachable", zb_json_bool(reachable));
    zb_json_put(member, "role", role[0] != '\0' ? zb_json_text(role) : json_null());
    zb_json_put(member, "lines", lines);
    return member;
}

json_t *
zb_explain_silent(const char *node, const char *cause, const char *rule, const char *help)
{
    json_t *lines = zb_json_array_new();

    zb_json_append(lines, zb_explain_line("replicate", cause, rule, help));
    return member_json(node, false, "", lines);
}

static void
here_end(struct here *h)
{
    struct zb_explain_facts *f = &h->facts;

    if (--h->pending > 0) {
        return;
    }
    json_t *lines = zb_explain_lines(f);
    h->on_done(h->ctx, member_json(f->a->nodes[f->a->self].name, true, role_of(f), lines));
    zb_loss_close(&f->members);
    free(f->blockers);
    free(h);
}

static void
on_reply(void *ctx, const struct zb_action *reply)
{
    struct dry_run *d = ctx;

    d->reply->rc = reply->rc;
    d->reply->rule = reply->rule;
    (void)snprintf(d->reply->text, sizeof d->reply->text, "%s", reply->text);
    const struct zb_explain_facts *f = &d->h->facts;
    char text[ZB_PLACE_REFUSAL_SIZE];
    const char *rule = zb_place_refusal(f->a, f->service, d->target, text);
    if (reply->rc == ZB_OK && rule != NULL) {
        d->reply->rc = ZB_E_REFUSED;
        d->reply->rule = rule;
        (void)snprintf(d->reply->text, sizeof d->reply->text, "%.250s", text);
    }
    here_end(d->h);
    free(d);
}

static void
dry_run_start(struct here *h, enum zb_cmd_kind kind, uint8_t node, struct zb_explain_reply *reply)
{
    struct dry_run *d = zb_must_alloc(1, sizeof *d);
    struct zb_agent_command command = {.kind = kind,
                                       .service = h->facts.service,
                                       .node = node,
                                       .dry_run = true,
                                       .who = "explain",
                                       .on_reply = on_reply,
                                       .ctx = d};

    *d = (struct dry_run){
        .h = h, .reply = reply, .target = kind == ZB_CMD_MOVE ? node : ZB_NODE_NONE};
    reply->asked = true;
    h->pending++;
    zb_agent_command_start(h->facts.a, &command);
}

/* To each other member that may lead, from the leader; where nobody leads, to this node. */
static void
dry_runs_start(struct here *h)
{
    struct zb_explain_facts *f = &h->facts;
    const struct zb_conf_names *members = &f->a->services[f->service].conf.members;

    for (uint32_t i = 0; f->leads && i < members->count; i++) {
        uint8_t node = zb_agent_node_find(f->a, members->items[i]);
        if (node != ZB_NODE_NONE && node != f->a->self) {
            dry_run_start(h, ZB_CMD_MOVE, node, &f->moves[node]);
        }
    }
    if (f->view.leader == ZB_NODE_NONE) {
        dry_run_start(h, ZB_CMD_FAILOVER, f->a->self, &f->failover);
    }
}

static void
on_blockers(void *ctx, const struct zb_krep *rep)
{
    struct here *h = ctx;
    struct zb_explain_facts *f = &h->facts;

    f->blockers_rc = (enum zb_rc)rep->rc;
    f->blockers_left_off = rep->count;
    (void)snprintf(f->blockers_msg, sizeof f->blockers_msg, "%s", rep->msg);
    f->blockers = rep->text != NULL ? zb_must(strdup(rep->text)) : NULL;
    here_end(h);
}

void
zb_explain_here(struct zb_agent *a, uint16_t service, void (*on_done)(void *ctx, json_t *member),
                void *ctx)
{
    struct here *h = zb_must_alloc(1, sizeof *h);
    struct zb_kreq req = {.op = ZB_KOP_BLOCKERS};

    *h = (struct here){
        .facts = {.a = a, .service = service}, .pending = 1, .on_done = on_done, .ctx = ctx};
    zb_core_view(a->core, service, &h->facts.view);
    h->facts.leads = h->facts.view.leader == a->self;
    zb_loss_gather(a, service, &h->facts.view, &h->facts.members);
    dry_runs_start(h);
    zb_strcopy(req.service, sizeof req.service, a->services[service].conf.name);
    req.text = zb_labels_lines(&a->labels, req.service);
    h->pending++;
    zb_agent_keeper_call(a, &req, on_blockers, h);
    free(req.text);
    here_end(h);
}
