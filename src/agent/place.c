#include "agent/place.h"

#include "agent/drill.h"
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/must.h"

#define ON_ITS_WAY 2 /* sets of the leader's term that a member may lack, and be as good as any */

static uint32_t
preference(const struct zb_conf_service *conf, const char *node)
{
    for (uint32_t i = 0; i < conf->prefer.count; i++) {
        if (strcmp(conf->prefer.items[i], node) == 0) {
            return i;
        }
    }
    return UINT32_MAX;
}

static uint32_t
leads_count(const struct zb_agent *a, uint8_t node)
{
    struct zb_core_view view;
    uint32_t count = 0;

    for (uint16_t i = 0; i < a->services_count; i++) {
        if (a->services[i].present) {
            zb_core_view(a->core, i, &view);
            count += view.leader == node;
        }
    }
    return count;
}

void
zb_place_member_fill(const struct zb_agent *a, uint16_t service, uint8_t node,
                     struct zb_choose_member *m)
{
    const struct zb_agent_node *n = &a->nodes[node];
    const struct zb_conf_service *conf = &a->services[service].conf;
    const struct zb_failed *failed = zb_faileds_find(&a->failed, conf->name, n->name);

    *m = (struct zb_choose_member){.preference = preference(conf, n->name),
                                   .leads = leads_count(a, node),
                                   .drained = zb_drained_is(&n->drained),
                                   .drilled = zb_drill_failure(a, node, conf->name) == NULL,
                                   .failed =
                                       failed != NULL && zb_failed_lately(failed, zb_wall_now())};
    zb_strcopy(m->node, sizeof m->node, n->name);
}

/* A report of this node itself, too: whoever asks need not be the leader. */
static void
copy_fill(const struct zb_agent *a, const struct zb_core_view *view, uint8_t node,
          struct zb_choose_member *m)
{
    const struct zb_core_peer_view *p = &view->peers[node];
    bool self = node == a->self;
    struct zb_set_ref newest = view->leader == a->self       ? view->obs.newest
                               : view->leader < ZB_NODES_MAX ? view->peers[view->leader].report.set
                                                             : (struct zb_set_ref){0};

    m->set = self ? view->obs.newest.id : p->report.set.id;
    m->eligible = (self || (p->up && p->known)) && !zb_set_id_is_none(m->set) &&
                  (self ? view->obs.key : p->report.key) == ZB_KEY_GOOD &&
                  !(self ? view->obs.modified || view->parted
                         : p->report.modified || p->report.parted || p->back);
    if (m->set.term == newest.id.term && m->set.seq + ON_ITS_WAY >= newest.id.seq) {
        m->set = newest.id;
    }
}

uint32_t
zb_place_targets(const struct zb_agent *a, uint16_t service,
                 struct zb_choose_member members[ZB_MEMBERS_MAX])
{
    const struct zb_conf_service *conf = &a->services[service].conf;
    struct zb_core_view view;
    uint32_t count = 0;

    zb_core_view(a->core, service, &view);
    for (uint32_t i = 0; i < conf->members.count; i++) {
        uint8_t node = zb_agent_node_find(a, conf->members.items[i]);
        if (node == ZB_NODE_NONE || node == view.leader) {
            continue;
        }
        zb_place_member_fill(a, service, node, &members[count]);
        copy_fill(a, &view, node, &members[count]);
        count++;
    }
    return count;
}

const char *
zb_place_refusal(const struct zb_agent *a, uint16_t service, uint8_t node,
                 char text[ZB_PLACE_REFUSAL_SIZE])
{
    const char *failure;
    char drained[ZB_DRAINED_SAY_SIZE];

    if (node >= a->nodes_count) {
        return NULL;
    }
    failure = zb_drill_failure(a, node, a->services[service].conf.name);
    if (zb_drained_is(&a->nodes[node].drained)) {
        zb_drained_say(&a->nodes[node].drained, drained);
        (void)snprintf(text, ZB_PLACE_REFUSAL_SIZE, "it is %s", drained);
        return "A-drained";
    }
    if (failure != NULL) {
        (void)snprintf(text, ZB_PLACE_REFUSAL_SIZE, "its last drill failed: %.250s", failure);
        return "A-drill-failed";
    }
    return NULL;
}

json_t *
zb_place_drained(const struct zb_agent *a, json_t *warnings)
{
    json_t *all = zb_json_array_new();
    char said[ZB_DRAINED_SAY_SIZE], text[ZB_DRAINED_SAY_SIZE + 200];

    for (uint32_t i = 0; i < a->nodes_count; i++) {
        const struct zb_agent_node *n = &a->nodes[i];
        if (!n->present || !zb_drained_is(&n->drained)) {
            continue;
        }
        json_t *one = zb_drained_json(&n->drained);
        zb_json_put(one, "node", zb_json_text(n->name));
        zb_json_append(all, one);
        zb_drained_say(&n->drained, said);
        (void)snprintf(text, sizeof text, "%s is %s: it is not chosen to lead (zbaton undrain %s)",
                       n->name, said, n->name);
        zb_json_append(warnings, zb_json_text(text));
    }
    return all;
}

json_t *
zb_place_failed(const struct zb_agent *a, uint16_t service, json_t *warnings)
{
    const struct zb_conf_service *conf = &a->services[service].conf;
    json_t *all = zb_json_array_new();
    struct zb_core_view view;
    char time[24], text[512];

    zb_core_view(a->core, service, &view);
    for (uint32_t i = 0; i < a->failed.count; i++) {
        const struct zb_failed *f = &a->failed.items[i];
        if (strcmp(f->service, conf->name) != 0) {
            continue;
        }
        bool held = f->term == view.term && view.leader == zb_agent_node_find(a, f->node);
        json_t *one = zb_must(json_object());
        zb_wall_format(f->time, time);
        zb_json_put(one, "node", zb_json_text(f->node));
        zb_json_put(one, "time", zb_json_text(time));
        zb_json_put(one, "times", zb_json_int(f->times));
        zb_json_put(one, "why", zb_json_text(f->why));
        zb_json_put(one, "held", zb_json_bool(held));
        zb_json_append(all, one);
        if (held || zb_failed_lately(f, zb_wall_now())) {
            (void)snprintf(text, sizeof text, "%s: failed on %s at %s%s: %s (zbaton start %s%s)",
                           f->service, f->node, time, held ? ", and stays stopped" : "", f->why,
                           f->service, held ? "" : " forgets that");
            zb_json_append(warnings, zb_json_text(text));
        }
    }
    return all;
}

void
zb_place_nobody_say(const struct zb_agent *a, const struct zb_choose_member *members,
                    uint32_t count, char *buf, size_t size)
{
    size_t used = 0;

    (void)snprintf(buf, size, "it has no other member");
    for (uint32_t i = 0; i < count && used < size; i++) {
        const struct zb_choose_member *m = &members[i];
        uint8_t node = zb_agent_node_find(a, m->node);
        bool up = node == a->self || (node != ZB_NODE_NONE && a->nodes[node].up);
        const char *why = m->drained     ? "is drained"
                          : !up          ? "is not reachable"
                          : !m->drilled  ? "failed its last drill"
                          : !m->eligible ? "has no copy that could be led"
                          : m->failed    ? "failed it lately"
                                         : "could lead it";
        int n = snprintf(buf + used, size - used, "%s%s %s", i > 0 ? "; " : "", m->node, why);
        used += n > 0 ? (size_t)n : 0;
    }
}
