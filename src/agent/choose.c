#include "agent/choose.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define CLOCKS_S 5 /* that two hosts' clocks may differ by without a word */

const char *
zb_choose_word(enum zb_choose_step step)
{
    static const char *const words[] = {
        [ZB_CHOOSE_ELIGIBLE] = "eligible", [ZB_CHOOSE_UNDRAINED] = "drain",
        [ZB_CHOOSE_DRILLED] = "drill",     [ZB_CHOOSE_WELL] = "failures",
        [ZB_CHOOSE_POSITION] = "position", [ZB_CHOOSE_PREFERENCE] = "preference",
        [ZB_CHOOSE_LOAD] = "load",         [ZB_CHOOSE_NAME] = "name",
    };
    return words[step];
}

static int
more_first(uint64_t a, uint64_t b)
{
    return (a < b) - (a > b);
}

int
zb_choose_compare(const struct zb_choose_member *a, const struct zb_choose_member *b,
                  enum zb_choose_step *step)
{
    const int decided[] = {
        [ZB_CHOOSE_ELIGIBLE] = more_first(a->eligible, b->eligible),
        [ZB_CHOOSE_UNDRAINED] = more_first(b->drained, a->drained),
        [ZB_CHOOSE_DRILLED] = more_first(a->drilled, b->drilled),
        [ZB_CHOOSE_WELL] = more_first(b->failed, a->failed),
        [ZB_CHOOSE_POSITION] = -zb_set_id_cmp(a->set, b->set),
        [ZB_CHOOSE_PREFERENCE] = more_first(b->preference, a->preference),
        [ZB_CHOOSE_LOAD] = more_first(b->leads, a->leads),
        [ZB_CHOOSE_NAME] = strcmp(a->node, b->node),
    };

    for (*step = ZB_CHOOSE_ELIGIBLE; *step < ZB_CHOOSE_NAME; (*step)++) {
        if (decided[*step] != 0) {
            return decided[*step];
        }
    }
    return decided[ZB_CHOOSE_NAME];
}

bool
zb_choose_can(const struct zb_choose_member *m)
{
    return m->eligible && !m->drained && m->drilled;
}

uint32_t
zb_choose_rank(const struct zb_choose_member *members, uint32_t count, const char *node)
{
    const struct zb_choose_member *self = NULL;
    enum zb_choose_step step;
    uint32_t rank = 0;

    for (uint32_t i = 0; i < count; i++) {
        self = strcmp(members[i].node, node) == 0 ? &members[i] : self;
    }
    if (self == NULL || !zb_choose_can(self)) {
        return count;
    }
    for (uint32_t i = 0; i < count; i++) {
        rank += &members[i] != self && zb_choose_compare(&members[i], self, &step) < 0;
    }
    return rank;
}

const struct zb_choose_member *
zb_choose_first(const struct zb_choose_member *members, uint32_t count)
{
    const struct zb_choose_member *first = NULL;
    enum zb_choose_step step;

    for (uint32_t i = 0; i < count; i++) {
        if (first == NULL || zb_choose_compare(&members[i], first, &step) < 0) {
            first = &members[i];
        }
    }
    return first != NULL && zb_choose_can(first) ? first : NULL;
}

/* The values of both that a step compared; of yes and no only why the second one is not. */
static void
values_say(const struct zb_choose_member *a, const struct zb_choose_member *b,
           enum zb_choose_step step, char *buf, size_t size)
{
    switch (step) {
    case ZB_CHOOSE_ELIGIBLE:
        (void)snprintf(buf, size, "%s cannot lead it", b->node);
        break;
    case ZB_CHOOSE_UNDRAINED:
        (void)snprintf(buf, size, "%s is drained", b->node);
        break;
    case ZB_CHOOSE_DRILLED:
        (void)snprintf(buf, size, "the last drill of %s failed", b->node);
        break;
    case ZB_CHOOSE_WELL:
        (void)snprintf(buf, size, "it failed on %s", b->node);
        break;
    case ZB_CHOOSE_POSITION:
        (void)snprintf(buf, size, "%" PRIu64 "/%" PRIu64 " before %s's %" PRIu64 "/%" PRIu64,
                       a->set.term, a->set.seq, b->node, b->set.term, b->set.seq);
        break;
    case ZB_CHOOSE_PREFERENCE:
        (void)snprintf(buf, size, "before %s in prefer", b->node);
        break;
    case ZB_CHOOSE_LOAD:
        (void)snprintf(buf, size, "leads %" PRIu32 ", %s %" PRIu32, a->leads, b->node, b->leads);
        break;
    case ZB_CHOOSE_NAME:
        (void)snprintf(buf, size, "before %s", b->node);
        break;
    }
}

void
zb_choose_say(const struct zb_choose_member *members, uint32_t count,
              const struct zb_choose_member *first, char buf[ZB_CHOOSE_SAY_SIZE])
{
    const struct zb_choose_member *second = NULL;
    enum zb_choose_step step;
    char values[ZB_CHOOSE_SAY_SIZE / 2];

    for (uint32_t i = 0; i < count; i++) {
        if (&members[i] != first &&
            (second == NULL || zb_choose_compare(&members[i], second, &step) < 0)) {
            second = &members[i];
        }
    }
    if (second == NULL) {
        (void)snprintf(buf, ZB_CHOOSE_SAY_SIZE, "%s, the only one", first->node);
        return;
    }
    (void)zb_choose_compare(first, second, &step);
    values_say(first, second, step, values, sizeof values);
    (void)snprintf(buf, ZB_CHOOSE_SAY_SIZE, "%s, by %s: %s", first->node, zb_choose_word(step),
                   values);
}

void
zb_choose_who(const char *who, const char *order, const char *why, char buf[ZB_CHOOSE_WHO_SIZE])
{
    (void)snprintf(buf, ZB_CHOOSE_WHO_SIZE, "%.60s: %.40s, %s", who, order, why);
}

int64_t
zb_choose_loss_s(int64_t now_s, int64_t set_s, int64_t dead_ms, uint32_t timeout_ms)
{
    int64_t end_s = now_s - dead_ms / 1000;
    int64_t lost_s = end_s - timeout_ms / 1000 - set_s;

    /* Sets are made for a while after the last renewal, but not after the end was certified. */
    if (set_s < 0 || set_s > end_s + CLOCKS_S) {
        return -1;
    }
    return lost_s > 0 ? lost_s : 0;
}
