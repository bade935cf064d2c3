#include "agent/pause.h"

#include <time.h>
#include <unistd.h>

#include "base/log.h"

/* "" for an action that is no point. */
static void
point_name(const struct zb_action *action, char *out, size_t size)
{
    static const char *const phases[] = {
        [ZB_STEP_BEGIN] = "begin", [ZB_STEP_END] = "end", [ZB_STEP_FAIL] = "fail"};

    out[0] = '\0';
    if (action->kind == ZB_ACT_STEP) {
        (void)snprintf(out, size, "%u-%s", (unsigned)action->step, phases[action->phase]);
    } else if (action->kind == ZB_ACT_NOTE) {
        (void)snprintf(out, size, "%s", action->rule);
    } else if (action->kind == ZB_ACT_LEARN || action->kind == ZB_ACT_RESCUE) {
        (void)snprintf(out, size, "%s", action->kind == ZB_ACT_LEARN ? "learn" : "rescue");
    }
}

void
zb_pause_point(const struct zb_action *action)
{
    const struct timespec moment = {.tv_nsec = 20000000};
    char point[64];
    char wanted[80];
    char held[80];

    point_name(action, point, sizeof(point));
    (void)snprintf(wanted, sizeof(wanted), "/pause-%s", point);
    (void)snprintf(held, sizeof(held), "/held-%s", point);
    if (point[0] == '\0' || rename(wanted, held) != 0) {
        return;
    }
    zb_log_info("held at %s", point);
    while (access(held, F_OK) == 0) {
        (void)nanosleep(&moment, NULL);
    }
    zb_log_info("goes on after %s", point);
}
