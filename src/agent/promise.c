#include "agent/promise.h"

#include <stdlib.h>

static int
newest_first(const void *a, const void *b)
{
    return zb_set_id_cmp(*(const struct zb_set_id *)b, *(const struct zb_set_id *)a);
}

struct zb_set_id
zb_promise_held(struct zb_set_id *positions, uint32_t count, uint32_t wanted)
{
    if (wanted == 0 || count < wanted) {
        return (struct zb_set_id){0};
    }
    qsort(positions, count, sizeof(*positions), newest_first);
    return positions[wanted - 1];
}

void
zb_promise_begin(struct zb_promise *p, int64_t now_ms)
{
    *p = (struct zb_promise){
        .begun_ms = now_ms, .safe_ms = ZB_PROMISE_NEVER, .loss_ms = -1, .judged_ms = now_ms};
}

void
zb_promise_look(struct zb_promise *p, const struct zb_promise_seen *seen)
{
    if (seen->held_ms > p->safe_ms) {
        p->safe_ms = seen->held_ms;
    }
    if (seen->clean_ms > p->safe_ms) {
        p->safe_ms = seen->clean_ms;
    }
    if (p->safe_ms == ZB_PROMISE_NEVER) {
        p->loss_ms = -1;
    } else if (seen->clean_ms != ZB_PROMISE_NEVER &&
               seen->now_ms - seen->clean_ms <= seen->late_ms) {
        p->loss_ms = 0;
    } else {
        p->loss_ms = seen->now_ms > p->safe_ms ? seen->now_ms - p->safe_ms : 0;
    }
}

static int64_t
every_ms(const struct zb_conf_service *conf)
{
    return conf->interval_ms < ZB_PROMISE_JUDGE_MS ? conf->interval_ms : ZB_PROMISE_JUDGE_MS;
}

/* Nothing held counts from the first look on: a new service's first copies take their time. */
static bool
is_too_old(const struct zb_promise *p, const struct zb_conf_service *conf, int64_t now_ms)
{
    int64_t seen_ms = now_ms - p->begun_ms;
    int64_t loss_ms = p->loss_ms >= 0 ? p->loss_ms : seen_ms;

    return loss_ms > (int64_t)conf->max_loss_ms &&
           seen_ms > 2 * ((int64_t)conf->interval_ms + every_ms(conf));
}

bool
zb_promise_judge(struct zb_promise *p, const struct zb_conf_service *conf, int64_t now_ms)
{
    if (now_ms - p->judged_ms < every_ms(conf)) {
        return false;
    }
    p->judged_ms = now_ms;
    if (is_too_old(p, conf, now_ms) == p->broken) {
        p->doubted = false;
        return false;
    }
    if (!p->doubted) {
        p->doubted = true;
        return false;
    }
    p->doubted = false;
    p->broken = !p->broken;
    return true;
}
