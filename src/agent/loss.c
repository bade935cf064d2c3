#include "agent/loss.h"

#include <inttypes.h>

#include "agent/json.h"
#include "agent/must.h"

void
zb_loss_close(struct zb_loss *loss)
{
    free(loss->sets);
    *loss = (struct zb_loss){0};
}

uint32_t
zb_loss_member_find(const struct zb_loss *loss, const char *node)
{
    for (uint32_t i = 0; i < loss->members_count; i++) {
        if (strcmp(loss->members[i].node, node) == 0) {
            return i;
        }
    }
    return ZB_LOSS_NONE;
}

static bool
is_of_history(const struct zb_loss *loss, const struct zb_loss_member *m)
{
    return !zb_set_id_is_none(m->set.id) && zb_lineage_has(loss->lineage, m->set.id);
}

uint32_t
zb_loss_choose(const struct zb_loss *loss)
{
    uint32_t best = ZB_LOSS_NONE;

    for (uint32_t i = 0; i < loss->members_count; i++) {
        const struct zb_loss_member *m = &loss->members[i];
        if (m->backup || !m->reachable || m->leads || m->modified || !is_of_history(loss, m)) {
            continue;
        }
        if (best == ZB_LOSS_NONE || zb_set_id_cmp(m->set.id, loss->members[best].set.id) > 0) {
            best = i;
        }
    }
    return best;
}

/* --- what is found --- */

/* How many sets stand between, as far as they are known here. */
static int64_t
sets_between(const struct zb_loss *loss, struct zb_set_id from, struct zb_set_id to)
{
    int64_t count = 0;
    bool seen = false;

    if (zb_set_id_cmp(from, to) >= 0) {
        return 0;
    }
    if (from.term == to.term) {
        return (int64_t)(to.seq - from.seq);
    }
    for (uint32_t i = 0; i < loss->sets_count; i++) {
        struct zb_set_id id = loss->sets[i].ref.id;
        seen = seen || zb_set_id_cmp(id, from) == 0;
        count += zb_set_id_cmp(id, from) > 0 && zb_set_id_cmp(id, to) <= 0;
    }
    return seen ? count : -1;
}

static struct zb_set_id
newest_known(const struct zb_loss *loss)
{
    struct zb_set_id newest = {0};

    for (uint32_t i = 0; i < loss->members_count; i++) {
        const struct zb_loss_member *m = &loss->members[i];
        if (is_of_history(loss, m) && zb_set_id_cmp(m->set.id, newest) > 0) {
            newest = m->set.id;
        }
    }
    return newest;
}

/* The candidate's own set if nobody reachable holds a newer one. */
static void
base_find(struct zb_loss *loss)
{
    uint32_t best = loss->to;

    if (!is_of_history(loss, &loss->members[best])) {
        best = ZB_LOSS_NONE;
    }
    for (uint32_t i = 0; i < loss->members_count; i++) {
        const struct zb_loss_member *m = &loss->members[i];
        if (m->reachable && is_of_history(loss, m) &&
            (best == ZB_LOSS_NONE || zb_set_id_cmp(m->set.id, loss->members[best].set.id) > 0)) {
            best = i;
        }
    }
    loss->base = (struct zb_set_ref){0};
    loss->base_time_s = -1;
    loss->forward = ZB_LOSS_NONE;
    if (best != ZB_LOSS_NONE) {
        loss->base = loss->members[best].set;
        loss->base_time_s = loss->members[best].time_s;
        loss->forward = best != loss->to ? best : ZB_LOSS_NONE;
    }
}

void
zb_loss_find(struct zb_loss *loss)
{
    struct zb_set_id newest = newest_known(loss);

    for (uint32_t i = 0; i < loss->members_count; i++) {
        struct zb_loss_member *m = &loss->members[i];
        bool has = !zb_set_id_is_none(m->set.id);
        m->diverged = has && !zb_lineage_has(loss->lineage, m->set.id);
        m->may_be_ahead = i != loss->to && (!m->reachable || m->leads);
        m->behind_sets = has && !m->diverged ? sets_between(loss, m->set.id, newest) : -1;
    }
    base_find(loss);
    zb_loss_text(loss, loss->base.id, loss->base_time_s, loss->lost, sizeof loss->lost);
}

/* --- the sentence --- */

static void
append(char *buf, size_t size, const char *text)
{
    size_t used = strlen(buf);
    (void)snprintf(buf + used, size - used, "%s", text);
}

/* What it wrote went with its disk: it made that set, and does not have it any more. */
static bool
disk_is_older(const struct zb_loss_member *m, struct zb_set_id set)
{
    return m->led_last && zb_set_id_cmp(m->set.id, set) < 0;
}

/* Whether it can have written something that the service would not go on with: not one that is
 * seen at rest with no more than that. */
static bool
may_lose(const struct zb_loss *loss, const struct zb_loss_member *m, struct zb_set_id set)
{
    bool takes = strcmp(m->node, loss->members[loss->to].node) == 0;

    return disk_is_older(m, set) ||
           (m->writer && !takes &&
            (!m->reachable || m->leads || m->modified || zb_set_id_cmp(m->set.id, set) > 0));
}

/* "vm1", "vm1 and vm3", "vm1, vm3 and vm4"; false when there is none. */
static bool
writers_text(const struct zb_loss *loss, struct zb_set_id set, char *buf, size_t size)
{
    uint32_t left = 0;
    bool first = true;

    for (uint32_t i = 0; i < loss->members_count; i++) {
        left += may_lose(loss, &loss->members[i], set);
    }
    buf[0] = '\0';
    for (uint32_t i = 0; i < loss->members_count; i++) {
        if (may_lose(loss, &loss->members[i], set)) {
            left--;
            append(buf, size, first ? "" : left == 0 ? " and " : ", ");
            append(buf, size, loss->members[i].node);
            first = false;
        }
    }
    return !first;
}

/* " of 06:41:00, 37 s ago"; the day too when it is another one. */
static void
time_text(const struct zb_loss *loss, int64_t time_s, char *buf, size_t size)
{
    char time[24], now[24];

    buf[0] = '\0';
    if (time_s < 0) {
        return;
    }
    zb_wall_format((struct zb_wall){time_s}, time);
    zb_wall_format((struct zb_wall){loss->now_s}, now);
    int64_t age_s = loss->now_s > time_s ? loss->now_s - time_s : 0;
    if (strncmp(time, now, 10) == 0) {
        (void)snprintf(buf, size, " of %.8s, %" PRId64 " s ago", time + 11, age_s);
    } else {
        (void)snprintf(buf, size, " of %.10s %.8s, %" PRId64 " s ago", time, time + 11, age_s);
    }
}

void
zb_loss_text(const struct zb_loss *loss, struct zb_set_id set, int64_t time_s, char *buf,
             size_t size)
{
    char writers[160], time[64];

    time_text(loss, time_s, time, sizeof time);
    if (!writers_text(loss, set, writers, sizeof writers)) {
        (void)snprintf(buf, size, "nothing");
    } else if (zb_set_id_is_none(set)) {
        (void)snprintf(buf, size, "everything that %s wrote", writers);
    } else {
        (void)snprintf(buf, size, "what %s wrote after set %" PRIu64 "/%" PRIu64 "%s", writers,
                       set.term, set.seq, time);
    }
}

/* --- JSON --- */

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
    json_t *set = zb_must(json_object());
    zb_json_put(set, "term", zb_json_int((int64_t)id.term));
    zb_json_put(set, "seq", zb_json_int((int64_t)id.seq));
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
