#include "agent/ship_limit.h"

#include "conf/node.h"

bool
zb_ship_is_waited_for(const struct zb_action *action)
{
    return (action->flags & (ZB_SHIP_FIRST | ZB_SHIP_FORWARD)) != 0;
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

bool
zb_ship_is_limited(const struct zb_ship *s)
{
    return service_limit(s) > 0 || node_limit(s->a) > 0;
}

enum zb_ship_rank
zb_ship_rank(const struct zb_ship *s)
{
    return s->first                            ? ZB_SHIP_RANK_FIRST
           : s->fast && !zb_ship_is_limited(s) ? ZB_SHIP_RANK_STEADY
                                               : ZB_SHIP_RANK_BULK;
}

void
zb_ship_limit_set(const struct zb_ship *s, struct zb_stream *stream)
{
    zb_net_limit_set(s->a->net, node_limit(s->a));
    zb_stream_limit_set(stream, &(struct zb_stream_limit){.group = s->service,
                                                          .bytes_per_s = service_limit(s),
                                                          .first = s->first});
}
