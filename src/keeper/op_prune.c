/* PRUNE and SETS of kmsg.h: which sets of a tree stay, and why. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "keeper/copies.h"

#define PRUNE_BATCH 64
#define WHY_SIZE 512

void
zb_keeper_plan_close(struct zb_keeper_plan *p)
{
    free(p->snaps);
    free(p->marks);
    free(p->stays);
    free(p->marks_stay);
    zb_zfs_snaps_close(&p->list);
    zb_zfs_snaps_close(&p->mark_list);
}

/* A name that does not fit is not a set's. NULL: no memory. */
static struct zb_ksnap *
names_copy(const struct zb_zfs_snaps *list)
{
    struct zb_ksnap *copy = calloc(list->count + 1, sizeof(*copy));

    for (size_t i = 0; copy != NULL && i < list->count; i++) {
        (void)snprintf(copy[i].name, sizeof(copy[i].name), "%.*s", ZB_SNAP_NAME_SIZE - 1,
                       list->snaps[i].name);
    }
    return copy;
}

static int
sets_order(const void *a, const void *b)
{
    const struct zb_zfs_snap *x = a;
    const struct zb_zfs_snap *y = b;
    struct zb_set_id left = {0}, right = {0};

    (void)zb_set_name_parse(x->name, &left, NULL);
    (void)zb_set_name_parse(y->name, &right, NULL);
    return zb_set_id_cmp(left, right);
}

/* In the order in which they were made. Of sets alone the names say that, and all that is decided
 * by; what else is there is known by guid, and lies between two of them. */
static enum zb_rc
plan_list(const char *dataset, struct zb_zfs_snaps *list, struct zb_err *err)
{
    struct zb_set_id id;
    enum zb_rc rc = zb_zfs_snaps_names(dataset, list, err);

    for (size_t i = 0; rc == ZB_OK && i < list->count; i++) {
        if (!zb_set_name_parse(list->snaps[i].name, &id, NULL)) {
            zb_zfs_snaps_close(list);
            return zb_zfs_snaps_list(dataset, list, err);
        }
    }
    if (rc == ZB_OK) {
        qsort(list->snaps, list->count, sizeof(*list->snaps), sets_order);
    }
    return rc;
}

enum zb_rc
zb_keeper_plan_open(struct zb_keeper_plan *p, const struct zb_keeper *k,
                    const struct zb_keeper_job *job, const char *dataset, struct zb_err *err)
{
    struct zb_conf_keep keep = zb_conf_keep_of(&job->conf, k->conf->node);
    enum zb_rc rc = plan_list(dataset, &p->list, err);

    if (rc == ZB_OK) {
        rc = zb_zfs_bookmarks_list(dataset, &p->mark_list, err);
    }
    if (rc != ZB_OK) {
        return rc;
    }
    p->snaps = names_copy(&p->list);
    p->marks = names_copy(&p->mark_list);
    p->stays = calloc(p->list.count + 1, sizeof(*p->stays));
    p->marks_stay = calloc(p->mark_list.count + 1, sizeof(*p->marks_stay));
    if (p->snaps == NULL || p->marks == NULL || p->stays == NULL || p->marks_stay == NULL) {
        return zb_err_sys(err, ENOMEM, "prune");
    }
    const struct zb_rules_prune in = {.snaps = p->snaps,
                                      .snaps_count = p->list.count,
                                      .marks = p->marks,
                                      .marks_count = p->mark_list.count,
                                      .keep = &keep,
                                      .catch_up = job->conf.catch_up,
                                      .now = zb_wall_now(),
                                      .req = &job->req};
    (void)zb_rules_prune(&in, p->stays, p->marks_stay);
    return ZB_OK;
}

/* ---- PRUNE ---- */

/* Keeps the first failure, with what it says. */
static void
failure_keep(enum zb_rc *rc, struct zb_err *err, enum zb_rc one, const struct zb_err *said)
{
    if (*rc == ZB_OK && one != ZB_OK) {
        *rc = one;
        *err = *said;
    }
}

/* Snapshots that are destroyed together, of as many datasets as it takes: what a destruction waits
 * for, it waits for once. */
struct batch {
    struct zb_keeper_ask ask;
    char names[PRUNE_BATCH][2 * ZB_DATASET_NAME_SIZE];
    const char *list[PRUNE_BATCH];
    size_t count;
    uint32_t destroyed; /* by all so far */
    enum zb_rc rc;      /* the first failure: the others are destroyed all the same */
    struct zb_err err;
};

/* Without those that refuse, if some do: they are held or cloned, stay, and are looked at again
 * next time. */
static enum zb_rc
batch_destroy(struct batch *b, struct zb_err *err)
{
    int errnos[PRUNE_BATCH] = {0};
    size_t left = 0;
    enum zb_rc rc = zb_zfs_snaps_destroy(b->list, b->count, errnos, err);

    if (rc == ZB_OK) {
        b->destroyed += (uint32_t)b->count;
    }
    if (rc != ZB_E_HELD) {
        return rc;
    }
    for (size_t i = 0; i < b->count; i++) {
        if (errnos[i] == 0) {
            b->list[left++] = b->list[i];
        }
    }
    if (left == 0 || left == b->count) {
        return ZB_OK;
    }
    rc = zb_zfs_snaps_destroy(b->list, left, NULL, err);
    if (rc == ZB_OK) {
        b->destroyed += (uint32_t)left;
    }
    return rc == ZB_E_HELD ? ZB_OK : rc;
}

static void
batch_end(struct batch *b)
{
    struct zb_err said;

    if (b->count > 0) {
        failure_keep(&b->rc, &b->err, batch_destroy(b, &said), &said);
        b->count = 0;
    }
}

static void
batch_add(struct batch *b, const char *dataset, const char *snap)
{
    if (b->count == PRUNE_BATCH) {
        batch_end(b);
    }
    (void)snprintf(b->names[b->count], sizeof(b->names[0]), "%s@%s", dataset, snap);
    b->list[b->count] = b->names[b->count];
    b->count++;
}

/* Snapshots that members stand on become bookmarks before they go; one of which none can be made
 * (a pool without the feature, or without room) stays, and keeps nothing else from going. */
static enum zb_rc
marks_make(const char *dataset, struct zb_keeper_plan *p, struct zb_err *err)
{
    char snap[2 * ZB_DATASET_NAME_SIZE];
    char mark[2 * ZB_DATASET_NAME_SIZE];
    enum zb_rc rc = ZB_OK;

    for (size_t i = 0; i < p->list.count; i++) {
        if (p->stays[i] != ZB_KEEP_MARK) {
            continue;
        }
        (void)snprintf(snap, sizeof(snap), "%s@%s", dataset, p->snaps[i].name);
        (void)snprintf(mark, sizeof(mark), "%s#" ZB_MARK_PREFIX "%s", dataset, p->snaps[i].name);
        enum zb_rc made = zb_zfs_bookmark(snap, mark, err);
        p->stays[i] = made == ZB_OK ? 0 : ZB_KEEP_BASE;
        rc = made == ZB_OK ? rc : made;
    }
    return rc;
}

/* Bookmarks that nobody goes on from any more; ZFS knows no holds or clones of them. */
static enum zb_rc
marks_destroy(const char *dataset, const struct zb_keeper_plan *p, struct zb_err *err)
{
    char names[PRUNE_BATCH][2 * ZB_DATASET_NAME_SIZE];
    const char *batch[PRUNE_BATCH];
    size_t n = 0;

    for (size_t i = 0; i < p->mark_list.count && n < PRUNE_BATCH; i++) {
        if (!p->marks_stay[i]) {
            (void)snprintf(names[n], sizeof(names[n]), "%s#%s", dataset, p->marks[i].name);
            batch[n] = names[n];
            n++;
        }
    }
    return n > 0 ? zb_zfs_bookmarks_destroy(batch, n, err) : ZB_OK;
}

/* What may go of one dataset, oldest first. */
static void
snaps_prune(const struct zb_keeper_plan *plan, const char *dataset, struct batch *b)
{
    for (size_t i = 0; i < plan->list.count && b->destroyed < ZB_PRUNE_MAX; i++) {
        if (plan->stays[i] == 0) {
            batch_add(b, dataset, plan->snaps[i].name);
        }
    }
}

static bool
set_is_there(const struct zb_keeper_plan *p, struct zb_set_id wanted)
{
    struct zb_set_id id;

    for (size_t i = 0; i < p->list.count; i++) {
        if (zb_set_name_parse(p->snaps[i].name, &id, NULL) && zb_set_id_cmp(id, wanted) == 0) {
            return true;
        }
    }
    for (size_t i = 0; i < p->mark_list.count; i++) {
        if (zb_rules_mark_parse(p->marks[i].name, &id) && zb_set_id_cmp(id, wanted) == 0) {
            return true;
        }
    }
    return false;
}

/* Sets that members stand on, and of which nothing is left here, a line each: they cannot go on
 * from there. */
static void
bases_gone_tell(const struct zb_kreq *req, const struct zb_keeper_plan *p, struct zb_keeper_text *t)
{
    for (size_t i = 0; i < req->count && i < req->protect_count; i++) {
        if (req->protect[i].term != 0 && !set_is_there(p, req->protect[i])) {
            zb_keeper_text_add(t, "%" PRIu64 "/%" PRIu64 "\n", req->protect[i].term,
                               req->protect[i].seq);
        }
    }
}

/* Copies of other tools' snapshots; what keeps one from going keeps no set. */
static enum zb_rc
copies_prune(const struct zb_keeper *k, const struct zb_keeper_job *job,
             const struct zb_keeper_plan *plan, const struct zb_zfs_props *props, struct batch *b,
             struct zb_err *err)
{
    struct zb_keeper_copies copies;
    uint32_t destroyed = 0;
    enum zb_rc rc = zb_keeper_copies_open(&copies, k, job, plan, props, err);

    if (rc == ZB_OK) {
        rc = zb_keeper_copies_prune(&copies, &destroyed, err);
        zb_keeper_copies_ask(&copies, &b->ask);
    }
    if (destroyed > 0) {
        zb_log_info("%s: %" PRIu32 " copies of snapshots that are gone where they came from went",
                    props->name, destroyed);
        b->destroyed += destroyed;
    }
    zb_keeper_copies_close(&copies);
    return rc;
}

/* Four steps that do not wait for each other. */
static enum zb_rc
dataset_prune(const struct zb_keeper *k, const struct zb_keeper_job *job,
              const struct zb_zfs_props *props, bool top, struct batch *b, struct zb_err *err)
{
    struct zb_keeper_plan plan = {0};
    struct zb_err said;
    enum zb_rc rc = zb_keeper_plan_open(&plan, k, job, props->name, err);

    if (rc == ZB_OK) {
        failure_keep(&rc, err, marks_make(props->name, &plan, &said), &said);
        snaps_prune(&plan, props->name, b);
        failure_keep(&rc, err, marks_destroy(props->name, &plan, &said), &said);
        failure_keep(&rc, err, copies_prune(k, job, &plan, props, b, &said), &said);
        if (top) {
            bases_gone_tell(&job->req, &plan, b->ask.text);
        }
    }
    zb_keeper_plan_close(&plan);
    return rc;
}

/* Where the last PRUNE ended for now, for it would list in vain what is in front of that; 0: it did
 * not, or that is gone. */
static uint32_t
prune_begin(const struct zb_keeper_service *s, const struct zb_keeper_view *view)
{
    uint32_t i = view->count;

    while (i-- > 1) {
        if (strcmp(view->datasets[i].rel, s->pruned_to) == 0) {
            return i;
        }
    }
    return 0;
}

/* The tree's own dataset first, for it tells of bases; then from where the last one ended, round.
 */
static void
tree_prune(const struct zb_keeper *k, const struct zb_keeper_job *job,
           const struct zb_keeper_view *view, struct batch *b)
{
    uint32_t begin = prune_begin(job->service, view);
    uint32_t at = 0;

    for (uint32_t i = 0; i < view->count && b->destroyed < ZB_PRUNE_MAX; i++) {
        at = i == 0 || begin == 0 ? i : 1 + (begin - 1 + i - 1) % (view->count - 1);
        bool top = view->datasets[at].rel[0] == '\0';
        struct zb_err said;
        if (view->datasets[at].marked) { /* S9 */
            enum zb_rc one = dataset_prune(k, job, view->props[at], top, b, &said);
            failure_keep(&b->rc, &b->err, one, &said);
        }
    }
    batch_end(b);
    zb_strcopy(job->service->pruned_to, sizeof(job->service->pruned_to),
               b->destroyed >= ZB_PRUNE_MAX ? view->datasets[at].rel : "");
}

enum zb_rc
zb_keeper_op_prune(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    struct zb_keeper_view view = {0};
    struct zb_keeper_text t = {.bytes = calloc(1, ZB_KEEPER_TEXT_MAX)};
    struct batch *b = calloc(1, sizeof(*b));
    enum zb_rc rc;

    job->rep.text = t.bytes;
    if (t.bytes == NULL || b == NULL) {
        free(b);
        return zb_err_sys(err, ENOMEM, "prune");
    }
    b->ask.text = &t;
    if (zb_received_is_answered(job->req.text)) {
        job->service->copies_from = job->service->copies_next;
    }
    b->ask.from = job->service->copies_from;
    rc = zb_keeper_view_open(k, job->req.service, &view, err);
    if (rc == ZB_OK) {
        tree_prune(k, job, &view, b);
        job->rep.count = b->destroyed;
        rc = b->rc;
        if (rc != ZB_OK) {
            *err = b->err;
        }
    }
    job->service->copies_next = zb_keeper_ask_next(&b->ask);
    zb_keeper_view_close(&view);
    free(b);
    return rc;
}

/* ---- SETS ---- */

/* What refuses to let it go, if the rule would: "held: keep, mine". */
static enum zb_rc
in_the_way(const char *dataset, const char *snap, char *buf, size_t size, struct zb_err *err)
{
    char full[2 * ZB_DATASET_NAME_SIZE];
    struct zb_zfs_names holds = {0}, clones = {0};

    buf[0] = '\0';
    (void)snprintf(full, sizeof(full), "%s@%s", dataset, snap);
    enum zb_rc rc = zb_zfs_holds_list(full, &holds, err);
    if (rc == ZB_OK) {
        rc = zb_zfs_clones_list(full, &clones, err);
    }
    if (rc == ZB_OK && holds.count + clones.count > 0) {
        (void)snprintf(buf, size, "%s %s", holds.count > 0 ? "held:" : "cloned:",
                       holds.count > 0 ? holds.names[0] : clones.names[0]);
    }
    zb_zfs_names_close(&holds);
    zb_zfs_names_close(&clones);
    return rc == ZB_E_NOTFOUND ? ZB_OK : rc; /* gone meanwhile */
}

/* "last, daily, base, label before the upgrade". */
static void
why_format(uint32_t stays, struct zb_set_id id, const char *labels, char *buf, size_t size)
{
    char words[ZB_KEEP_WORDS_SIZE];
    size_t length = 0;
    const char *label = zb_rules_label_find(labels, id, &length);
    bool base = (stays & ZB_KEEP_BASE) != 0;

    zb_keep_words(stays, words);
    (void)snprintf(buf, size, "%s%s%s%s%s%.*s", words, base && words[0] != '\0' ? ", " : "",
                   base ? "base" : "", label != NULL && (base || words[0] != '\0') ? ", " : "",
                   label != NULL ? "label " : "", label != NULL ? (int)length : 0,
                   label != NULL ? label : "");
}

static enum zb_rc
set_tell(const struct zb_keeper_job *job, const char *dataset, const struct zb_keeper_plan *p,
         size_t i, struct zb_keeper_text *t, struct zb_err *err)
{
    char why[WHY_SIZE] = "";
    struct zb_set_id id = {0};
    enum zb_rc rc = ZB_OK;

    if ((p->stays[i] & ~ZB_KEEP_MARK) == 0) {
        rc = in_the_way(dataset, p->snaps[i].name, why, sizeof(why), err);
    } else if (zb_set_name_parse(p->snaps[i].name, &id, NULL)) {
        why_format(p->stays[i], id, job->req.text, why, sizeof(why));
    }
    zb_keeper_text_add(t, "%s\t%s\n", p->snaps[i].name, why);
    return rc;
}

/* Only with the newest sets: half of the text is theirs in any case. */
static enum zb_rc
copies_tell(const struct zb_keeper *k, const struct zb_keeper_job *job,
            const struct zb_keeper_plan *p, const struct zb_zfs_props *props,
            struct zb_keeper_text *t, struct zb_err *err)
{
    struct zb_keeper_copies copies;
    char why[WHY_SIZE];
    enum zb_rc rc = zb_keeper_copies_open(&copies, k, job, p, props, err);

    for (size_t i = copies.count; i-- > 0 && rc == ZB_OK && t->used < ZB_KEEPER_TEXT_MAX / 2;) {
        const char *name = p->list.snaps[copies.items[i].index].name;
        zb_keeper_copy_why(&copies, &copies.items[i], why, sizeof(why));
        if (why[0] == '\0') {
            rc = in_the_way(props->name, name, why, sizeof(why), err);
        }
        zb_keeper_text_add(t, "%s\t%s\n", name, why);
    }
    zb_keeper_copies_close(&copies);
    return rc;
}

static enum zb_rc
sets_tell(const struct zb_keeper_job *job, const char *dataset, const struct zb_keeper_plan *p,
          struct zb_keeper_text *t, struct zb_err *err)
{
    struct zb_set_id from, id;
    bool all = !zb_set_name_parse(job->req.snap, &from, NULL);
    enum zb_rc rc = ZB_OK;

    for (size_t i = p->list.count; i-- > 0 && rc == ZB_OK && !t->full;) {
        if (zb_set_name_parse(p->list.snaps[i].name, &id, NULL) &&
            (all || zb_set_id_cmp(id, from) < 0)) {
            rc = set_tell(job, dataset, p, i, t, err);
        }
    }
    return rc;
}

enum zb_rc
zb_keeper_op_sets(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    struct zb_keeper_view view = {0};
    struct zb_keeper_plan plan = {0};
    struct zb_keeper_text t = {.bytes = calloc(1, ZB_KEEPER_TEXT_MAX)};

    job->rep.text = t.bytes;
    if (t.bytes == NULL) {
        return zb_err_sys(err, ENOMEM, "sets");
    }
    enum zb_rc rc = zb_keeper_view_open(k, job->req.service, &view, err);
    for (uint32_t i = 0; rc == ZB_OK && i < view.count; i++) {
        if (view.datasets[i].rel[0] == '\0') {
            rc = zb_keeper_plan_open(&plan, k, job, view.props[i]->name, err);
            if (rc == ZB_OK && job->req.snap[0] == '\0' && view.datasets[i].marked) {
                rc = copies_tell(k, job, &plan, view.props[i], &t, err);
            }
            if (rc == ZB_OK) {
                rc = sets_tell(job, view.props[i]->name, &plan, &t, err);
            }
            zb_keeper_plan_close(&plan);
            plan = (struct zb_keeper_plan){0};
        }
    }
    zb_keeper_view_close(&view);
    return rc;
}
