/*
 * Threads at the far ends of the pipes: one writes a known pattern, one reads and checks it. And
 * what a host does with accepted streams.
 */
#ifndef ZB_TEST_NET_MOVER_H
#define ZB_TEST_NET_MOVER_H

#include "world.h"

#include <pthread.h>

#define MIB (1u << 20)
#define SINKS_MAX 16

struct mover {
    pthread_t thread;
    int fd;
    size_t size;         /* to write; when read: how many came */
    useconds_t pause_us; /* after each read */
    bool wrong;          /* other bytes came, or the pipe was closed before all was written */
    _Atomic bool done;
};

uint8_t pattern(size_t at);
/* A pipe whose writing end is a thread's; returns the reading end. */
int source_start(struct mover *m, size_t size);

/* Sinks of accepted streams, by the header's n. */
extern struct mover sinks[SINKS_MAX];
extern useconds_t sink_pause_us;

/* For host.on_flow. */
void flow_to_sink(struct host *h, struct flow *f);
void flow_left_alone(struct host *h, struct flow *f);

/* Open descriptors of the process: both ends of each connection count. */
int descriptors(void);

#endif
