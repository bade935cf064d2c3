#include "agent/ship_limit.h"

#include "conf/node.h"

bool
zb_ship_is_waited_for(const struct zb_agent *a, const struct zb_action *action)
{
    struct zb_core_view view;

    zb_core_view(a->core, action->service, &view);
    return view.role == ZB_ROLE_SEALING || (action->flags & ZB_SHIP_FORWARD) != 0;
}

static uint64_t
service_limit(const struct zb_ship *s)
{
    return s->a->services[s->service].conf.send_limit_bytes;
}

static uint64_t
node_limit(const struct zb_agent *a)
{
    return zb_conf_node_send_limit(a->conf, zb_wall_now());
}

enum zb_ship_rank
zb_ship_rank(const struct zb_ship *s)
{
    if (s->first) {
        return ZB_SHIP_FIRST;
    }
    if (!s->fast) {
        return ZB_SHIP_SLOW;
    }
    return service_limit(s) > 0 || node_limit(s->a) > 0 ? ZB_SHIP_STEADY_LIMITED : ZB_SHIP_STEADY;
}

void
zb_ship_limit_set(const struct zb_ship *s, struct zb_stream *stream)
{
    zb_net_limit_set(s->a->net, node_limit(s->a));
    zb_stream_limit_set(stream, &(struct zb_stream_limit){.group = s->service,
                                                          .bytes_per_s = service_limit(s),
                                                          .first = s->first});
}
