/*
 * A scenario: a list of choices, from a cluster at rest that n1 leads, told in a file. A line is
 *
 *     LABEL                     that choice (choice.c; --trace shows them)
 *     all [but NODE...]         everything on its way, the oldest first, until nothing is
 *     until LABEL [but NODE...] the same, until that choice is there
 *     expect NODE ROLE          the role of that node's core
 *
 * `but` leaves out what those nodes do and are sent. Starts are never part of `all` and `until`: a
 * host is off, and a process ended, until its line; nor is what a `repeat` keeps for later. Before
 * the first step `nodes N` may stand (3 if not; `nodes N witness`: etcd votes too), and `breaks
 * MUTATION RULE` for each mutation with which the scenario has to end in a violation of that rule
 * (check-scenarios). `#` begins a comment; the first one says what it is.
 *
 * Every check of a run is on. At the end everything is healed, and liveness is asked for.
 */
#include "choice.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEPS_MAX 20000 /* of one `all`: it does not come to rest */
#define WORDS_MAX 16

struct scenario {
    struct sim *w;
    struct sim_bounds bounds;
    const char *name;
    unsigned line;
    unsigned nodes;
    bool witness;
    bool begun;
    bool unfit;
    bool trace;
    unsigned words_count;
    char *words[WORDS_MAX];
};

/* ---- what cannot be done ---- */

__attribute__((format(printf, 2, 3))) static void
unfit(struct scenario *s, const char *fmt, ...)
{
    va_list ap;

    s->unfit = true;
    printf("%s:%u: ", s->name, s->line);
    va_start(ap, fmt);
    (void)vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
}

static void
choices_print(const struct scenario *s)
{
    struct sim_choice choices[SIM_CHOICES_MAX];
    unsigned count = sim_choices_list(s->w, &s->bounds, choices);
    char label[SIM_LABEL_SIZE];

    printf("what may happen there:\n");
    for (unsigned i = 0; i < count; i++) {
        sim_choice_label(s->w, &choices[i], label);
        printf("  %s\n", label);
    }
}

/* ---- steps ---- */

/* The words from `first` to `last` as one label. */
static void
label_join(const struct scenario *s, unsigned first, unsigned last, char out[SIM_LABEL_SIZE])
{
    size_t used = 0;

    out[0] = '\0';
    for (unsigned i = first; i < last && used < SIM_LABEL_SIZE; i++) {
        used += (size_t)snprintf(out + used, SIM_LABEL_SIZE - used, "%s%s", i > first ? " " : "",
                                 s->words[i]);
    }
}

static bool
find(const struct scenario *s, const char *wanted, struct sim_choice *out)
{
    struct sim_choice choices[SIM_CHOICES_MAX];
    unsigned count = sim_choices_list(s->w, &s->bounds, choices);
    char label[SIM_LABEL_SIZE];

    for (unsigned i = 0; i < count; i++) {
        sim_choice_label(s->w, &choices[i], label);
        if (strcmp(label, wanted) == 0) {
            *out = choices[i];
            return true;
        }
    }
    return false;
}

static void
choose(struct scenario *s, const struct sim_choice *c)
{
    struct sim_bounds bounds = s->bounds;
    char label[SIM_LABEL_SIZE];

    if (s->trace) {
        sim_choice_label(s->w, c, label);
        printf("> %s\n", label);
    }
    sim_choice_run(s->w, c, &bounds);
}

static bool
node_read(struct scenario *s, const char *word, uint8_t *node)
{
    if (word[0] != 'n' || word[1] < '1' || word[1] >= (char)('1' + s->w->opt.nodes) ||
        word[2] != '\0') {
        unfit(s, "%s is no node", word);
        return false;
    }
    *node = (uint8_t)(word[1] - '1');
    return true;
}

/* Goes on by itself, and is not about the nodes that are left out. */
static bool
is_on_its_way(const struct scenario *s, const struct sim_choice *c, uint32_t left_out)
{
    const struct sim_item *item = c->what == SIM_CHOOSE_ITEM ? sim_choice_item(s->w, c) : NULL;
    bool of_two = item != NULL && (item->kind == SIM_MESSAGE || item->kind == SIM_SHIP);

    return item != NULL && item->kind != SIM_START_NODE && item->kind != SIM_START_KEEPER &&
           item->kind != SIM_START_ENGINE && (left_out & (1u << item->node)) == 0 &&
           (!of_two || (left_out & (1u << item->peer)) == 0) &&
           (item->kind != SIM_MESSAGE || item->session != 0);
}

/* wanted: until it is there; NULL: until nothing is on its way. */
static void
go_on(struct scenario *s, const char *wanted, uint32_t left_out)
{
    struct sim_choice choices[SIM_CHOICES_MAX];

    for (unsigned steps = 0; !s->w->failed; steps++) {
        struct sim_choice there;
        unsigned count;
        unsigned i = 0;
        if (wanted != NULL && find(s, wanted, &there)) {
            return;
        }
        count = sim_choices_list(s->w, &s->bounds, choices);
        while (i < count && !is_on_its_way(s, &choices[i], left_out)) {
            i++;
        }
        if (i == count && wanted == NULL) {
            return;
        }
        if (i == count || steps == STEPS_MAX) {
            unfit(s, "it does not come to: %s", wanted != NULL ? wanted : "rest");
            choices_print(s);
            return;
        }
        choose(s, &choices[i]);
    }
}

static void
step_go_on(struct scenario *s)
{
    bool until = strcmp(s->words[0], "until") == 0;
    char label[SIM_LABEL_SIZE];
    uint32_t left_out = 0;
    uint8_t node;
    unsigned but = 1;

    while (but < s->words_count && strcmp(s->words[but], "but") != 0) {
        but++;
    }
    for (unsigned i = but + 1; i < s->words_count && node_read(s, s->words[i], &node); i++) {
        left_out |= 1u << node;
    }
    if ((but > 1) != until || but + 1 == s->words_count) {
        unfit(s, "all [but NODE...], or until LABEL [but NODE...]");
    }
    if (!s->unfit) {
        label_join(s, 1, but, label);
        go_on(s, until ? label : NULL, left_out);
    }
}

static void
step_expect(struct scenario *s)
{
    struct zb_core_view v;
    const char *role = "no engine";
    uint8_t node;
    char wanted[SIM_LABEL_SIZE];

    if (s->words_count < 3) {
        unfit(s, "expect NODE ROLE");
    } else if (node_read(s, s->words[1], &node)) {
        if (s->w->nodes[node].engine) {
            zb_core_view(s->w->cores[node], 0, &v);
            role = zb_role_word(v.role);
        }
        label_join(s, 2, s->words_count, wanted);
        if (strcmp(role, wanted) != 0) {
            unfit(s, "n%u: %s, and not %s", node + 1u, role, wanted);
        }
    }
}

static void
step_choice(struct scenario *s)
{
    struct sim_choice c;
    char label[SIM_LABEL_SIZE];

    label_join(s, 0, s->words_count, label);
    if (find(s, label, &c)) {
        choose(s, &c);
    } else {
        unfit(s, "cannot happen: %s", label);
        choices_print(s);
    }
}

/* ---- the file ---- */

static void
step_nodes(struct scenario *s)
{
    s->witness = s->words_count == 3 && strcmp(s->words[2], "witness") == 0;
    s->nodes = s->words_count == 2 || s->witness ? (unsigned)strtoul(s->words[1], NULL, 10) : 0;
    if (s->begun || s->nodes < 2 || s->nodes > SIM_NODES) {
        unfit(s, "nodes 2 to %d, before the first step", SIM_NODES);
    }
}

static void
begin(struct scenario *s)
{
    s->begun = true;
    sim_rest(s->w, s->nodes, s->witness);
    s->w->failed = false; /* how term 1 came about is no part of it */
    s->w->opt.trace = s->trace;
}

static void
line_run(struct scenario *s, char *text)
{
    const char *first;
    char *rest = NULL;

    text[strcspn(text, "#\n")] = '\0';
    s->words_count = 0;
    for (char *word = strtok_r(text, " \t", &rest); word != NULL && s->words_count < WORDS_MAX;
         word = strtok_r(NULL, " \t", &rest)) {
        s->words[s->words_count++] = word;
    }
    if (s->words_count == 0) {
        return;
    }
    first = s->words[0];
    if (strcmp(first, "nodes") == 0) {
        step_nodes(s);
        return;
    }
    if (strcmp(first, "breaks") == 0) {
        return;
    }
    if (!s->begun) {
        begin(s);
    }
    if (s->trace) {
        printf("--- line %u\n", s->line);
    }
    if (strcmp(first, "all") == 0 || strcmp(first, "until") == 0) {
        step_go_on(s);
    } else if (strcmp(first, "expect") == 0) {
        step_expect(s);
    } else {
        step_choice(s);
    }
}

static FILE *
scenario_open(const char *name)
{
    char path[4096];
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s%s", strchr(name, '/') != NULL ? "" : SIM_SCENARIOS "/",
                   name);
    file = fopen(path, "re");
    if (file == NULL) {
        fprintf(stderr, "zbsim: %s: %s\n", path, strerror(errno));
    }
    return file;
}

static enum sim_scenario_end
end(struct scenario *s)
{
    if (!s->begun) {
        unfit(s, "no step");
    }
    if (s->unfit) {
        return SIM_SCENARIO_UNFIT;
    }
    if (!s->w->failed) {
        s->w->manual = false;
        s->line = 0;
        (void)sim_end(s->w);
    }
    if (!s->w->failed) {
        printf("%s: holds\n", s->name);
        return SIM_SCENARIO_HOLDS;
    }
    printf("%s, %s %u: %s\n", s->name, s->line > 0 ? "line" : "after it was healed", s->line,
           s->w->failure);
    return SIM_SCENARIO_BREAKS;
}

enum sim_scenario_end
sim_scenario_run(struct sim *w, const char *name, bool trace)
{
    struct scenario s = {.w = w, .name = name, .nodes = 3, .trace = trace};
    FILE *file = scenario_open(name);
    enum sim_scenario_end how;
    char text[256];

    if (file == NULL) {
        return SIM_SCENARIO_UNFIT;
    }
    for (unsigned k = 0; k < SIM_CHOOSE_COUNT; k++) {
        s.bounds.left[k] = 1;
    }
    while (!s.unfit && !(s.begun && w->failed) && fgets(text, sizeof(text), file) != NULL) {
        s.line++;
        line_run(&s, text);
    }
    (void)fclose(file);
    how = end(&s);
    if (s.begun && (trace || how == SIM_SCENARIO_UNFIT)) {
        sim_state_print(w);
    }
    if (s.begun) {
        sim_close(w);
    }
    return how;
}

/* Its first comment. */
static void
summary_print(const char *name)
{
    FILE *file = scenario_open(name);
    char text[256] = "";

    if (file != NULL) {
        (void)fgets(text, sizeof(text), file);
        (void)fclose(file);
    }
    text[strcspn(text, "\n")] = '\0';
    printf("%-28s %s\n", name, text + strspn(text, "# "));
}

static int
is_scenario(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

bool
sim_scenarios_list(void)
{
    struct dirent **names;
    int count = scandir(SIM_SCENARIOS, &names, is_scenario, alphasort);

    if (count < 0) {
        fprintf(stderr, "zbsim: %s: %s\n", SIM_SCENARIOS, strerror(errno));
        return false;
    }
    for (int i = 0; i < count; i++) {
        summary_print(names[i]->d_name);
        free(names[i]);
    }
    free(names);
    return true;
}
