/*
 * What the keeper refuses, and what its record becomes: pure functions over the record, the request
 * and facts that were observed before. No I/O, no clock. Each function is one operation of kmsg.h;
 * the comment in rules.c beside each step names the rule of protocol.md that it enforces.
 *
 * A rule returns ZB_OK, or an error with a sentence and, where something helps, a hint; nothing
 * else changes.
 */
#ifndef ZB_KEEPER_RULES_H
#define ZB_KEEPER_RULES_H

#include "conf/retention.h"
#include "keeper/record.h"

/* What this keeper's life has done with a tree. */
enum zb_keeper_stage {
    ZB_STAGE_REST = 0,  /* nothing; what is mounted read-write then should not be */
    ZB_STAGE_MOUNTED,   /* mounted read-write by PROMOTE, or continued (M12) */
    ZB_STAGE_UNMOUNTED, /* unmounted by SEAL, but written after the set: another SNAPSHOT and SEAL
                         */
    ZB_STAGE_SEALED,    /* unmounted, proven equal to the final set, not released */
};
const char *zb_keeper_stage_word(enum zb_keeper_stage stage);

/* What was observed for one request. Everything is borrowed. */
struct zb_keeper_facts {
    const char *self; /* name of this node */
    enum zb_keeper_stage stage;
    const struct zb_manifest *sealed; /* final set of ZB_STAGE_SEALED */
    bool running;                     /* processes of the service are left */
    /* Who asks for RECEIVE sent what is here so far, in its term and this keeper's life. */
    bool copier;
    uint32_t datasets_count;            /* 0: the tree does not exist */
    const struct zb_kdataset *datasets; /* sorted by rel */
};

enum zb_rc zb_rules_define(const struct zb_keeper_record *r, const struct zb_kreq *req,
                           const struct zb_keeper_facts *f, struct zb_err *err) ZB_CHECKED;
/* last_seq: highest seq of a set of req->term here, valid when any_set. */
enum zb_rc zb_rules_snapshot(const struct zb_keeper_record *r, const struct zb_kreq *req,
                             const struct zb_keeper_facts *f, bool any_set, uint64_t last_seq,
                             struct zb_err *err) ZB_CHECKED;
enum zb_rc zb_rules_receive(const struct zb_keeper_record *r, const struct zb_kreq *req,
                            const struct zb_keeper_facts *f, struct zb_err *err) ZB_CHECKED;
/* The dataset itself, NULL when it does not exist; a partial receive is dealt with by the caller.
 * ZB_E_DIVERGED: its newest snapshot is not the base, or it was written to. */
enum zb_rc zb_rules_receive_dataset(const struct zb_kreq *req, const struct zb_kdataset *d,
                                    struct zb_err *err) ZB_CHECKED;
enum zb_rc zb_rules_receive_begin(const struct zb_kreq *req, uint64_t toguid, uint64_t fromguid,
                                  struct zb_err *err) ZB_CHECKED;
/* what ("the stream") is of the service's flavour: copies of one take nothing of the other.
 * ZB_E_MISMATCH. */
enum zb_rc zb_rules_flavour(enum zb_conf_flavour flavour, bool raw, const char *what,
                            struct zb_err *err) ZB_CHECKED;
/* REKEY: only what is written here, so that its sets are still to come. */
enum zb_rc zb_rules_rekey(const struct zb_keeper_record *r, const struct zb_kreq *req,
                          const struct zb_keeper_facts *f, struct zb_err *err) ZB_CHECKED;
/* This node leads, by its record: before anything is mounted or started. */
enum zb_rc zb_rules_leads(const struct zb_keeper_record *r, const char *self,
                          struct zb_err *err) ZB_CHECKED;
enum zb_rc zb_rules_start(const struct zb_keeper_facts *f, struct zb_err *err) ZB_CHECKED;
enum zb_rc zb_rules_seal(const struct zb_keeper_record *r, const struct zb_kreq *req,
                         const struct zb_keeper_facts *f, struct zb_err *err) ZB_CHECKED;
/* S2, S7: every dataset's newest snapshot is the manifest's, written = 0, none more and none fewer.
 * ZB_E_MISMATCH names the first difference. */
enum zb_rc zb_rules_tree_equal(const struct zb_manifest *m, const struct zb_keeper_facts *f,
                               struct zb_err *err) ZB_CHECKED;
/* The dataset that a set's entry is about: known by its uuid, for it may have been renamed where
 * the set was made; of several the one with the entry's rel. Else the one with the entry's rel.
 * Index in f->datasets, or -1. */
int64_t zb_rules_entry_dataset(const struct zb_manifest_entry *e, const struct zb_keeper_facts *f);
/* Dataset i is of no entry of the set: left over from a child that its leader destroyed, or
 * somebody's own. */
bool zb_rules_is_orphan(const struct zb_manifest *m, const struct zb_keeper_facts *f, uint32_t i);
/* A dataset of the tree, whatever it is. Everything is borrowed. */
struct zb_rules_place {
    const char *rel;
    const char *uuid; /* or "" */
    bool own;         /* has a uuid and the marks of this service, node and pool */
    bool orphan;      /* carries the orphan's mark itself */
};
enum zb_rules_arrange_kind {
    ZB_ARRANGE_NOTHING, /* every entry's dataset is in its place, or not here */
    ZB_ARRANGE_RENAME,
    ZB_ARRANGE_UNMARK, /* its orphan's mark goes */
};
struct zb_rules_arrangement {
    enum zb_rules_arrange_kind kind;
    size_t place;         /* index of the dataset that it is about */
    char to[ZB_REL_SIZE]; /* RENAME */
    bool orphan;          /* RENAME: out of the way, and not of the set: gets the mark */
};
/* The next change that brings the datasets of a set to where the set has them, known by their
 * uuids. What else has such a place is renamed, if it is zbaton's; ZB_E_EXISTS if not. Asked again
 * after each change it ends with NOTHING. Pure. */
enum zb_rc zb_rules_arrange_next(const struct zb_manifest *m, const struct zb_rules_place *places,
                                 size_t count, struct zb_rules_arrangement *next,
                                 struct zb_err *err) ZB_CHECKED;
/* FENCE: req->node may be fenced for req->term. member: it is one of the service's, or a backup. */
enum zb_rc zb_rules_fence(const struct zb_keeper_record *r, const struct zb_kreq *req,
                          const struct zb_keeper_facts *f, bool member,
                          struct zb_err *err) ZB_CHECKED;
/* RESCUE: whether a tree that came away from the lineage may be set aside. places: everything of
 * the tree, orphans too. ZB_E_REFUSED names a dataset that is not zbaton's (S9). */
enum zb_rc zb_rules_rescue(const struct zb_keeper_record *r, const struct zb_kreq *req,
                           const struct zb_keeper_facts *f, const struct zb_rules_place *places,
                           size_t count, struct zb_err *err) ZB_CHECKED;
/* RESCUE: a full pool lets a tree be renamed, and not be cloned: nobody could observe, grant or
 * follow with what is left. ZB_E_NOSPACE. */
enum zb_rc zb_rules_rescue_room(uint64_t available_bytes, size_t forks_count,
                                struct zb_err *err) ZB_CHECKED;
/* The entry that says from where dataset i goes on; NULL: it is only in the rescue. */
const struct zb_manifest_entry *zb_rules_fork_entry(const struct zb_manifest *forks,
                                                    const struct zb_keeper_facts *f, uint32_t i);
/* Every dataset stands on its fork, and nothing was written to it: there is nothing to rescue. */
bool zb_rules_on_forks(const struct zb_manifest *forks, const struct zb_keeper_facts *f);

#define ZB_RESCUE_NAME_SIZE (ZB_SERVICE_NAME_SIZE + 48)
/* "web-000002-20261122T064100Z"; buf of ZB_RESCUE_NAME_SIZE. */
void zb_rules_rescue_name_format(const char *service, uint64_t term, struct zb_wall time,
                                 char *buf);
/* False when the name is not exactly of that form. service of ZB_SERVICE_NAME_SIZE. */
bool zb_rules_rescue_name_parse(const char *name, char *service, uint64_t *term,
                                struct zb_wall *time);
/* The mark of a dataset that goes on: "<guid of the fork>/<rel of the dataset that goes on>"; buf
 * of ZB_FORK_MARK_SIZE. */
#define ZB_FORK_MARK_SIZE (24 + ZB_REL_SIZE)
void zb_rules_fork_format(uint64_t guid, const char *rel, char *buf);
bool zb_rules_fork_parse(const char *mark, uint64_t *guid, char *rel);

#define ZB_PEEK_LIFE_MAX_S (366 * 86400)
/* PEEK: whether a clone of the set of req->manifest can be made until req->time_s. ZB_E_NOTFOUND
 * names a dataset of it that is not here. */
enum zb_rc zb_rules_peek(const struct zb_kreq *req, const struct zb_keeper_facts *f,
                         struct zb_wall now, struct zb_err *err) ZB_CHECKED;
#define ZB_PEEK_NAME_SIZE (ZB_SERVICE_NAME_SIZE + 72)
/* "web-000012-00000345-20261122T064100Z"; buf of ZB_PEEK_NAME_SIZE. */
void zb_rules_peek_name_format(const char *service, struct zb_set_id set, struct zb_wall time,
                               char *buf);
/* Its mark: "<term>/<seq>/<seconds since 1970 at which it ends>"; buf of ZB_PEEK_MARK_SIZE. */
#define ZB_PEEK_MARK_SIZE 72
void zb_rules_peek_mark_format(struct zb_set_id set, struct zb_wall expires, char *buf);
/* False when it is not exactly of that form. */
bool zb_rules_peek_mark_parse(const char *mark, struct zb_set_id *set, struct zb_wall *expires);

/* *again: the same release was made before and stands; nothing is to be done. */
enum zb_rc zb_rules_release(const struct zb_keeper_record *r, const struct zb_kreq *req,
                            const struct zb_keeper_facts *f, bool *again,
                            struct zb_err *err) ZB_CHECKED;
/* *again: the same grant was made before and stands. */
enum zb_rc zb_rules_grant(const struct zb_keeper_record *r, const struct zb_kreq *req,
                          const struct zb_keeper_facts *f, bool *again,
                          struct zb_err *err) ZB_CHECKED;
/* *known: the record says so already. */
enum zb_rc zb_rules_learn(const struct zb_keeper_record *r, const struct zb_kreq *req, bool *known,
                          struct zb_err *err) ZB_CHECKED;
enum zb_rc zb_rules_promote(const struct zb_keeper_record *r, const struct zb_kreq *req,
                            const struct zb_keeper_facts *f, struct zb_err *err) ZB_CHECKED;
/* Nothing here was ever zbaton's: no term, no mark. */
bool zb_rules_untouched(const struct zb_keeper_record *r, const struct zb_keeper_facts *f);
/* Nobody is known to have led, and self is declared to begin. */
bool zb_rules_is_first(const struct zb_keeper_record *r, const char *leader, const char *self);
/* Nothing of the service is mounted or running: for UNADOPT and the end of a definition. */
enum zb_rc zb_rules_idle(const struct zb_keeper_facts *f, struct zb_err *err) ZB_CHECKED;

/* M12: a tree found mounted read-write goes on. */
bool zb_rules_continues(const struct zb_keeper_record *r, const char *self, const char *boot_id,
                        uint64_t pool_guid);
/* This node may have written to the tree in an earlier life: intent logs are replayed first.
 * led: a dataset carries the mark. */
bool zb_rules_may_have_led(const struct zb_keeper_record *r, bool led);

/* The record after the operation; the rule of it has said yes before. ZB_E_LIMIT: more suspects
 * than fit. */
enum zb_rc zb_rules_granted(struct zb_keeper_record *r, const struct zb_kreq *req,
                            struct zb_err *err) ZB_CHECKED;
enum zb_rc zb_rules_released(struct zb_keeper_record *r, const struct zb_kreq *req,
                             struct zb_err *err) ZB_CHECKED;
void zb_rules_learned(struct zb_keeper_record *r, const struct zb_kreq *req);
/* PROMOTE: the set that the term forks from. */
struct zb_set_id zb_rules_goes_on_from(const struct zb_kreq *req);
void zb_rules_promoted(struct zb_keeper_record *r, const struct zb_kreq *req, const char *self,
                       const char *boot_id, uint64_t pool_guid);

#define ZB_KEEP_BASE 0x100u    /* this node stands on it, or a member may come to */
#define ZB_KEEP_FOREIGN 0x200u /* no set of the service's (S9) */
#define ZB_KEEP_LABEL 0x400u   /* it has a label */
#define ZB_KEEP_MARK 0x800u    /* alone: it may go, once there is a bookmark of it */

/* The label of a set in a request's text ("12/345<tab>before the upgrade<newline>"...), of which
 * *size bytes are it; NULL: none. */
const char *zb_rules_label_find(const char *text, struct zb_set_id set, size_t *size);

/* zbaton's bookmarks: what a set's snapshots are called, behind this. */
#define ZB_MARK_PREFIX "base-"
bool zb_rules_mark_parse(const char *name, struct zb_set_id *id);

/* What PRUNE decides by, of one dataset. */
struct zb_rules_prune {
    const struct zb_ksnap *snaps; /* oldest first; names alone are read */
    size_t snaps_count;
    const struct zb_ksnap *marks; /* bookmarks, those that are not zbaton's too */
    size_t marks_count;
    const struct zb_conf_keep *keep;
    uint32_t catch_up; /* newest sets that stay for a member that is away */
    struct zb_wall now;
    const struct zb_kreq *req;
};

/* Why each snapshot stays: fills stays (snaps_count of them) with bits of enum zb_keep and of the
 * above; 0: it may go. Returns how many may go, with or without a bookmark. A member that is away
 * stands where it was last seen, or on the set after that: of these, what is too old to stay for it
 * alone becomes a bookmark, from which it goes on as well. marks_stay (marks_count of them): nobody
 * stands on the others any more. */
size_t zb_rules_prune(const struct zb_rules_prune *in, uint32_t *stays, bool *marks_stay);

#endif
