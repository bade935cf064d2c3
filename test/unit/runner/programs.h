/*
 * Programs in a directory of their own, for what runs them as root in a group. The tests are
 * skipped where cgroup2 cannot be written.
 */
#ifndef ZB_TEST_RUNNER_PROGRAMS_H
#define ZB_TEST_RUNNER_PROGRAMS_H

#include <stdbool.h>

#include "unit.h"

extern bool programs_usable;    /* there are, and the next two too */
extern char programs_dir[];     /* of root, 0755 */
extern char programs_group[64]; /* of this process */

int programs_setup(void **state);
int programs_teardown(void **state);
/* Skips the test that calls it where nothing can be run. */
void programs_need(void);
void program_path(const char *name, char path[256]);
/* A shell's, in place of an earlier one. */
void program_make(const char *name, const char *text);

#endif
