/* zbsess: runs of the simulator of sessions, by seed. See doc/simulation.md. */
#include "sess.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct sess world;

static const struct {
    const char *name;
    const char *rule;
    const char *what;
} mutations[] = {
#include "sess-mutations.inc"
};

struct totals {
    unsigned long seeds, failed, steps, faults, lapses, resets, fenced, promotions, restored,
        late_writes;
};

static bool
seed_run(uint64_t seed, bool trace, struct totals *t)
{
    bool ok;

    sess_init(&world, seed, trace);
    ok = sess_run(&world);
    t->seeds++;
    t->failed += !ok;
    t->steps += world.steps;
    t->faults += world.faults;
    t->lapses += world.lapses;
    t->resets += world.resets;
    t->fenced += world.fenced;
    t->promotions += world.promotions;
    t->restored += world.restored;
    t->late_writes += world.late_writes;
    if (!ok) {
        printf("seed %lu, step %lu: %s\n", (unsigned long)seed, (unsigned long)world.steps,
               world.failure);
    }
    return ok;
}

static int
seeds_run(uint64_t from, uint64_t to, bool trace, bool stop)
{
    struct totals t = {0};

    for (uint64_t seed = from; seed <= to && !(stop && t.failed > 0); seed++) {
        (void)seed_run(seed, trace, &t);
    }
    printf(
        "%lu seeds, %lu steps, %lu faults, %lu sessions lapsed, %lu hosts reset, %lu times fenced, "
        "%lu promotions, %lu restores, %lu writes of hosts that had been paused; %lu failed\n",
        t.seeds, t.steps, t.faults, t.lapses, t.resets, t.fenced, t.promotions, t.restored,
        t.late_writes, t.failed);
    return t.failed != 0;
}

static int
usage(void)
{
    fprintf(stderr, "usage: zbsess --seeds A-B [--stop] [--mutation NAME]\n"
                    "       zbsess --trace SEED [--mutation NAME]\n"
                    "       zbsess --list-mutations\n");
    return 2;
}

/* Each mutation is a program of its own beside this one; it gets the other arguments. */
static int
mutation_run(const char *self, const char *name, char **argv)
{
    char path[4096];

    for (size_t i = 0; i < sizeof mutations / sizeof mutations[0]; i++) {
        if (strcmp(mutations[i].name, name) == 0) {
            (void)snprintf(path, sizeof path, "%s-%s", self, name);
            (void)execv(path, argv);
            perror(path);
            return 2;
        }
    }
    fprintf(stderr, "zbsess: no mutation %s (see --list-mutations)\n", name);
    return 2;
}

static int
mutations_list(void)
{
    for (size_t i = 0; i < sizeof mutations / sizeof mutations[0]; i++) {
        printf("%-30s %-9s %s\n", mutations[i].name, mutations[i].rule, mutations[i].what);
    }
    return 0;
}

int
main(int argc, char **argv)
{
    unsigned long from = 0, to = 0;
    bool trace = false, stop = false;
    const char *mutation = NULL;
    int kept = 1;

    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--list-mutations") == 0) {
            return mutations_list();
        }
        if (strcmp(argv[i], "--mutation") == 0) {
            mutation = value;
            i++;
            continue;
        }
        argv[kept++] = argv[i];
        if (strcmp(argv[i], "--stop") == 0) {
            stop = true;
        } else if (strcmp(argv[i], "--seeds") == 0 && sscanf(value, "%lu-%lu", &from, &to) == 2) {
            argv[kept++] = argv[++i];
        } else if (strcmp(argv[i], "--trace") == 0 && sscanf(value, "%lu", &from) == 1) {
            to = from;
            trace = true;
            argv[kept++] = argv[++i];
        } else {
            return usage();
        }
    }
    argv[kept] = NULL;
    if (to == 0 || to < from) {
        return usage();
    }
    return mutation != NULL ? mutation_run(argv[0], mutation, argv)
                            : seeds_run(from, to, trace, stop);
}
