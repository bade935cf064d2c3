/*
 * Commands given to an engine of pair.h, and what control.c and forward.c would do with its
 * answers.
 */
#ifndef ZB_TEST_AGENT_ORDERS_H
#define ZB_TEST_AGENT_ORDERS_H

#include "pair.h"

#include "agent/request.h"

extern json_t *orders_statement; /* of the last order */
extern json_t *orders_answer;
extern json_t *orders_needed; /* the last one asked for */
extern int orders_lines;
extern char orders_note[512]; /* the last one */
extern enum zb_rc orders_failed;
extern char orders_failed_text[512];
extern char orders_failed_hint[256];
extern uint8_t orders_passed_to;
extern struct zb_request orders_request;

/* args is taken. */
void orders_run(struct host *h, void (*run)(struct zb_request *r), json_t *args);
/* A failover. */
void orders_give(struct host *h, json_t *args);
bool orders_ended(const struct pair *w);
/* The string of that key, which must be there. */
const char *orders_text_of(const json_t *object, const char *key);
/* pair_teardown, and what was kept of orders. */
int orders_close(void **state);
#define orders_test(t) cmocka_unit_test_setup_teardown(t, pair_setup, orders_close)

#endif
