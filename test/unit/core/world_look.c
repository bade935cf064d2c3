/* What a test sees of a world. */
#include "world.h"

#include <stdio.h>
#include <string.h>

unsigned
world_noted(const struct world *w, unsigned node, unsigned about, const char *rule)
{
    unsigned count = 0;

    for (unsigned i = 0; i < w->notes_count; i++) {
        const struct world_note *n = &w->notes[i];
        count += n->by == node && n->about == about && strcmp(n->rule, rule) == 0;
    }
    return count;
}

enum zb_role
world_role(struct world *w, unsigned node)
{
    struct zb_core_view v;

    zb_core_view(w->nodes[node].core, 0, &v);
    return v.role;
}

bool
world_leads(struct world *w, unsigned node)
{
    return w->nodes[node].on && w->nodes[node].running && world_role(w, node) == ZB_ROLE_LEADING;
}

bool
world_all_current(struct world *w, unsigned leader)
{
    const struct world_node *l = &w->nodes[leader];

    if (!world_leads(w, leader) || zb_set_id_is_none(l->disk.newest.id)) {
        return false;
    }
    for (unsigned i = 0; i < w->nodes_count; i++) {
        if (w->nodes[i].on && (!zb_set_ref_equal(&w->nodes[i].disk.newest, &l->disk.newest) ||
                               l->disk.newest.id.term != l->disk.record.established_term)) {
            return false;
        }
    }
    return true;
}

void
world_print(struct world *w)
{
    for (unsigned i = 0; i < w->nodes_count; i++) {
        struct world_node *n = &w->nodes[i];
        struct zb_core_view v;
        if (n->core == NULL) {
            continue;
        }
        zb_core_view(n->core, 0, &v);
        printf(
            "vm%u on=%d %s granted %lu->%u learned %lu est %lu set %lu/%lu rw=%d run=%d why=%s\n",
            i + 1, n->on, zb_role_word(v.role), (unsigned long)n->disk.record.granted_term,
            n->disk.record.granted_to, (unsigned long)n->disk.record.learned_term,
            (unsigned long)n->disk.record.established_term, (unsigned long)n->disk.newest.id.term,
            (unsigned long)n->disk.newest.id.seq, n->mounted_rw, n->running, v.why);
    }
}
