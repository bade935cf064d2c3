#include "agent/loss_json.h"

#include "agent/json.h"
#include "agent/must.h"

static json_t *
int_or_null(int64_t value)
{
    return value < 0 ? json_null() : zb_json_int(value);
}

static json_t *
set_json(struct zb_set_id id, int64_t time_s)
{
    char text[24];

    if (zb_set_id_is_none(id)) {
        return json_null();
    }
    json_t *set = zb_json_set_id(id);
    zb_wall_format((struct zb_wall){time_s}, text);
    zb_json_put(set, "time", time_s < 0 ? json_null() : zb_json_text(text));
    return set;
}

static json_t *
member_json(const struct zb_loss *loss, const struct zb_loss_member *m)
{
    json_t *o = zb_must(json_object());
    int64_t age_s = loss->now_s > m->time_s ? loss->now_s - m->time_s : 0;

    zb_json_put(o, "node", zb_json_text(m->node));
    zb_json_put(o, "votes", zb_json_bool(!m->backup));
    zb_json_put(o, "reachable", zb_json_bool(m->reachable));
    zb_json_put(o, "leads", zb_json_bool(m->leads));
    zb_json_put(o, "may_have_written", zb_json_bool(m->writer));
    zb_json_put(o, "may_be_ahead", zb_json_bool(m->may_be_ahead));
    zb_json_put(o, "diverged", zb_json_bool(m->diverged || m->modified));
    zb_json_put(o, "newest_set", set_json(m->set.id, m->time_s));
    zb_json_put(o, "age_s", m->time_s < 0 ? json_null() : zb_json_int(age_s));
    zb_json_put(o, "behind_sets", int_or_null(m->behind_sets));
    zb_json_put(o, "written_bytes", int_or_null(m->written_bytes));
    return o;
}

json_t *
zb_loss_json(const struct zb_loss *loss)
{
    json_t *o = zb_must(json_object());
    json_t *members = zb_json_array_new();

    for (uint32_t i = 0; i < loss->members_count; i++) {
        zb_json_append(members, member_json(loss, &loss->members[i]));
    }
    zb_json_put(o, "service", zb_json_text(loss->service));
    zb_json_put(o, "to", zb_json_text(loss->members[loss->to].node));
    zb_json_put(o, "chosen", zb_json_bool(loss->chosen));
    zb_json_put(o, "term", zb_json_int((int64_t)loss->term));
    zb_json_put(o, "members", members);
    zb_json_put(o, "from_set", set_json(loss->base.id, loss->base_time_s));
    zb_json_put(o, "forward_from",
                loss->forward == ZB_LOSS_NONE ? json_null()
                                              : zb_json_text(loss->members[loss->forward].node));
    zb_json_put(o, "lost", zb_json_text(loss->lost));
    return o;
}
