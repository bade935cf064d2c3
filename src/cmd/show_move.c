#include <inttypes.h>

#include "cmd/field.h"
#include "cmd/format.h"
#include "cmd/show.h"
#include "cmd/table.h"

#define STEPS_COUNT 9
#define TEXT_WIDTH 45 /* of a step's sentence, so that the times stand below each other */
#define BAR_WIDTH 22
#define LINE_EVERY_MS 10000 /* off a terminal */

static void
line_begin(struct zb_show_progress *p, const json_t *progress)
{
    if (p->line_open) {
        fputs("\r\033[K", p->show->out);
        p->line_open = false;
    }
    fprintf(p->show->out, "%2" PRId64 "/%d ", zb_field_int(progress, "step", 0), STEPS_COUNT);
    fprintf(p->show->out, "%-11s ", zb_field_text(progress, "name"));
}

/* Bytes of the send under way, with what is known of its size and speed. */
static void
bytes_print(struct zb_show_progress *p, const json_t *progress)
{
    FILE *out = p->show->out;
    char buf[ZB_TEXT_SIZE];
    int64_t bytes = zb_field_int(progress, "bytes", 0);
    int64_t total = zb_field_int(progress, "bytes_total", 0);
    int64_t elapsed_ms = zb_field_int(progress, "elapsed_ms", 0);
    int64_t rate = 0;

    if (bytes > p->last_bytes && elapsed_ms > p->last_elapsed_ms) {
        rate = (bytes - p->last_bytes) * 1000 / (elapsed_ms - p->last_elapsed_ms);
    }
    p->last_bytes = bytes;
    p->last_elapsed_ms = elapsed_ms;
    if (p->show->terminal && total > 0) {
        fprintf(out, "%s ", zb_format_bar((uint64_t)bytes, (uint64_t)total, BAR_WIDTH, buf));
    }
    fprintf(out, "%s", zb_format_bytes((uint64_t)bytes, buf));
    if (total > 0) {
        fprintf(out, " / %s", zb_format_bytes((uint64_t)total, buf));
    }
    if (rate > 0) {
        fprintf(out, "  %s/s", zb_format_bytes((uint64_t)rate, buf));
    }
    if (rate > 0 && total >= bytes) {
        fprintf(out, "  %s", zb_format_age((total - bytes) / rate, buf));
    }
}

static void
sentence_print(struct zb_show_progress *p, const json_t *progress, bool failed)
{
    FILE *out = p->show->out;
    const char *text = zb_field_text(progress, "text");
    int64_t elapsed_ms = zb_field_int(progress, "elapsed_ms", 0);
    char buf[ZB_TEXT_SIZE];

    if (failed) {
        fputs("FAILED: ", out);
    }
    zb_text_print(out, text);
    if (elapsed_ms >= 50 && !failed) {
        int pad = TEXT_WIDTH - (int)strlen(text);
        fprintf(out, "%*s%s", pad > 2 ? pad : 2, "", zb_format_elapsed(elapsed_ms, buf));
    }
}

void
zb_show_move_progress(struct zb_show_progress *p, const json_t *progress)
{
    const char *phase = zb_field_text(progress, "phase");
    int64_t step = zb_field_int(progress, "step", 0);
    int64_t elapsed_ms = zb_field_int(progress, "elapsed_ms", 0);

    if (step != p->step) {
        p->step = step;
        p->last_bytes = 0;
        p->last_elapsed_ms = 0;
        p->printed_ms = 0;
    }
    if (strcmp(phase, "end") == 0 || strcmp(phase, "fail") == 0) {
        line_begin(p, progress);
        sentence_print(p, progress, phase[0] == 'f');
        fputc('\n', p->show->out);
    } else if (p->show->terminal) {
        line_begin(p, progress);
        if (strcmp(phase, "bytes") == 0) {
            bytes_print(p, progress);
        } else {
            zb_text_print(p->show->out, zb_field_text(progress, "text"));
        }
        p->line_open = true;
    } else if (strcmp(phase, "bytes") == 0 && elapsed_ms - p->printed_ms >= LINE_EVERY_MS) {
        line_begin(p, progress);
        bytes_print(p, progress);
        fputc('\n', p->show->out);
        p->printed_ms = elapsed_ms;
    }
    fflush(p->show->out);
}

void
zb_show_move_end(struct zb_show_progress *p)
{
    if (p->line_open) {
        fputc('\n', p->show->out);
        p->line_open = false;
    }
}

void
zb_show_move_result(const struct zb_show *show, const char *service, const char *node,
                    const json_t *data)
{
    int64_t down_ms = zb_field_int(data, "down_ms", -1);
    int64_t own_ms = zb_field_int(data, "own_ms", -1);

    fprintf(show->out, "%s runs on %s.", service, node);
    if (down_ms >= 0) {
        fprintf(show->out, " Down for %" PRId64 ".%" PRId64 " s", (down_ms + 50) / 1000,
                (down_ms + 50) % 1000 / 100);
    }
    if (down_ms >= 0 && own_ms >= 0) {
        fprintf(show->out, " (%" PRId64 ".%" PRId64 " s of it zbaton's)", (own_ms + 50) / 1000,
                (own_ms + 50) % 1000 / 100);
    }
    fprintf(show->out, "%s Nothing lost.\n", down_ms >= 0 ? "." : "");
}

void
zb_show_move_plan(const struct zb_show *show, const json_t *data)
{
    size_t i, j;
    json_t *step, *call;

    json_array_foreach(zb_field_array(data, "steps"), i, step)
    {
        fprintf(show->out, "%2" PRId64 "/%d %-11s ", zb_field_int(step, "step", 0), STEPS_COUNT,
                zb_field_text(step, "name"));
        zb_text_print(show->out, zb_field_text(step, "text"));
        fputc('\n', show->out);
        json_array_foreach(zb_field_array(step, "calls"), j, call)
        {
            fprintf(show->out, "%17s", "");
            zb_text_print(show->out, json_is_string(call) ? json_string_value(call) : "");
            fputc('\n', show->out);
        }
    }
    fputs("Dry run: nothing was changed.\n", show->out);
}
