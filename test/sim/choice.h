/*
 * A world in which nothing happens by chance (sim.manual): somebody chooses what happens next, the
 * exhaustive search (exhaust.c) or a scenario (scenario.c). Whatever is going to happen may happen
 * now: the oldest message of a connection arrives, an operation of a keeper goes one stage further,
 * an answer, a transfer or a start comes; and, as often as the bounds allow, what people and
 * accidents do. Each choice has a label, which is the language of scenarios.
 *
 * To make something new possible: a line in sim_what and one in choice.c's table.
 */
#ifndef CHOICE_H
#define CHOICE_H

#include "sim.h"

#define SIM_CHOICES_MAX 256
#define SIM_LABEL_SIZE 64

enum sim_what {
    SIM_CHOOSE_ITEM, /* one of the world's items */
    SIM_CHOOSE_CLOCK,
    SIM_CHOOSE_MOVE,
    SIM_CHOOSE_WRITE,
    SIM_CHOOSE_MODIFY,
    SIM_CHOOSE_POWER,
    SIM_CHOOSE_ENGINE,
    SIM_CHOOSE_KEEPER,
    SIM_CHOOSE_REPEAT,
    SIM_CHOOSE_FAILOVER, /* an order to take the lead */
    SIM_CHOOSE_SEIZE,    /* the same with --allow-data-loss */
    SIM_CHOOSE_FENCED,   /* a true statement to the candidate that a node is off */
    SIM_CHOOSE_DECLARE,  /* a newer declaration, that reaches the nodes one by one */
    SIM_CHOOSE_CLAIM,  /* a confused engine tells another that it leads the term that one follows */
    SIM_CHOOSE_COPY,   /* of a node's record, for SIM_CHOOSE_FORGET */
    SIM_CHOOSE_FORGET, /* the record of a host that is off is put back to that copy, or to before
                        * its last grant */
    SIM_CHOOSE_COUNT
};

struct sim_choice {
    enum sim_what what;
    uint8_t node;
    uint8_t peer;
    uint64_t order; /* of the item */
};

/* left: how often each of what is not an item may still happen. */
struct sim_bounds {
    unsigned nodes;
    unsigned witness;    /* 1: etcd votes */
    unsigned nodes_free; /* the first ones; the others do at once what they have to do */
    unsigned left[SIM_CHOOSE_COUNT];
    unsigned
        channel_max; /* messages from one node to another; a later one is lost. 0: any number */
    unsigned terms;  /* nothing is done in a state with a higher one; 0: any number */
    uint64_t states_max;
};

/* A cluster at rest: led by n1, current, nothing on its way but timers; manual from here on. */
void sim_rest(struct sim *w, unsigned nodes, bool witness);

/* What may happen now: items by age, then the rest. */
unsigned sim_choices_list(const struct sim *w, const struct sim_bounds *bounds,
                          struct sim_choice choices[SIM_CHOICES_MAX]);
/* What can be said in one line of a scenario. */
void sim_choice_label(const struct sim *w, const struct sim_choice *c, char out[SIM_LABEL_SIZE]);
/* The first word of such a label; not for items. */
const char *sim_choice_word(enum sim_what what);
/* It happens, and bounds->left shrinks. */
void sim_choice_run(struct sim *w, const struct sim_choice *c, struct sim_bounds *bounds);
/* The item of such a choice. */
const struct sim_item *sim_choice_item(const struct sim *w, const struct sim_choice *c);

/* exhaust.c: every interleaving within the bounds. False: an invariant broke; printed with the
 * shortest way there. */
bool sim_exhaust(struct sim *w, const struct sim_bounds *bounds);

/* scenario.c */
enum sim_scenario_end {
    SIM_SCENARIO_HOLDS = 0,
    SIM_SCENARIO_BREAKS = 1, /* an invariant, or liveness after it was healed */
    SIM_SCENARIO_UNFIT = 2,  /* a step cannot happen there, or cannot be read */
};
/* name: of a file in scenarios/, or a path. Prints how it ended, and why. */
enum sim_scenario_end sim_scenario_run(struct sim *w, const char *name, bool trace);
/* False: they cannot be read. */
bool sim_scenarios_list(void);

#endif
