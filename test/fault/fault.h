/*
 * Fault loops: one scenario again and again, the Nth call of it that can fail made to fail, N from
 * 1 until a run ends without a fault. Which calls count is decided by what a test links and
 * registers: memory.c and file.c (the linker's --wrap), vfs.c (SQLite's files), hooks of libraries.
 *
 * One thread. Nothing counts but between fault_arm and fault_disarm, so that checks and fixtures
 * are never disturbed.
 */
#ifndef ZB_TEST_FAULT_H
#define ZB_TEST_FAULT_H

#include "unit.h"

#include <stdbool.h>

#include "base/err.h"

enum fault_mode {
    FAULT_ONCE,  /* the Nth call alone */
    FAULT_ONWARD /* the Nth and all after it: a disk that died, memory that stays scarce */
};

void fault_arm(uint32_t nth, enum fault_mode mode);
/* How many calls were made to fail since fault_arm; may be asked again. */
uint32_t fault_disarm(void);
/* For whoever stands before a real call: it counts now; true: it fails. */
bool fault_due(void);

/* A scenario. Every run gets a context of its own. */
struct fault_case {
    const char *name;
    enum fault_mode mode;
    enum zb_rc rc;     /* what each failed call must lead to; ZB_OK: any error */
    bool absorbs;      /* ... or to success: not every call is needed */
    const char *place; /* what every message names; NULL: it is only not empty */
    void *(*setup)(void);
    enum zb_rc (*run)(void *ctx, struct zb_err *err);
    /* What must hold after a run that ended with rc; also after the run without faults that follows
     * each. NULL: nothing more. */
    void (*check)(void *ctx, enum zb_rc rc);
    void (*teardown)(void *ctx);
};

/* Runs the loop; asserts what holds for all: errors with a text, no descriptor left open, success
 * of the same scenario afterwards, and that faults were injected at all. Prints how many. */
void fault_loop(const struct fault_case *c);
/* Of long loops only every Nth run is made, N from the environment (ZB_FAULT_STRIDE): under
 * sanitizers all of them would take minutes. At least 1. */
uint32_t fault_stride(void);

/* As the loop, for code whose answer to want of memory is the end of the process: each run is a
 * child. It ends by itself (no fault hit what matters) or by abort() or exit(1), at once, with a
 * line that says "out of memory". After each, check(ctx, ZB_OK) in the parent. run may return an
 * error. */
void fault_loop_ends(const struct fault_case *c);

/* A fresh directory, and its end with everything in it. */
void fault_dir_make(char path[64]);
void fault_dir_remove(const char *path);

/* Puts jansson's allocations among what counts; before it is used. */
void fault_hook_jansson(void);

#endif
