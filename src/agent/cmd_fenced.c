/* fenced: an operator says that a node is off; and what a fence command proved. */
#include <inttypes.h>

#include "agent/fence.h"
#include "agent/internal.h"
#include "agent/must.h"
#include "agent/request.h"

struct statement {
    struct zb_agent *a;
    struct zb_fenced fenced;
    char who[128];
    struct zb_request *r; /* that is answered; NULL: none */
};

static void
statement_note(const struct statement *s, const struct zb_action *reply)
{
    struct zb_agent *a = s->a;
    const char *service = a->services[s->fenced.service].conf.name;
    const char *node = a->nodes[s->fenced.node].name;

    if (reply->rc != ZB_OK) {
        zb_agent_event(a, ZB_LOG_WARNING, service, reply->rule != NULL ? reply->rule : "",
                       "fenced %s: %s", node, reply->text);
    } else if (s->fenced.by == ZB_FENCED_BY_SESSION) {
        zb_agent_event(a, ZB_LOG_INFO, service, "A-fenced-session",
                       "%s was known not to write after term %" PRIu64 " was granted: its session "
                       "in etcd is over",
                       node, s->fenced.term);
    } else if (s->fenced.by == ZB_FENCED_BY_COMMAND) {
        zb_agent_event(a, ZB_LOG_INFO, service, "A-fenced-command",
                       "%s was off after term %" PRIu64 " was granted: the fence command of %s "
                       "proved it",
                       node, s->fenced.term, a->nodes[a->self].name);
    } else {
        zb_agent_event(a, ZB_LOG_INFO, service, "A-fenced-operator",
                       "%s was off after term %" PRIu64 " was granted: %s says so", node,
                       s->fenced.term, s->who);
    }
}

static void
on_reply(void *ctx, const struct zb_action *reply)
{
    struct statement *s = ctx;
    struct zb_err err;

    statement_note(s, reply);
    if (s->r != NULL && reply->rc == ZB_OK) {
        zb_request_done(s->r, zb_must(json_object()));
    } else if (s->r != NULL) {
        zb_err_set(&err, reply->rc, "%s", reply->text);
        zb_request_fail(s->r, &err, reply->rule);
    }
    free(s);
}

static void
statement_start(struct zb_agent *a, const struct zb_fenced *fenced, struct zb_request *r)
{
    struct statement *s = zb_must_alloc(1, sizeof(*s));
    struct zb_agent_command command = {.kind = ZB_CMD_FENCED,
                                       .service = fenced->service,
                                       .node = fenced->node,
                                       .term = fenced->term,
                                       .who = fenced->who,
                                       .on_reply = on_reply,
                                       .ctx = s};

    *s = (struct statement){.a = a, .fenced = *fenced, .r = r};
    (void)snprintf(s->who, sizeof(s->who), "%s", fenced->who);
    zb_agent_command_start(a, &command);
}

void
zb_fenced_tell(struct zb_agent *a, const struct zb_fenced *fenced)
{
    statement_start(a, fenced, NULL);
}

void
zb_cmd_fenced(struct zb_request *r)
{
    const char *name = zb_request_text(r, "node");
    const char *to = zb_request_text(r, "to");
    int64_t term = zb_request_int(r, "term", 0);
    uint8_t node = zb_agent_node_find(r->a, name);
    uint8_t candidate = to[0] == '\0' ? r->a->self : zb_agent_node_find(r->a, to);
    uint16_t service = zb_request_service(r); /* NONE: the request is gone */
    struct zb_err err;

    if (service == ZB_SERVICE_NONE) {
        return;
    }
    if (node == ZB_NODE_NONE || candidate == ZB_NODE_NONE || term < 1) {
        zb_err_set(&err, ZB_E_USAGE, "fenced: a node, a term and a candidate of this cluster");
        zb_request_fail(r, &err, NULL);
        return;
    }
    if (candidate != r->a->self && !r->from_peer) {
        zb_forward_request(r, candidate);
        return;
    }
    struct zb_fenced fenced = {
        .service = service, .node = node, .term = (uint64_t)term, .who = r->who};
    statement_start(r->a, &fenced, r);
}
