/*
 * Copies of other tools' snapshots (received.h) of one dataset: what PRUNE makes of them, and what
 * SETS tells. A snapshot without the mark, which was made here or came before there were marks, is
 * none of them.
 */
#ifndef ZB_KEEPER_COPIES_H
#define ZB_KEEPER_COPIES_H

#include "keeper/internal.h"
#include "keeper/received.h"

#define ZB_KEEPER_ASK_MAX 1000 /* copies that one PRUNE asks about; the next asks about others */

struct zb_keeper_copy {
    size_t index; /* in the plan's list */
    struct zb_received mark;
    enum zb_received_said said;
    uint64_t gone_ms;
    bool changed; /* the mark is to be stored */
    bool base;    /* somebody may stand on it */
    bool goes;
};

struct zb_keeper_copies {
    const struct zb_keeper_plan *plan; /* borrowed, as props */
    const struct zb_zfs_props *props;
    uint64_t grace_ms;
    size_t count;
    struct zb_keeper_copy *items;     /* oldest first; owned */
    struct zb_zfs_snap_value *values; /* of the same; owned */
};

/* Marks a snapshot that was just received, unless it is a set's. Without one it stays for ever,
 * which is logged. */
void zb_keeper_copy_received(const char *snap, uint64_t guid);

/* Those of a plan's dataset, and what the request's text says of them. Close *c in any case. */
enum zb_rc zb_keeper_copies_open(struct zb_keeper_copies *c, const struct zb_keeper *k,
                                 const struct zb_keeper_job *job, const struct zb_keeper_plan *plan,
                                 const struct zb_zfs_props *props, struct zb_err *err) ZB_CHECKED;
void zb_keeper_copies_close(struct zb_keeper_copies *c);
/* Stores what was heard and destroys what goes: adds to *destroyed. */
enum zb_rc zb_keeper_copies_prune(const struct zb_keeper_copies *c, uint32_t *destroyed,
                                  struct zb_err *err) ZB_CHECKED;
/* Why a copy stays, for people; "": nothing that is known here keeps it. */
void zb_keeper_copy_why(const struct zb_keeper_copies *c, const struct zb_keeper_copy *one,
                        char *buf, size_t size);

/* What a PRUNE asks, over all datasets. */
struct zb_keeper_ask {
    struct zb_keeper_text *text;
    uint32_t from; /* copies that are passed over: of the last times */
    uint32_t seen;
    uint32_t asked;
};
void zb_keeper_copies_ask(const struct zb_keeper_copies *c, struct zb_keeper_ask *ask);
/* Where the next one begins. */
uint32_t zb_keeper_ask_next(const struct zb_keeper_ask *ask);

#endif
