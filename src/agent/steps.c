#include "agent/steps.h"

#include <assert.h>

#include "agent/json.h"
#include "agent/must.h"

/* {name} stands for a word of struct zb_step_words. The calls are what the keepers do through
 * libzfs_core, mount(2) and the runner, written as the commands they equal. */
static const struct zb_step_line move_lines[] = {
    {"check",
     "{target} follows {source} and holds set {set}; {bytes} written since",
     "{target} has set {set}, {bytes} written since",
     {"{source}: zfs list -Hp -r -o name,guid,written,mounted {source_dataset}"}},
    {"pre-sync",
     "send what is new while {service} runs",
     "{bytes} sent while {service} ran",
     {"{source}: zfs snapshot -r {source_dataset}@zbaton-{term}-SEQ-TIME",
      "{source}: zfs send -Lc -i @BASE {source_dataset}@SET   (each dataset)",
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
     {"{source}: zfs send -Lc -i @BASE {source_dataset}@FINAL   (each dataset)",
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

const struct zb_steps zb_steps_move = {sizeof move_lines / sizeof move_lines[0], move_lines};

static const struct zb_step_line failover_lines[] = {
    {"check",
     "{target} is a member with a copy of {service}: {set}",
     "{target} holds set {set}",
     {"{target}: zfs list -Hp -r -o name,guid,written,mounted {target_dataset}"}},
    {"collect",
     "a majority of the members stops writing and receiving, grants {target} term {next}, durably, "
     "and tells what it holds",
     "a majority granted term {next}",
     {"each member: stop {unit} and unmount, where it leads",
      "each member: record: granted {next} to {target}"}},
    {"fence",
     "whoever may still be writing has granted too, or is off: said after the grants",
     "nobody else can be writing",
     {"{fence}"}},
    {"forward",
     "the newest set that is held by somebody who granted comes to {target} first",
     "{target} holds set {set}, the newest there is",
     {"who holds it: zfs send -Lc -i @BASE ...@SET   (each dataset)",
      "{target}: zfs receive -u {target_dataset}"}},
    {"take",
     "{target} records term {next} with the set that it goes on from, mounts read-write and proves "
     "it",
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
     "the others follow {target}; who has written after that set keeps it as a rescue",
     "the others that are reachable follow {target}",
     {"{target}: zfs snapshot -r {target_dataset}@zbaton-{next}-00000000-TIME",
      "who has written: zfs rename to ROOT/.rescue/..., zfs clone and zfs promote of the last set "
      "in "
      "common"}},
};
const struct zb_steps zb_steps_failover = {sizeof failover_lines / sizeof failover_lines[0],
                                           failover_lines};

static const struct zb_step_line revert_lines[] = {
    {"check",
     "{target} leads {service} and holds set {set} whole",
     "{target} holds set {set}",
     {"{target}: zfs list -Hp -r -t snapshot -o name,guid {target_dataset}"}},
    {"collect",
     "stop {unit}, unmount; a majority of the members grants {target} term {next}",
     "stopped; a majority granted term {next}",
     {"{target}: {stop}", "{target}: umount {mountpoint}   (children first, not lazily)",
      "each member: record: granted {next} to {target}"}},
    {"fence", "whoever may still be writing has granted too", "nobody else can be writing", {NULL}},
    {"aside",
     "what came after set {set} is set aside on {target} as a rescue",
     "{target} stands on set {set}; what came after it is a rescue",
     {"{target}: zfs rename {target_dataset} ROOT/.rescue/...",
      "{target}: zfs clone and zfs promote of set {set}"}},
    {"take",
     "{target} records term {next} with set {set}, mounts read-write and proves it",
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
     "every other member sets aside what came after set {set}, and follows",
     "the others that are reachable follow {target}",
     {"{target}: zfs snapshot -r {target_dataset}@zbaton-{next}-00000000-TIME",
      "each member: zfs rename to ROOT/.rescue/..., zfs clone and zfs promote of set {set}"}},
};
const struct zb_steps zb_steps_revert = {sizeof revert_lines / sizeof revert_lines[0],
                                         revert_lines};

const char *
zb_steps_name(const struct zb_steps *steps, unsigned step)
{
    assert(step >= 1 && step <= steps->count);
    return steps->lines[step - 1].name;
}

static const char *
word_find(const struct zb_step_words *w, const char *name, size_t length)
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
        {"fence", w->fence},
    };

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strlen(words[i].name) == length && memcmp(words[i].name, name, length) == 0) {
            return words[i].value;
        }
    }
    abort(); /* a misspelt word in the table: every step is expanded by a test */
}

static void
expand(const char *text, const struct zb_step_words *words, char *buf, size_t size)
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
zb_steps_done(const struct zb_steps *steps, unsigned step, const struct zb_step_words *words,
              char *buf, size_t size)
{
    assert(step >= 1 && step <= steps->count);
    expand(steps->lines[step - 1].done, words, buf, size);
}

json_t *
zb_steps_plan(const struct zb_steps *steps, const struct zb_step_words *words)
{
    json_t *plan = zb_json_array_new();
    char text[2048];

    for (unsigned i = 0; i < steps->count; i++) {
        const struct zb_step_line *line = &steps->lines[i];
        json_t *step = zb_must(json_object());
        json_t *calls = zb_json_array_new();
        expand(line->plan, words, text, sizeof text);
        zb_json_put(step, "step", zb_json_int(i + 1));
        zb_json_put(step, "name", zb_json_text(line->name));
        zb_json_put(step, "text", zb_json_text(text));
        for (unsigned c = 0; c < ZB_STEP_CALLS_MAX && line->calls[c] != NULL; c++) {
            expand(line->calls[c], words, text, sizeof text);
            zb_json_append(calls, zb_json_text(text));
        }
        zb_json_put(step, "calls", calls);
        zb_json_append(plan, step);
    }
    return plan;
}

json_t *
zb_steps_note(const struct zb_steps *steps, unsigned step, const char *phase, const char *text,
              int64_t elapsed_ms)
{
    json_t *line = zb_must(json_object());

    zb_json_put(line, "step", zb_json_int(step));
    zb_json_put(line, "of", zb_json_int(steps->count));
    zb_json_put(line, "name", zb_json_text(zb_steps_name(steps, step)));
    zb_json_put(line, "phase", zb_json_text(phase));
    zb_json_put(line, "text", zb_json_text(text));
    zb_json_put(line, "elapsed_ms", zb_json_int(elapsed_ms));
    return line;
}

json_t *
zb_steps_progress(const struct zb_steps *steps, unsigned step, enum zb_step_phase phase,
                  const char *text, int64_t elapsed_ms)
{
    static const char *const words[] = {
        [ZB_STEP_BEGIN] = "begin", [ZB_STEP_END] = "end", [ZB_STEP_FAIL] = "fail"};

    return zb_steps_note(steps, step, words[phase], text, elapsed_ms);
}
