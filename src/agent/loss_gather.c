#include "agent/drill.h"
#include "agent/internal.h"
#include "agent/loss.h"
#include "agent/memo.h"
#include "agent/must.h"
#include "agent/position.h"

#define SETS_MAX 1024 /* of the history: to count how far somebody is behind */

struct gather {
    struct zb_agent *a;
    uint16_t service;
    const struct zb_core_view *view;
    struct zb_loss *loss;
};

/* What a member had when it was last heard of, before this start too. */
static void
position_remembered(struct gather *g, struct zb_loss_member *m)
{
    struct zb_history_position *items = NULL;
    uint32_t count = 0;
    struct zb_err err;

    zb_agent_flush(g->a);
    if (zb_history_positions_list(g->a->history, g->loss->service, ZB_NODES_MAX, &items, &count,
                                  &err) != ZB_OK) {
        zb_log_error("%s: positions in the history: %s", g->loss->service, err.msg);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(items[i].node, m->node) == 0) {
            m->set = items[i].set;
        }
    }
    free(items);
}

static void
member_look(struct gather *g, const char *name, bool backup)
{
    struct zb_loss_member *m = &g->loss->members[g->loss->members_count++];
    uint8_t node = zb_agent_node_find(g->a, name);

    *m = (struct zb_loss_member){.backup = backup};
    zb_strcopy(m->node, sizeof m->node, name);
    if (!zb_loss_member_look(g->loss, g->view, g->a->self, node, m)) {
        position_remembered(g, m);
    }
    m->drained = node != ZB_NODE_NONE && zb_drained_is(&g->a->nodes[node].drained);
    m->undrilled = zb_drill_failure(g->a, node, g->loss->service) != NULL;
    if (!zb_set_id_is_none(m->set.id)) {
        const struct zb_manifest *manifest = zb_position_manifest(g->a, g->service, m->set.id);
        m->time_s = manifest != NULL ? manifest->time.s : -1;
    }
}

void
zb_loss_gather(struct zb_agent *a, uint16_t service, const struct zb_core_view *view,
               struct zb_loss *loss)
{
    const struct zb_conf_service *conf = &a->services[service].conf;
    struct gather g = {.a = a, .service = service, .view = view, .loss = loss};
    struct zb_err err;

    *loss = (struct zb_loss){.now_s = zb_wall_now().s, .to = ZB_LOSS_NONE};
    zb_strcopy(loss->service, sizeof loss->service, conf->name);
    zb_loss_terms_look(loss, view);
    if (loss->term == 0 && zb_recovered_has(&a->recovered, conf->name)) {
        /* Only sets of an earlier cluster: what came after them there nobody knows. */
        loss->fork.term = a->recovered.term;
    }
    for (uint32_t i = 0; i < conf->members.count; i++) {
        member_look(&g, conf->members.items[i], false);
    }
    for (uint32_t i = 0; i < conf->backups.count; i++) {
        member_look(&g, conf->backups.items[i], true);
    }
    if (zb_history_sets_list(a->history, conf->name, SETS_MAX, &loss->sets, &loss->sets_count,
                             &err) != ZB_OK) {
        zb_log_error("%s: sets in the history: %s", conf->name, err.msg);
    }
}
