#include "agent/choose.h"

#include <string.h>

#define CLOCKS_S 5 /* that two hosts' clocks may differ by without a word */

const char *
zb_choose_word(enum zb_choose_step step)
{
    static const char *const words[] = {
        [ZB_CHOOSE_ELIGIBLE] = "eligible", [ZB_CHOOSE_DRILLED] = "drill",
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
        [ZB_CHOOSE_DRILLED] = more_first(a->drilled, b->drilled),
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

uint32_t
zb_choose_rank(const struct zb_choose_member *members, uint32_t count, const char *node)
{
    const struct zb_choose_member *self = NULL;
    enum zb_choose_step step;
    uint32_t rank = 0;

    for (uint32_t i = 0; i < count; i++) {
        self = strcmp(members[i].node, node) == 0 ? &members[i] : self;
    }
    if (self == NULL || !self->eligible || !self->drilled) {
        return count;
    }
    for (uint32_t i = 0; i < count; i++) {
        rank += &members[i] != self && zb_choose_compare(&members[i], self, &step) < 0;
    }
    return rank;
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
