#include <inttypes.h>

#include "cmd/field.h"
#include "cmd/format.h"
#include "cmd/show.h"
#include "cmd/table.h"

#define STEPS_COUNT_MAX 99
#define NAME_WIDTH 11 /* of a step's name */
#define TEXT_WIDTH 45 /* of a step's sentence, so that the times stand below each other */
#define BAR_WIDTH 22
#define LINE_EVERY_MS 10000 /* off a terminal */

/* What cannot be negative, whatever the answer says. */
static int64_t
count_field(const json_t *progress, const char *key)
{
    int64_t value = zb_field_int(progress, key, 0);

    return value < 0 ? 0 : value;
}

/* " 1/9 check       " */
static void
step_print(FILE *out, const json_t *step, int64_t of)
{
    const char *name = zb_field_text(step, "name");
    int pad = NAME_WIDTH - (int)strlen(name);

    of = of < 1 || of > STEPS_COUNT_MAX ? STEPS_COUNT_MAX : of;
    fprintf(out, "%2" PRId64 "/%" PRId64 " ", zb_field_int(step, "step", 0), of);
    zb_text_print(out, name);
    fprintf(out, "%*s ", pad > 0 ? pad : 0, "");
}

static void
line_begin(struct zb_show_progress *p, const json_t *progress)
{
    if (p->line_open) {
        fputs("\r\033[K", p->show->out);
        p->line_open = false;
    }
    step_print(p->show->out, progress, zb_field_int(progress, "of", 0));
}

/* Bytes of the send under way, with what is known of its size and speed. */
static void
bytes_print(const struct zb_show_progress *p, const json_t *progress)
{
    FILE *out = p->show->out;
    char buf[ZB_TEXT_SIZE];
    int64_t bytes = count_field(progress, "bytes");
    int64_t total = count_field(progress, "bytes_total");
    int64_t rate = count_field(progress, "rate");
    int64_t left_s = zb_field_int(progress, "left_s", -1);

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
    if (left_s >= 0) {
        fprintf(out, "  %s", zb_format_age(left_s, buf));
    }
}

static void
sentence_print(struct zb_show_progress *p, const json_t *progress, bool failed)
{
    FILE *out = p->show->out;
    const char *text = zb_field_text(progress, "text");
    int64_t elapsed_ms = count_field(progress, "elapsed_ms");
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
zb_show_steps_progress(struct zb_show_progress *p, const json_t *progress)
{
    const char *phase = zb_field_text(progress, "phase");
    int64_t step = zb_field_int(progress, "step", 0);
    int64_t elapsed_ms = count_field(progress, "elapsed_ms");

    if (step != p->step) {
        p->step = step;
        p->printed_ms = 0;
    }
    if (strcmp(phase, "end") == 0 || strcmp(phase, "fail") == 0 || strcmp(phase, "note") == 0) {
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
zb_show_steps_end(struct zb_show_progress *p)
{
    if (p->line_open) {
        fputc('\n', p->show->out);
        p->line_open = false;
    }
}

/* "3.4 s" */
static void
seconds_print(FILE *out, int64_t ms)
{
    int64_t tenths = ms / 100 + (ms % 100 >= 50);

    fprintf(out, "%" PRId64 ".%" PRId64 " s", tenths / 10, tenths % 10);
}

void
zb_show_move_result(const struct zb_show *show, const char *service, const char *node,
                    const json_t *data)
{
    int64_t down_ms = zb_field_int(data, "down_ms", -1);
    int64_t own_ms = zb_field_int(data, "own_ms", -1);

    fprintf(show->out, "%s runs on %s.", service, node);
    if (down_ms >= 0) {
        fputs(" Down for ", show->out);
        seconds_print(show->out, down_ms);
    }
    if (down_ms >= 0 && own_ms >= 0) {
        fputs(" (", show->out);
        seconds_print(show->out, own_ms);
        fputs(" of it zbaton's)", show->out);
    }
    fprintf(show->out, "%s Nothing lost.\n", down_ms >= 0 ? "." : "");
}

void
zb_show_steps_plan(const struct zb_show *show, const json_t *data)
{
    size_t i, j;
    json_t *step, *call;
    const json_t *steps = zb_field_array(data, "steps");

    json_array_foreach(steps, i, step)
    {
        step_print(show->out, step, (int64_t)json_array_size(steps));
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
