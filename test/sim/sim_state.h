/*
 * States of the exhaustive search: saved, restored, told apart. This file and its .c alone know
 * what is inside a core: two states are one when every decision from them on is the same.
 */
#ifndef SIM_STATE_H
#define SIM_STATE_H

#include "choice.h"

struct sim_saved;

/* Everything that the search can change; free() it. Aborts without memory. */
struct sim_saved *sim_state_save(const struct sim *w);
void sim_state_restore(struct sim *w, const struct sim_saved *saved);

struct sim_hash {
    uint64_t a;
    uint64_t b;
};
/* left: what the search may still do is part of the state. */
struct sim_hash sim_state_hash(const struct sim *w, const struct sim_bounds *left);

/* States seen, by 96 bits of their hash, each with the smallest depth at which it was met. Grows.
 */
struct sim_seen {
    struct sim_seen_entry {
        uint64_t a;
        uint32_t b;
        uint32_t depth; /* and 1; 0: free */
    } * entries;
    uint64_t size; /* a power of two */
    uint64_t count;
    uint64_t max;
    bool full; /* max, or memory, was reached */
};
bool sim_seen_open(struct sim_seen *s, uint64_t max);
void sim_seen_close(struct sim_seen *s);
/* True when the state is new, or was met only deeper. */
bool sim_seen_add(struct sim_seen *s, struct sim_hash h, uint32_t depth);

#endif
