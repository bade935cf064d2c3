/*
 * How fast something goes, and how long it still takes. Pure arithmetic: times come from outside.
 */
#ifndef ZB_AGENT_PROGRESS_H
#define ZB_AGENT_PROGRESS_H

#include <jansson.h>

#include "agent/agent.h"

#define ZB_PROGRESS_SAMPLES 11 /* one a second: the last 10 s */

/* Bytes done at moments of the last seconds, as a ring. Zeroed at the beginning. */
struct zb_progress {
    uint32_t count;
    uint32_t newest;
    struct {
        int64_t ms;
        uint64_t bytes;
    } samples[ZB_PROGRESS_SAMPLES];
};

/* To be called every second or more often; what comes sooner after the last sample is left out. */
void zb_progress_note(struct zb_progress *p, int64_t now_ms, uint64_t bytes);
/* Bytes a second over the last 10 s; 0: nothing moved, or it has not gone on for a second yet. */
uint64_t zb_progress_rate(const struct zb_progress *p, int64_t now_ms, uint64_t bytes);
/* Seconds, rounded up; -1: not known, as there is no estimate, nothing moves, or more was done than
 * was estimated. */
int64_t zb_progress_left_s(uint64_t done, uint64_t total, uint64_t rate);

/* bytes, bytes_total, rate and left_s as the control socket has them; what is not known is null. */
void zb_progress_put(json_t *object, const struct zb_agent_ship_view *view);
/* An object of these; of NULL: null. */
json_t *zb_progress_json(const struct zb_agent_ship_view *view);
/* "62% 00:00:09", without the time where it is not known. Where there is no estimate, or more was
 * done, buf stays as it is. */
void zb_progress_format(const struct zb_agent_ship_view *view, char *buf, size_t size);

#endif
