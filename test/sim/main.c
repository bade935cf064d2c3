/* zbsim: runs of the simulator by seed. See doc/simulation.md. */
#include "choice.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct sim world;

/* What a seed decides before its run: how large, and how bad. */
static void
options_of(uint64_t seed, uint32_t steps, struct sim_options *o)
{
    uint64_t r = seed * 0x9e3779b97f4a7c15ULL;
    bool noisy = (r >> 60 & 3) == 0;

    *o = (struct sim_options){
        .seed = seed,
        .nodes = (uint8_t)(2 + (r >> 56 & 7) % 4),
        .services = (uint8_t)(1 + (r >> 50 & 1)),
        .datasets = (uint8_t)(1 + (r >> 48 & 3) % SIM_DATASETS),
        .steps = steps,
        .fault_ms = 1000 + (int64_t)(r >> 40 & 255) * 30,
        .operator_ms = 500 + (int64_t)(r >> 32 & 255) * 40,
        .loss = noisy ? 30 : 0,
        .duplicates = noisy ? 50 : 0,
        .reorder = noisy ? 100 : 0,
        .op_failures = (r >> 46 & 1) != 0 ? 30 : 0,
        .failovers = (r >> 45 & 1) != 0 ? 50 : 0,
        .catch_up = (r >> 44 & 1) != 0 ? 1 + (uint32_t)(r >> 36 & 7) : SIM_SNAPS,
        .changes = (r >> 42 & 3) == 0 ? 100 : 0,
        .away = (r >> 44 & 1) != 0 ? 30 : 0,
    };
    /* Two members, or three and a backup: */
    o->witness = o->nodes % 2 == 0 && (r >> 62 & 1) != 0;
}

struct totals {
    uint64_t steps, faults, faults_least, moves, moves_done, failovers, failovers_done, reverts,
        reverts_done, rescues, changes, marks_made, marks_used, bases_gone, runs, failed;
};

static bool
seed_run(uint64_t seed, uint32_t steps, bool trace, struct totals *t)
{
    struct sim_options o;
    bool ok;

    options_of(seed, steps, &o);
    o.trace = trace;
    sim_init(&world, &o);
    ok = sim_run(&world);
    t->steps += world.steps;
    t->faults += world.faults;
    if (t->runs == 0 || world.faults < t->faults_least) {
        t->faults_least = world.faults;
    }
    t->moves += world.moves;
    t->moves_done += world.moves_done;
    t->failovers += world.failovers;
    t->failovers_done += world.failovers_done;
    t->reverts += world.reverts;
    t->reverts_done += world.reverts_done;
    t->rescues += world.rescued_count;
    t->changes += world.changes;
    t->marks_made += world.marks_made;
    t->marks_used += world.marks_used;
    t->bases_gone += world.bases_gone;
    t->runs++;
    t->failed += !ok;
    return ok;
}

static void
failure_print(uint64_t seed, uint32_t steps)
{
    struct totals again = {0};

    sim_close(&world);
    sim_story_keep(true);
    (void)seed_run(seed, steps, false, &again);
    printf("seed %lu, step %lu: %s\n", (unsigned long)seed, (unsigned long)world.steps,
           world.failure);
    sim_story_print(60);
    sim_state_print(&world);
    sim_story_keep(false);
}

static int
seeds_run(uint64_t from, uint64_t to, uint32_t steps, bool trace, bool stop)
{
    struct totals t = {0};
    clock_t begun = clock();
    double seconds;

    for (uint64_t seed = from; seed <= to && !(stop && t.failed > 0); seed++) {
        bool ok = seed_run(seed, steps, trace, &t);
        if (!ok && t.failed == 1) {
            failure_print(seed, steps);
        } else if (!ok) {
            printf("seed %lu, step %lu: %s\n", (unsigned long)seed, (unsigned long)world.steps,
                   world.failure);
        }
        sim_close(&world);
    }
    seconds = (double)(clock() - begun) / CLOCKS_PER_SEC;
    printf("%lu seeds, %lu steps, %lu faults (at least %lu each), %lu moves asked, %lu done, "
           "%lu failovers ordered, %lu done, %lu reverts begun, %lu done, %lu datasets rescued, "
           "%lu changes of members, %lu bases bookmarked, %lu gone on from, %lu told gone; %lu "
           "failed; %.0f steps/s\n",
           (unsigned long)t.runs, (unsigned long)t.steps, (unsigned long)t.faults,
           (unsigned long)t.faults_least, (unsigned long)t.moves, (unsigned long)t.moves_done,
           (unsigned long)t.failovers, (unsigned long)t.failovers_done, (unsigned long)t.reverts,
           (unsigned long)t.reverts_done, (unsigned long)t.rescues, (unsigned long)t.changes,
           (unsigned long)t.marks_made, (unsigned long)t.marks_used, (unsigned long)t.bases_gone,
           (unsigned long)t.failed, (double)t.steps / (seconds > 0 ? seconds : 1));
    return t.failed != 0;
}

static int
usage(void)
{
    fprintf(stderr,
            "usage: zbsim --seeds A-B | --seed N [--trace], with [--steps N] [--stop]\n"
            "             [--mutation NAME]\n"
            "       zbsim --list-mutations\n"
            "       zbsim --scenario NAME|PATH [--trace] [--mutation NAME]\n"
            "       zbsim --list-scenarios\n"
            "       zbsim --exhaust [--nodes 2|3] [--witness 1] [--nodes-free N] [--moves N]\n"
            "             [--crashes N] [--kills N] [--keepers N] [--writes N] [--modifies N]\n"
            "             [--repeats N] [--ticks N] [--failovers N] [--seizures N] [--fences N]\n"
            "             [--terms N] [--states N]\n");
    return 2;
}

static const struct {
    const char *name;
    const char *rule;
    const char *what;
} mutations[] = {
#include "mutations.inc"
};

static int
mutations_list(void)
{
    for (size_t i = 0; i < sizeof(mutations) / sizeof(mutations[0]); i++) {
        printf("%-30s %-9s %s\n", mutations[i].name, mutations[i].rule, mutations[i].what);
    }
    return 0;
}

/* Each mutation is a program of its own beside this one; it gets the other arguments. */
static int
mutation_run(const char *name, int argc, char **argv)
{
    char path[4096];
    int kept = 1;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--mutation") == 0) {
            i++;
        } else {
            argv[kept++] = argv[i];
        }
    }
    argv[kept] = NULL;
    for (size_t i = 0; i < sizeof(mutations) / sizeof(mutations[0]); i++) {
        if (strcmp(mutations[i].name, name) == 0) {
            (void)snprintf(path, sizeof(path), "%s-%s", argv[0], name);
            execv(path, argv);
            perror(path);
            return 2;
        }
    }
    fprintf(stderr, "zbsim: no mutation %s (see --list-mutations)\n", name);
    return 2;
}

/* Options with a number. */
struct numbers {
    unsigned long seed, steps;
    struct sim_bounds bounds;
};

static bool
number_read(struct numbers *n, const char *name, const char *text)
{
    unsigned *const left = n->bounds.left;
    const struct {
        const char *name;
        unsigned *value;
    } bounds[] = {
        {"nodes", &n->bounds.nodes},
        {"nodes-free", &n->bounds.nodes_free},
        {"witness", &n->bounds.witness},
        {"terms", &n->bounds.terms},
        {"moves", &left[SIM_CHOOSE_MOVE]},
        {"crashes", &left[SIM_CHOOSE_POWER]},
        {"kills", &left[SIM_CHOOSE_ENGINE]},
        {"keepers", &left[SIM_CHOOSE_KEEPER]},
        {"writes", &left[SIM_CHOOSE_WRITE]},
        {"repeats", &left[SIM_CHOOSE_REPEAT]},
        {"ticks", &left[SIM_CHOOSE_CLOCK]},
        {"modifies", &left[SIM_CHOOSE_MODIFY]},
        {"failovers", &left[SIM_CHOOSE_FAILOVER]},
        {"seizures", &left[SIM_CHOOSE_SEIZE]},
        {"fences", &left[SIM_CHOOSE_FENCED]},
    };
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    if (*text == '\0' || *end != '\0') {
        return false;
    }
    if (strcmp(name, "seed") == 0) {
        n->seed = value;
    } else if (strcmp(name, "steps") == 0) {
        n->steps = value;
    } else if (strcmp(name, "states") == 0) {
        n->bounds.states_max = value;
    }
    for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
        if (strcmp(bounds[i].name, name) == 0) {
            *bounds[i].value = (unsigned)value;
        }
    }
    return true;
}

struct arguments {
    struct numbers n;
    uint64_t from;
    uint64_t to;
    bool exhaustive;
    bool trace;
    bool stop; /* at the first failure */
    const char *scenario;
};

/* What the arguments ask for. */
static int
run(struct arguments *a)
{
    if (a->scenario != NULL) {
        return (int)sim_scenario_run(&world, a->scenario, a->trace);
    }
    if (a->exhaustive && (a->n.bounds.nodes < 2 || a->n.bounds.nodes > 3)) {
        return usage();
    }
    if (a->exhaustive) {
        return sim_exhaust(&world, &a->n.bounds) ? 0 : 1;
    }
    if (a->n.seed != 0) {
        a->from = a->to = a->n.seed;
    }
    return a->from == 0 ? usage()
                        : seeds_run(a->from, a->to, (uint32_t)a->n.steps, a->trace, a->stop);
}

static const struct option options[] = {
    {"seeds", required_argument, NULL, 's'},
    {"seed", required_argument, NULL, 'n'},
    {"steps", required_argument, NULL, 'n'},
    {"trace", no_argument, NULL, 't'},
    {"stop", no_argument, NULL, 'e'},
    {"mutation", required_argument, NULL, 'm'},
    {"list-mutations", no_argument, NULL, 'l'},
    {"scenario", required_argument, NULL, 'c'},
    {"list-scenarios", no_argument, NULL, 'L'},
    {"exhaust", no_argument, NULL, 'x'},
    {"nodes", required_argument, NULL, 'n'},
    {"nodes-free", required_argument, NULL, 'n'},
    {"terms", required_argument, NULL, 'n'},
    {"moves", required_argument, NULL, 'n'},
    {"crashes", required_argument, NULL, 'n'},
    {"kills", required_argument, NULL, 'n'},
    {"keepers", required_argument, NULL, 'n'},
    {"writes", required_argument, NULL, 'n'},
    {"modifies", required_argument, NULL, 'n'},
    {"repeats", required_argument, NULL, 'n'},
    {"ticks", required_argument, NULL, 'n'},
    {"failovers", required_argument, NULL, 'n'},
    {"seizures", required_argument, NULL, 'n'},
    {"witness", required_argument, NULL, 'n'},
    {"fences", required_argument, NULL, 'n'},
    {"states", required_argument, NULL, 'n'},
    {NULL, 0, NULL, 0},
};

int
main(int argc, char **argv)
{
    struct arguments a = {.n = {.steps = 20000,
                                .bounds = {.nodes = 3,
                                           .nodes_free = 2,
                                           .left = {[SIM_CHOOSE_MOVE] = 1},
                                           .states_max = 20000000}}};
    int which = 0;
    int c;

    while ((c = getopt_long(argc, argv, "", options, &which)) != -1) {
        switch (c) {
        case 's':
            if (sscanf(optarg, "%lu-%lu", &a.from, &a.to) != 2 || a.from > a.to || a.from == 0) {
                return usage();
            }
            break;
        case 'n':
            if (!number_read(&a.n, options[which].name, optarg)) {
                return usage();
            }
            break;
        case 't':
            a.trace = true;
            break;
        case 'e':
            a.stop = true;
            break;
        case 'm':
            return mutation_run(optarg, argc, argv);
        case 'l':
            return mutations_list();
        case 'c':
            a.scenario = optarg;
            break;
        case 'L':
            return sim_scenarios_list() ? 0 : 2;
        case 'x':
            a.exhaustive = true;
            break;
        default:
            return usage();
        }
    }
    return optind == argc ? run(&a) : usage();
}
