#include "agent/base_gone.h"

#include "agent/drive.h"
#include "agent/internal.h"
#include "agent/trouble.h"

static bool
is_listed(const char *sets, struct zb_set_id wanted)
{
    char set[ZB_SET_ID_SIZE];
    char line[ZB_SET_ID_SIZE + 1];

    zb_set_id_format(wanted, set);
    (void)snprintf(line, sizeof(line), "%s\n", set);
    for (const char *at = sets; at != NULL && (at = strstr(at, line)) != NULL; at++) {
        if (at == sets || at[-1] == '\n') {
            return true;
        }
    }
    return false;
}

void
zb_base_gone_tell(struct zb_agent *a, uint16_t service, const char *sets)
{
    struct zb_core_view view;
    const char *name = a->services[service].conf.name;

    zb_core_view(a->core, service, &view);
    for (uint32_t n = 0; n < a->nodes_count; n++) {
        struct zb_set_id last = zb_apply_position_last(a, service, (uint8_t)n);
        struct zb_set_id at = zb_lineage_reaches(&view.obs.lineage, last)
                                  ? zb_lineage_clamp(&view.obs.lineage, last)
                                  : last;
        struct zb_trouble_at where = {service, ZB_TROUBLE_BASE, (uint8_t)n};
        bool gone = view.leader == a->self && n != a->self && is_listed(sets, at);
        char text[128], set[ZB_SET_ID_SIZE];

        zb_set_id_format(at, set);
        (void)snprintf(text, sizeof(text), "of set %s nothing is left here", set);
        if (gone && zb_trouble_find(a, &where) == NULL) {
            zb_agent_event(
                a, ZB_LOG_WARNING, name, "A-base-gone",
                "%s goes on from set %s, of which neither a snapshot nor a bookmark is left "
                "here: when it is back, it is set aside and goes on from an older set, or needs "
                "a full copy (zbaton rejoin %s %s)",
                a->nodes[n].name, set, name, a->nodes[n].name);
        }
        zb_trouble_put(a, &where, gone ? ZB_E_NOTFOUND : ZB_OK, text);
    }
}
