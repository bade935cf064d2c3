/*
 * Words shared by every module: sets, manifests, names, times.
 */
#ifndef ZB_BASE_TYPES_H
#define ZB_BASE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"

/* A point on CLOCK_BOOTTIME of this host, in milliseconds. Never compared with another host's. */
struct zb_mono {
    int64_t ms;
};

/* UTC seconds since 1970. For people and for names; no decision depends on another host's. */
struct zb_wall {
    int64_t s;
};

/* Order of sets: (term, seq). {0,0} means none: terms start at 1. */
struct zb_set_id {
    uint64_t term;
    uint64_t seq;
};

#define ZB_SET_ID_SIZE 42 /* as text, with its NUL */

#define ZB_DIGEST_SIZE 16

/* A set as the core sees it: order and the digest of its manifest (identity). */
struct zb_set_ref {
    struct zb_set_id id;
    uint8_t digest[ZB_DIGEST_SIZE];
};

/* One dataset of a set. rel is relative to the service's dataset: "" is that dataset itself, then
 * "child", "child/grandchild". */
struct zb_manifest_entry {
    char uuid[ZB_UUID_SIZE];
    char rel[ZB_REL_SIZE];
    uint64_t guid; /* of the snapshot */
};

/* What a set holds: entries sorted by rel, no rel and no uuid twice. */
struct zb_manifest {
    struct zb_set_id id;
    struct zb_wall time;
    uint32_t entries_count;
    struct zb_manifest_entry *entries; /* owned; free with zb_manifest_close */
};

/* Compares (term, seq): <0, 0, >0. */
int zb_set_id_cmp(struct zb_set_id a, struct zb_set_id b);
bool zb_set_id_is_none(struct zb_set_id id);
/* "12/345"; buf of ZB_SET_ID_SIZE. */
void zb_set_id_format(struct zb_set_id id, char *buf);
/* "12/345", and nothing else. *id is written on success only. */
bool zb_set_id_parse(const char *text, struct zb_set_id *id);
bool zb_set_ref_equal(const struct zb_set_ref *a, const struct zb_set_ref *b);

/* What a node has of the key with which a service's datasets are encrypted. */
enum zb_key_state {
    ZB_KEY_GOOD = 0, /* it, or none is wanted */
    ZB_KEY_MISSING,  /* no file or program */
    ZB_KEY_UNFIT,    /* a file that cannot be read or holds no key, or that others can read; a
                      * program that fails or gives none */
    ZB_KEY_OTHER,    /* another key */
    ZB_KEY_STATE_LAST = ZB_KEY_OTHER,
};

/* "zbaton-000012-00000345-20261122T064100Z" (design.md, On disk). buf of ZB_SNAP_NAME_SIZE. */
void zb_set_name_format(struct zb_set_id id, struct zb_wall time, char *buf);
/* False when the name is not exactly of that form. time may be NULL. */
bool zb_set_name_parse(const char *name, struct zb_set_id *id, struct zb_wall *time);

/* Allocates room for count entries; manifest must be zeroed or closed. ZB_E_LIMIT, ZB_E_NOMEM. */
enum zb_rc zb_manifest_init(struct zb_manifest *m, uint32_t count, struct zb_err *err) ZB_CHECKED;
enum zb_rc zb_manifest_copy(struct zb_manifest *to, const struct zb_manifest *from,
                            struct zb_err *err) ZB_CHECKED;
void zb_manifest_close(struct zb_manifest *m);
void zb_manifest_sort(struct zb_manifest *m);
/* SHA-256 over id, and per entry uuid, rel, guid (sorted: asserted), cut to 16 bytes. Not over
 * time. Aborts when libcrypto has no memory. */
void zb_manifest_ref(const struct zb_manifest *m, struct zb_set_ref *ref);
/* What the struct promises and valid names, every uuid and guid present: for manifests of others.
 */
bool zb_manifest_valid(const struct zb_manifest *m);
const struct zb_manifest_entry *zb_manifest_find(const struct zb_manifest *m, const char *rel);

/* Names as limits.h states them. */
bool zb_node_name_valid(const char *s);
bool zb_service_name_valid(const char *s);
/* Relative dataset name: components of [A-Za-z0-9_.:-], none empty, "." or "..", none starting
 * with '.', no '@', '#', '%'. "" is valid (the service's own dataset). */
bool zb_rel_valid(const char *s);
/* Full name of a dataset, pool first: components as above, the pool starts with a letter. */
bool zb_dataset_name_valid(const char *s);
/* A snapshot's name of any tool, without '@': same characters plus space and '+'. */
bool zb_snap_name_valid(const char *s);
/* A uuid in text, lower case; any version. */
bool zb_uuid_valid(const char *s);

/* Clocks: CLOCK_BOOTTIME in ms; UTC. */
struct zb_mono zb_mono_now(void);
struct zb_wall zb_wall_now(void);
/* RFC 3339 UTC "2026-11-22T06:41:07Z"; buf of 24. Times outside the years 1970 to 9999 are shown as
 * the nearest one inside. */
void zb_wall_format(struct zb_wall t, char *buf);
/* date as 20261122, clock as 64107 (UTC); fields past their range carry over as in timegm(3). */
struct zb_wall zb_wall_from_utc(uint32_t date, uint32_t clock);

/* Random bytes of the kernel (getrandom); cannot fail on a booted host (aborts if it does). */
void zb_random(void *buf, size_t size);
uint64_t zb_random_u64(void); /* never 0 */
/* Random uuid (version 4) in text; buf of ZB_UUID_SIZE. */
void zb_uuid_new(char *buf);

/* Copies a string and asserts that nothing was cut: for buffers that are sized for their content.
 */
void zb_strcopy(char *to, size_t size, const char *from);

#endif
