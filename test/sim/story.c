/* What happened, for people: printed as it happens, or the last lines of a failed run. */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LINES 4096
#define LINE_SIZE 200

static char (*lines)[LINE_SIZE]; /* NULL: nothing is kept */
static size_t lines_count;
static char storage[LINES][LINE_SIZE];

void
sim_story_keep(bool keep)
{
    lines = keep ? storage : NULL;
    lines_count = 0;
}

void
sim_tell(struct sim *w, uint8_t node, const char *fmt, ...)
{
    char text[LINE_SIZE];
    va_list ap;

    if (!w->opt.trace && lines == NULL) {
        return;
    }
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (w->opt.trace) {
        printf("%10.3f n%u %s\n", (double)w->now_ms / 1000, node + 1, text);
    } else {
        (void)snprintf(lines[lines_count++ % LINES], LINE_SIZE, "%10.3f n%u %.170s",
                       (double)w->now_ms / 1000, node + 1, text);
    }
}

void
sim_story_print(size_t count)
{
    size_t first = lines_count > count ? lines_count - count : 0;

    for (size_t i = first; lines != NULL && i < lines_count; i++) {
        printf("%s\n", lines[i % LINES]);
    }
}

const char *
sim_act_word(enum zb_act_kind kind)
{
    static const char *const words[] = {
        [ZB_ACT_OBSERVE] = "observe", [ZB_ACT_CREATE] = "create",     [ZB_ACT_GRANT] = "grant",
        [ZB_ACT_LEARN] = "learn",     [ZB_ACT_PROMOTE] = "promote",   [ZB_ACT_START] = "start",
        [ZB_ACT_STOP] = "stop",       [ZB_ACT_SNAPSHOT] = "snapshot", [ZB_ACT_SEAL] = "seal",
        [ZB_ACT_RELEASE] = "release", [ZB_ACT_DEMOTE] = "demote",     [ZB_ACT_PRUNE] = "prune",
        [ZB_ACT_SHIP] = "ship",       [ZB_ACT_MESSAGE] = "message",   [ZB_ACT_STEP] = "step",
        [ZB_ACT_REPLY] = "reply",     [ZB_ACT_NOTE] = "note",         [ZB_ACT_TERM] = "term",
        [ZB_ACT_RESCUE] = "rescue",
    };
    return kind < sizeof(words) / sizeof(words[0]) && words[kind] != NULL ? words[kind] : "?";
}

static void
service_print(struct sim *w, uint8_t node, uint8_t service)
{
    const struct sim_service *s = &w->nodes[node].services[service];
    const struct zb_record *r = &s->record.rec;
    struct zb_set_ref newest;
    struct zb_core_view v = {.why = "", .why_rule = ""};

    if (w->nodes[node].engine) {
        zb_core_view(w->cores[node], service, &v);
    }
    sim_position(w, node, service, &newest);
    printf("  n%u service %u %s%s, %s: %s; granted %lu %s, learned %lu %s, established %lu,"
           " released %lu %s, set %lu/%lu%s, %s (%s)\n",
           node + 1, service, w->nodes[node].on ? "on" : "off",
           w->nodes[node].engine ? "" : ", no engine", zb_keeper_stage_word(s->stage),
           w->nodes[node].engine ? zb_role_word(v.role) : "-", (unsigned long)r->granted_term,
           r->granted_to, (unsigned long)r->learned_term, r->learned_leader,
           (unsigned long)r->established_term, (unsigned long)r->released_term, r->released_to,
           (unsigned long)newest.id.term, (unsigned long)newest.id.seq,
           s->running ? ", running" : "", v.why, v.why_rule);
    for (uint8_t i = 0; i < w->opt.datasets; i++) {
        const struct sim_dataset *d = &s->datasets[i];
        uint32_t foreign = 0;
        for (uint32_t j = 0; j < d->snaps_count; j++) {
            foreign += zb_set_id_is_none(d->snaps[j].id);
        }
        if (d->exists) {
            printf("     dataset %u uuid %u mount %u%s%s%s%s live %u synced %u logged %u snaps %u,"
                   " %u of others, newest %lu of version %u\n",
                   i, d->uuid, d->mount, d->orphan ? " orphan" : "", d->partial ? " partial" : "",
                   d->lazy ? " lazy" : "", d->outsider ? " held" : "", d->live, d->synced,
                   d->logged, d->snaps_count, foreign,
                   (unsigned long)(d->snaps_count > 0 ? d->snaps[d->snaps_count - 1].guid : 0),
                   d->snaps_count > 0 ? d->snaps[d->snaps_count - 1].version : 0);
        }
    }
}

void
sim_state_print(struct sim *w)
{
    for (uint8_t i = 0; i < w->opt.services; i++) {
        for (uint8_t n = 0; n < w->opt.nodes; n++) {
            service_print(w, n, i);
        }
    }
    for (uint32_t i = 0; i < w->commands_count; i++) {
        const struct sim_command *c = &w->commands[i];
        if (!c->answered && !c->dropped) {
            printf("  command %lu of n%u is not answered\n", (unsigned long)c->id, c->node + 1);
        }
    }
}
