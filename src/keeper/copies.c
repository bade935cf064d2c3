#include "keeper/copies.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "conf/value.h"

#define BATCH_MAX 256 /* snapshots that one program changes; the others come next time */
#define STORES 16     /* a count is stored so often in its time: what a reboot loses */
#define LINE_SIZE (17 * ZB_KEEPER_ASK_MAX + 1)

_Static_assert(ZB_RECEIVED_MARK_SIZE <= ZB_ZFS_SNAP_VALUE_SIZE, "a mark is a property's value");

void
zb_keeper_copy_received(const char *snap, uint64_t guid)
{
    const char *name = strchr(snap, '@');
    struct zb_zfs_snap_value one = {.guid = guid};
    struct zb_set_id id;
    struct zb_err err;

    if (name == NULL || zb_set_name_parse(name + 1, &id, NULL)) {
        return;
    }
    zb_strcopy(one.snap, sizeof(one.snap), snap);
    zb_received_format(&(struct zb_received){0}, one.value);
    if (zb_zfs_snaps_prop_set(ZB_RECEIVED_PROPERTY, &one, 1, &err) != ZB_OK) {
        zb_log_warning("%s will not go by itself: %s", snap, err.msg);
    }
}

/* ---- what is there ---- */

void
zb_keeper_copies_close(struct zb_keeper_copies *c)
{
    free(c->items);
    free(c->values);
    *c = (struct zb_keeper_copies){0};
}

/* All that are not sets; those that are no copies have no mark, which is seen next. */
static enum zb_rc
others_list(struct zb_keeper_copies *c, struct zb_err *err)
{
    const struct zb_zfs_snaps *list = &c->plan->list;

    c->items = calloc(list->count + 1, sizeof(*c->items));
    c->values = calloc(list->count + 1, sizeof(*c->values));
    if (c->items == NULL || c->values == NULL) {
        return zb_err_sys(err, ENOMEM, "copies");
    }
    for (size_t i = 0; i < list->count; i++) {
        struct zb_zfs_snap_value *v = &c->values[c->count];
        if (c->plan->stays[i] == ZB_KEEP_FOREIGN &&
            (size_t)snprintf(v->snap, sizeof(v->snap), "%s@%s", c->props->name,
                             list->snaps[i].name) < sizeof(v->snap)) {
            v->guid = list->snaps[i].guid;
            c->items[c->count++].index = i;
        }
    }
    return zb_zfs_snaps_prop_get(ZB_RECEIVED_PROPERTY, c->values, c->count, err);
}

static void
marked_keep(struct zb_keeper_copies *c)
{
    size_t n = 0;

    for (size_t i = 0; i < c->count; i++) {
        if (zb_received_parse(c->values[i].value, &c->items[i].mark)) {
            c->items[n] = c->items[i];
            c->values[n++] = c->values[i];
        }
    }
    c->count = n;
}

static void
copy_judge(struct zb_keeper_copies *c, size_t i, const struct zb_keeper_job *job,
           const struct zb_received_clock *clock)
{
    struct zb_keeper_copy *one = &c->items[i];
    const char *uuid = zb_zfs_props_local(c->props, "zbaton:uuid");
    uint64_t holder = 0;

    one->said = zb_received_said(job->req.text, uuid != NULL ? uuid : "", c->values[i].guid,
                                 &one->mark, &holder);
    one->changed = zb_received_hear(&one->mark, one->said, holder, clock, c->grace_ms / STORES);
    one->gone_ms = zb_received_gone_ms(&one->mark, clock);
    one->base =
        zb_received_is_base(c->plan->snaps, c->plan->stays, c->plan->list.count, one->index);
    one->goes = one->said == ZB_RECEIVED_GONE && one->gone_ms >= c->grace_ms && !one->base;
    zb_received_format(&one->mark, c->values[i].value);
}

enum zb_rc
zb_keeper_copies_open(struct zb_keeper_copies *c, const struct zb_keeper *k,
                      const struct zb_keeper_job *job, const struct zb_keeper_plan *plan,
                      const struct zb_zfs_props *props, struct zb_err *err)
{
    const struct zb_received_clock clock = {.boot_id = k->boot_id, .now = zb_mono_now()};

    *c = (struct zb_keeper_copies){
        .plan = plan, .props = props, .grace_ms = job->conf.foreign_grace_ms};
    enum zb_rc rc = others_list(c, err);
    if (rc != ZB_OK) {
        c->count = 0;
        return rc;
    }
    marked_keep(c);
    for (size_t i = 0; i < c->count; i++) {
        copy_judge(c, i, job, &clock);
    }
    return ZB_OK;
}

/* ---- what becomes of it ---- */

enum zb_rc
zb_keeper_copies_prune(const struct zb_keeper_copies *c, uint32_t *destroyed, struct zb_err *err)
{
    struct zb_zfs_snap_value *batch = calloc(BATCH_MAX, sizeof(*batch));
    uint32_t gone = 0;
    size_t n = 0;

    if (batch == NULL) {
        return zb_err_sys(err, ENOMEM, "copies");
    }
    for (size_t i = 0; i < c->count && n < BATCH_MAX; i++) {
        if (c->items[i].changed && !c->items[i].goes) {
            batch[n++] = c->values[i];
        }
    }
    enum zb_rc rc = zb_zfs_snaps_prop_set(ZB_RECEIVED_PROPERTY, batch, n, err);
    n = 0;
    for (size_t i = 0; i < c->count && n < BATCH_MAX; i++) {
        if (c->items[i].goes) {
            batch[n++] = c->values[i];
        }
    }
    if (rc == ZB_OK) {
        rc = zb_zfs_snaps_prop_destroy(ZB_RECEIVED_PROPERTY, batch, n, &gone, err);
        *destroyed += gone;
    }
    free(batch);
    return rc;
}

/* In one unit, rounded up. */
static void
rest_format(uint64_t ms, char *buf)
{
    const uint64_t units_ms[] = {86400000, 3600000, 60000, 1000};
    size_t u = 0;

    while (u < 3 && ms < 2 * units_ms[u]) {
        u++;
    }
    zb_conf_duration_format((ms + units_ms[u] - 1) / units_ms[u] * units_ms[u], buf);
}

void
zb_keeper_copy_why(const struct zb_keeper_copies *c, const struct zb_keeper_copy *one, char *buf,
                   size_t size)
{
    char rest[ZB_CONF_NUMBER_SIZE];

    if (one->goes) {
        buf[0] = '\0';
    } else if (one->mark.gone && one->gone_ms < c->grace_ms) {
        rest_format(c->grace_ms - one->gone_ms, rest);
        (void)snprintf(buf, size, "copy, gone where it came from: goes in %s", rest);
    } else if (one->mark.gone) {
        (void)snprintf(buf, size, "copy, gone where it came from, %s",
                       one->said == ZB_RECEIVED_GONE ? "base" : "until the leader says so again");
    } else if (one->mark.holders[0] != 0) {
        (void)snprintf(buf, size, "copy, a leader had it when asked last");
    } else {
        (void)snprintf(buf, size, "copy, not known to be gone where it came from");
    }
}

/* ---- what is asked ---- */

void
zb_keeper_copies_ask(const struct zb_keeper_copies *c, struct zb_keeper_ask *ask)
{
    const struct zb_zfs_snaps *list = &c->plan->list;
    const char *uuid = zb_zfs_props_local(c->props, "zbaton:uuid");
    const uint32_t before = ask->asked;
    char line[LINE_SIZE] = "";
    size_t used = 0;

    for (size_t i = 0; i < c->count && uuid != NULL; i++) {
        if (ask->seen++ >= ask->from && ask->asked < ZB_KEEPER_ASK_MAX) {
            used += (size_t)snprintf(line + used, sizeof(line) - used, "%" PRIx64 " ",
                                     c->values[i].guid);
            ask->asked++;
        }
    }
    if (ask->asked > before) {
        zb_keeper_text_add(ask->text, "@%s\t%" PRIx64 " %s%" PRIx64 "\n", uuid, list->snaps[0].guid,
                           line, list->snaps[list->count - 1].guid);
    }
}

uint32_t
zb_keeper_ask_next(const struct zb_keeper_ask *ask)
{
    return ask->asked < ZB_KEEPER_ASK_MAX ? 0 : ask->from + ask->asked;
}
