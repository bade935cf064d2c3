/*
 * Two engines (or PAIR_HOSTS) in one process: the real core, loop, net and history, over keepers in
 * memory (model.c).
 */
#ifndef ZB_TEST_AGENT_PAIR_H
#define ZB_TEST_AGENT_PAIR_H

#include "unit.h"

#include "agent/drive.h"
#include "agent/internal.h"
#include "agent/position.h"
#include "model.h"

#ifndef PAIR_HOSTS /* a test may have one more */
#define PAIR_HOSTS 2
#endif

struct host {
    struct zb_conf_node conf;
    struct zb_agent a;
    struct model model;
    char dir[64];
    char db[80];
    bool off;
    int replies;
    enum zb_rc reply_rc;
    char reply_text[256];
    int steps;
    int events;
    char last_event[512];
    char last_message[32]; /* its type */
    bool found;
    struct zb_position position; /* with found */
    struct zb_agent_subscriber subscriber;
};

struct pair {
    char *ca_cert;
    char *ca_key;
    struct host hosts[PAIR_HOSTS];
};

extern struct zb_wall pair_cert_ends[PAIR_HOSTS]; /* what each node says of its certificate */

int pair_setup(void **state);
int pair_teardown(void **state);
#define pair_test(t) cmocka_unit_test_setup_teardown(t, pair_setup, pair_teardown)

/* Tells both who the nodes are. */
void pair_introduce(struct pair *w);
/* ... and what the service is: "web", vm1 leads it first. */
void pair_declare(struct pair *w);
/* Runs both loops until done says so; false when it does not within 20 s. */
bool pair_until(struct pair *w, bool (*done)(const struct pair *w));
/* A command of vm1 has ended. */
bool pair_replied(const struct pair *w);
/* The follower reports what the leader has, and has it guid by guid. */
bool pair_follows(const struct host *leader, const struct host *follower);

/* The service is declared to this one alone. */
void host_declare(const struct pair *w, struct host *h);
struct zb_core_view host_view(const struct host *h);
/* Number of the other host on this one. */
uint8_t host_other(const struct host *h);
/* Starts a command; its end is in h->replies, reply_rc and reply_text. */
void host_command(struct host *h, enum zb_cmd_kind kind, uint8_t node);
/* What it finds on its disk now. */
struct zb_position host_position(struct pair *w, struct host *h);
/* The host is gone, for good. */
void host_power_off(struct host *h);
/* The same disk and record under a new engine without a history. */
void host_restart(struct pair *w, struct host *h);

#endif
