#include "agent/progress.h"

#include <inttypes.h>

#include "agent/json.h"
#include "agent/must.h"

#define EVERY_MS 1000
#define SPAN_MS 10000

void
zb_progress_note(struct zb_progress *p, int64_t now_ms, uint64_t bytes)
{
    if (p->count > 0 && now_ms - p->samples[p->newest].ms < EVERY_MS) {
        return;
    }
    p->newest = p->count > 0 ? (p->newest + 1) % ZB_PROGRESS_SAMPLES : 0;
    p->samples[p->newest].ms = now_ms;
    p->samples[p->newest].bytes = bytes;
    p->count += p->count < ZB_PROGRESS_SAMPLES;
}

uint64_t
zb_progress_rate(const struct zb_progress *p, int64_t now_ms, uint64_t bytes)
{
    for (uint32_t age = p->count; age > 0; age--) { /* the oldest first */
        uint32_t i = (p->newest + ZB_PROGRESS_SAMPLES - (age - 1)) % ZB_PROGRESS_SAMPLES;
        int64_t span_ms = now_ms - p->samples[i].ms;
        if (span_ms <= SPAN_MS + EVERY_MS) {
            return span_ms >= EVERY_MS && bytes > p->samples[i].bytes
                       ? (uint64_t)((double)(bytes - p->samples[i].bytes) * 1000 / (double)span_ms)
                       : 0;
        }
    }
    return 0;
}

int64_t
zb_progress_left_s(uint64_t done, uint64_t total, uint64_t rate)
{
    if (total == 0 || rate == 0 || done > total) {
        return -1;
    }
    uint64_t left_s = (total - done) / rate + ((total - done) % rate > 0);
    return left_s > INT64_MAX ? -1 : (int64_t)left_s;
}

static json_t *
known(uint64_t value, bool is)
{
    return is && value <= INT64_MAX ? zb_json_int((int64_t)value) : zb_must(json_null());
}

void
zb_progress_put(json_t *object, const struct zb_agent_ship_view *view)
{
    zb_json_put(object, "bytes", known(view->bytes_done, true));
    zb_json_put(object, "bytes_total", known(view->bytes_total, view->bytes_total > 0));
    zb_json_put(object, "rate", known(view->rate, view->rate > 0));
    zb_json_put(object, "left_s", known((uint64_t)view->left_s, view->left_s >= 0));
}

json_t *
zb_progress_json(const struct zb_agent_ship_view *view)
{
    if (view == NULL) {
        return json_null();
    }
    json_t *object = zb_must(json_object());
    zb_progress_put(object, view);
    return object;
}

void
zb_progress_format(const struct zb_agent_ship_view *view, char *buf, size_t size)
{
    if (view->bytes_total == 0 || view->bytes_done > view->bytes_total) {
        return;
    }
    int percent = (int)((double)view->bytes_done * 100 / (double)view->bytes_total);
    if (view->left_s < 0) {
        (void)snprintf(buf, size, "%d%%", percent);
        return;
    }
    (void)snprintf(buf, size, "%d%% %02" PRId64 ":%02" PRId64 ":%02" PRId64, percent,
                   view->left_s / 3600, view->left_s / 60 % 60, view->left_s % 60);
}
