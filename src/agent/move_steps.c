#include "agent/move_steps.h"

#include <assert.h>

#include "agent/json.h"
#include "agent/must.h"

#define CALLS_MAX 6

/* {name} stands for a word of struct zb_move_words. The calls are what the keepers do through
 * libzfs_core, mount(2) and the runner, written as the commands they equal. */
static const struct step {
    const char *name;
    const char *plan; /* what it is going to do */
    const char *done; /* when it is done */
    const char *calls[CALLS_MAX];
} steps[ZB_MOVE_STEPS] = {
    {"check",
     "{target} follows {source} and holds set {set}; {bytes} written since",
     "{target} has set {set}, {bytes} written since",
     {"{source}: zfs list -Hp -r -o name,guid,written,mounted {source_dataset}"}},
    {"pre-sync",
     "send what is new while {service} runs",
     "{bytes} sent while {service} ran",
     {"{source}: zfs snapshot -r {source_dataset}@zbaton-{term}-SEQ-TIME",
      "{source}: zfs send -Lec -i @BASE {source_dataset}@SET   (each dataset)",
      "{target}: zfs receive -u {target_dataset}"}},
    {"stop",
     "stop {unit} on {source}; if it does not end in time, start it again and end",
     "{unit} on {source}",
     {"{source}: {stop}"}},
    {"seal",
     "flush, final set, unmount without force, prove that nothing was written after it",
     "unmounted, read-only, final set {set}, written=0",
     {"{source}: sync -f {mountpoint}",
      "{source}: zfs snapshot -r {source_dataset}@zbaton-{term}-SEQ-TIME",
      "{source}: umount {mountpoint}   (children first, not lazily)",
      "{source}: zfs program -n POOL zfs.check.rollback {source_dataset}   (nothing holds it)",
      "{source}: zfs list -Hp -r -o name,guid,written {source_dataset}   (written = 0)"}},
    {"send",
     "send the final set to {target} and the other followers; they re-read every guid",
     "{bytes} to {target}, every dataset verified by guid",
     {"{source}: zfs send -Lec -i @BASE {source_dataset}@FINAL   (each dataset)",
      "{target}: zfs receive -u {target_dataset}",
      "{target}: zfs list -Hp -r -t snapshot -o name,guid {target_dataset}"}},
    {"release",
     "{source} gives term {next} to {target}, durably; from here on only forward",
     "term {term}, {source} -> {target}",
     {"{source}: record: granted and released {next} to {target}"}},
    {"take",
     "a majority grants term {next}; {target} records it, mounts read-write and proves it",
     "term {next}, writable on {target}, probe ok",
     {"{target}: record: established {next}",
      "{target}: zfs set mountpoint={mountpoint} {target_dataset}",
      "{target}: mount -t zfs -o rw {target_dataset} {mountpoint}   (parents first)",
      "{target}: write, fsync and remove a file in each dataset"}},
    {"start",
     "start {unit} on {target} and check it",
     "{unit} on {target}, healthy",
     {"{target}: {start}"}},
    {"follow",
     "{source} and the others follow {target}",
     "{source} and the others follow {target}",
     {"{target}: zfs snapshot -r {target_dataset}@zbaton-{next}-00000000-TIME"}},
};

const char *
zb_move_step_name(unsigned step)
{
    assert(step >= 1 && step <= ZB_MOVE_STEPS);
    return steps[step - 1].name;
}

static const char *
word_find(const struct zb_move_words *w, const char *name, size_t length)
{
    const struct {
        const char *name;
        const char *value;
    } words[] = {
        {"service", w->service},
        {"source", w->source},
        {"target", w->target},
        {"source_dataset", w->source_dataset},
        {"target_dataset", w->target_dataset},
        {"mountpoint", w->mountpoint},
        {"start", w->start},
        {"stop", w->stop},
        {"unit", w->unit},
        {"set", w->set},
        {"bytes", w->bytes},
        {"term", w->term},
        {"next", w->next},
    };

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strlen(words[i].name) == length && memcmp(words[i].name, name, length) == 0) {
            return words[i].value;
        }
    }
    abort(); /* a misspelt word in the table: every step is expanded by a test */
}

static void
expand(const char *text, const struct zb_move_words *words, char *buf, size_t size)
{
    size_t used = 0;

    for (const char *p = text; *p != '\0';) {
        const char *piece = p;
        size_t length = strcspn(p, "{");
        if (length == 0) {
            size_t name = strcspn(p, "}");
            piece = word_find(words, p + 1, name - 1);
            length = strlen(piece);
            p += name + 1;
        } else {
            p += length;
        }
        length = length < size - 1 - used ? length : size - 1 - used;
        memcpy(buf + used, piece, length);
        used += length;
    }
    buf[used] = '\0';
}

void
zb_move_step_done(unsigned step, const struct zb_move_words *words, char *buf, size_t size)
{
    assert(step >= 1 && step <= ZB_MOVE_STEPS);
    expand(steps[step - 1].done, words, buf, size);
}

json_t *
zb_move_steps_plan(const struct zb_move_words *words)
{
    json_t *plan = zb_json_array_new();
    char text[2048];

    for (unsigned i = 0; i < ZB_MOVE_STEPS; i++) {
        json_t *step = zb_must(json_object());
        json_t *calls = zb_json_array_new();
        expand(steps[i].plan, words, text, sizeof text);
        zb_json_put(step, "step", zb_json_int(i + 1));
        zb_json_put(step, "name", zb_json_text(steps[i].name));
        zb_json_put(step, "text", zb_json_text(text));
        for (unsigned c = 0; c < CALLS_MAX && steps[i].calls[c] != NULL; c++) {
            expand(steps[i].calls[c], words, text, sizeof text);
            zb_json_append(calls, zb_json_text(text));
        }
        zb_json_put(step, "calls", calls);
        zb_json_append(plan, step);
    }
    return plan;
}
