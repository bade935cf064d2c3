/*
 * init --recover: the first node of a new cluster over the copies of an earlier one. What is there
 * is looked at and told before anything changes; what the earlier cluster left in the state
 * directory is set aside, never removed.
 */
#ifndef ZB_CMD_RECOVER_H
#define ZB_CMD_RECOVER_H

#include "agent/former.h"
#include "cmd/setup.h"
#include "keeper/survey.h"

#define ZB_RECOVER_PATH_SIZE (ZB_PATH_SIZE + 96)

struct zb_recover {
    struct zb_survey survey;
    struct zb_former former;
    char former_dir[ZB_PATH_SIZE + 32]; /* the state directory that this is from; "" */
    uint64_t term;                      /* highest that was seen anywhere */
    uint64_t floor;                     /* the new cluster's begin above it */
    int lock_fd; /* no keeper begins here as long as it is open; 0: none ever ran */
};

/* Refuses while zbatond runs here, and where the copies are not this node's. Changes nothing.
 * *recover must be zero; the caller closes it, on failure too. */
enum zb_rc zb_recover_look(const struct zb_cli *cli, const struct zb_setup *setup,
                           struct zb_recover *recover, struct zb_err *err) ZB_CHECKED;
/* Its part about state directories: this one, and those that were set aside for it before. Fills
 * former, former_dir and term, and drops sets of the survey that came half by what is known there.
 * What cannot be read is an error, or a warning with --without-state.
 */
enum zb_rc zb_recover_state_look(const struct zb_cli *cli, const char *state_dir,
                                 struct zb_recover *recover, struct zb_err *err) ZB_CHECKED;
void zb_recover_close(struct zb_recover *recover);
/* What was found, on stdout. */
void zb_recover_show(const struct zb_cli *cli, const struct zb_setup *setup,
                     const struct zb_recover *recover);
/* That every other host is off: said with -y, or on a terminal. ZB_E_REFUSED otherwise, and when
 * one of them, as far as they are known, answers; ZB_E_HELD while a dataset of a service is
 * mounted here. */
enum zb_rc zb_recover_consent(const struct zb_cli *cli, const struct zb_setup *setup,
                              const struct zb_recover *recover, struct zb_err *err) ZB_CHECKED;
/* The state directory gets another name (setup->aside), with the declarations as a file beside it;
 * zb_setup_undo gives it its name back. Nothing happens where there is none. */
enum zb_rc zb_recover_aside(struct zb_setup *setup, const struct zb_recover *recover,
                            struct zb_err *err) ZB_CHECKED;
/* What the new cluster's configuration says of the earlier one. */
void zb_recover_fill(const struct zb_recover *recover, struct zb_recovered *recovered);
/* What comes next, on stdout. */
void zb_recover_next(const struct zb_setup *setup, const struct zb_recover *recover);

/* init without it: ZB_E_REFUSED when there are copies of services under the root. */
enum zb_rc zb_recover_none_check(const struct zb_setup *setup, struct zb_err *err) ZB_CHECKED;

#endif
