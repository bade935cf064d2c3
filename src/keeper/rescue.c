/*
 * A tree that was set aside by one rename goes on from its forks: for each dataset with a fork,
 * parents first, a clone of the fork is made under the old name and promoted, so that all snapshots
 * up to the fork are the live dataset's again and the rescue's dataset is its clone. Nothing is
 * copied, rolled back or destroyed. What is on disk says what is left to be done, after a crash at
 * any point:
 *
 *   no live dataset                               clone, with the values that the rescue's has
 *   the live one's origin is the rescue's fork    the values again (the clone may lack some),
 * promote the rescue's origin is the live one's fork    done
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "keeper/internal.h"

#define SENDS_STEP_MS 20

/* ---- between two names ---- */

uint64_t
zb_keeper_asides(struct zb_keeper *k, const struct zb_keeper_service *s)
{
    uint64_t asides;

    (void)pthread_mutex_lock(&k->lock);
    asides = s->asides;
    (void)pthread_mutex_unlock(&k->lock);
    return asides;
}

enum zb_rc
zb_keeper_aside_check(struct zb_keeper *k, const struct zb_keeper_job *job, uint64_t before,
                      struct zb_err *err)
{
    const struct zb_keeper_service *s = job->service;
    bool doubt;

    (void)pthread_mutex_lock(&k->lock);
    doubt = s->aside || s->asides != before || (job->op->wants_settled && !s->settled);
    (void)pthread_mutex_unlock(&k->lock);
    return doubt ? zb_err_set(err, ZB_E_BUSY, "%s is being set aside", s->name) : ZB_OK;
}

static bool
sends_cancel(struct zb_keeper *k, const struct zb_keeper_service *s)
{
    bool any = false;

    (void)pthread_mutex_lock(&k->lock);
    for (struct zb_keeper_job *j = k->active.head; j != NULL; j = j->next) {
        if (j->service == s && j->req.op == ZB_KOP_SEND) {
            zb_keeper_job_cancel(j);
            any = true;
        }
    }
    (void)pthread_mutex_unlock(&k->lock);
    return any;
}

enum zb_rc
zb_keeper_aside_begin(struct zb_keeper *k, struct zb_keeper_service *s, struct zb_err *err)
{
    const int64_t deadline_ms = zb_mono_now().ms + ZB_KEEPER_DRAIN_MS;

    (void)pthread_mutex_lock(&k->lock);
    s->aside = true;
    s->asides++;
    (void)pthread_mutex_unlock(&k->lock);
    while (sends_cancel(k, s)) { /* what is being sent cannot be promoted away */
        if (zb_mono_now().ms >= deadline_ms) {
            zb_keeper_aside_end(k, s);
            return zb_err_set(err, ZB_E_BUSY, "a set of %s is being sent, and does not end",
                              s->name);
        }
        (void)usleep(SENDS_STEP_MS * 1000);
    }
    return ZB_OK;
}

void
zb_keeper_aside_end(struct zb_keeper *k, struct zb_keeper_service *s)
{
    (void)pthread_mutex_lock(&k->lock);
    s->aside = false;
    (void)pthread_mutex_unlock(&k->lock);
}

/* ---- names and marks ---- */

enum zb_rc
zb_keeper_rescue_unmark(const struct zb_keeper_view *view, struct zb_err *err)
{
    static const char *const marks[] = {ZB_KEEPER_RESCUE, ZB_KEEPER_FORK};
    enum zb_rc rc = ZB_OK;

    for (size_t i = 0; i < view->tree.count && rc == ZB_OK; i++) {
        const struct zb_zfs_props *p = &view->tree.datasets[i];
        const char *names[2];
        size_t count = 0;

        for (size_t m = 0; m < 2; m++) {
            if (zb_zfs_props_local(p, marks[m]) != NULL) {
                names[count++] = marks[m];
            }
        }
        rc = zb_zfs_props_inherit(p->name, names, count, err);
    }
    return rc;
}

enum zb_rc
zb_keeper_snap_find(const struct zb_zfs_props *props, uint64_t guid, char *snap, struct zb_err *err)
{
    struct zb_zfs_snaps list = {0};
    const struct zb_zfs_snap *found;
    enum zb_rc rc = zb_zfs_snaps_list(props->name, &list, err);

    if (rc != ZB_OK) {
        return rc;
    }
    found = zb_zfs_snaps_find_guid(&list, guid);
    if (found == NULL) {
        rc = zb_err_set(err, ZB_E_NOTFOUND, "%s has no snapshot with guid %llu", props->name,
                        (unsigned long long)guid);
    } else if ((size_t)snprintf(snap, ZB_DATASET_NAME_SIZE, "%s@%s", props->name, found->name) >=
               ZB_DATASET_NAME_SIZE) {
        rc = zb_err_set(err, ZB_E_LIMIT, "name of a snapshot of %s is too long", props->name);
    }
    zb_zfs_snaps_close(&list);
    return rc;
}

/* ---- values ---- */

struct values {
    size_t count;
    struct zb_zfs_setprop *list;
};

/* Its encryption is the origin's; some values are those of every copy at rest (S0), and the marks
 * are the rescue's alone. */
static bool
is_carried_over(const char *name)
{
    static const char *const never[] = {
        "encryption", "keyformat",  "keylocation", "pbkdf2iters",    "readonly",
        "canmount",   "mountpoint", "volmode",     ZB_KEEPER_RESCUE, ZB_KEEPER_FORK};

    for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
        if (strcmp(name, never[i]) == 0) {
            return false;
        }
    }
    return true;
}

/* What the dataset itself has set, and the values at rest. The first `rest` of them are the latter.
 */
static enum zb_rc
values_open(const struct zb_zfs_props *p, bool is_root, struct values *v, size_t *rest,
            struct zb_err *err)
{
    const char *name;
    void *cursor = NULL;
    size_t count = 3;

    while (zb_zfs_props_next(p, &cursor) != NULL) {
        count++;
    }
    v->list = calloc(count, sizeof(*v->list));
    if (v->list == NULL) {
        return zb_err_set(err, ZB_E_NOMEM, "no memory for the properties of %s", p->name);
    }
    v->list[v->count++] = (struct zb_zfs_setprop){.name = "readonly", .number = ZB_ZFS_ON};
    v->list[v->count++] =
        p->type == ZB_ZFS_VOLUME
            ? (struct zb_zfs_setprop){.name = "volmode", .number = ZB_ZFS_VOLMODE_NONE}
            : (struct zb_zfs_setprop){.name = "canmount", .number = ZB_ZFS_CANMOUNT_NOAUTO};
    if (is_root) {
        v->list[v->count++] = (struct zb_zfs_setprop){.name = "mountpoint", .text = "none"};
    }
    *rest = v->count;
    cursor = NULL;
    while ((name = zb_zfs_props_next(p, &cursor)) != NULL) {
        struct zb_zfs_value now;

        if (is_carried_over(name) && zb_zfs_props_find(p, name, &now) &&
            (now.source == ZB_ZFS_SOURCE_LOCAL || now.source == ZB_ZFS_SOURCE_RECEIVED)) {
            v->list[v->count++] =
                (struct zb_zfs_setprop){.name = name, .text = now.text, .number = now.number};
        }
    }
    return ZB_OK;
}

/* One value that this ZFS refuses does not keep the service from going on. */
static enum zb_rc
values_set(const char *dataset, const struct values *v, size_t rest, struct zb_err *err)
{
    enum zb_rc rc = zb_zfs_props_set(dataset, v->list, v->count, err);

    if (rc == ZB_OK || rc == ZB_E_SUSPENDED || rc == ZB_E_NOTFOUND) {
        return rc;
    }
    rc = zb_zfs_props_set(dataset, v->list, rest, err);
    for (size_t i = rest; i < v->count && rc == ZB_OK; i++) {
        struct zb_err one;
        if (zb_zfs_props_set(dataset, &v->list[i], 1, &one) != ZB_OK) {
            zb_log_error("not carried over: %s", one.msg);
        }
    }
    return rc;
}

/* ---- going on ---- */

struct fork {
    const struct zb_zfs_props *from; /* in the rescue */
    uint64_t guid;
    char rel[ZB_REL_SIZE];
    char live[ZB_DATASET_NAME_SIZE];
};

static int
forks_compare(const void *a, const void *b)
{
    const struct fork *x = a;
    const struct fork *y = b;

    return strcmp(x->rel, y->rel);
}

/* Reads the marks; *forks (free it) sorted, parents first. */
static enum zb_rc
forks_open(const struct zb_keeper *k, const char *service, const struct zb_zfs_tree *tree,
           struct fork **forks, size_t *count, struct zb_err *err)
{
    struct fork *list = calloc(tree->count + 1, sizeof(*list));
    size_t n = 0;
    enum zb_rc rc = ZB_OK;

    if (list == NULL) {
        return zb_err_set(err, ZB_E_NOMEM, "no memory for the forks of %s", service);
    }
    for (size_t i = 0; i < tree->count && rc == ZB_OK; i++) {
        const char *mark = zb_zfs_props_local(&tree->datasets[i], ZB_KEEPER_FORK);

        if (mark == NULL) {
            continue;
        }
        list[n].from = &tree->datasets[i];
        if (!zb_rules_fork_parse(mark, &list[n].guid, list[n].rel)) {
            rc = zb_err_set(err, ZB_E_FORMAT, "%s carries a mark that is not zbaton's: %s=%.100s",
                            tree->datasets[i].name, ZB_KEEPER_FORK, mark);
        } else {
            rc = zb_keeper_dataset_name(k, service, list[n].rel, list[n].live, err);
        }
        n++;
    }
    if (rc != ZB_OK) {
        free(list);
        return rc;
    }
    qsort(list, n, sizeof(*list), forks_compare);
    *forks = list;
    *count = n;
    return ZB_OK;
}

/* Whether origin ("ds@snap" or "") is the fork, and of that dataset. */
static bool
is_fork(const char *origin, const char *dataset, uint64_t guid)
{
    size_t n = strlen(dataset);
    struct zb_err ignored;
    uint64_t found = 0;

    return strncmp(origin, dataset, n) == 0 && origin[n] == '@' &&
           zb_zfs_guids(&origin, 1, &found, &ignored) == ZB_OK && found == guid;
}

/* A clone with everything, or else with what it must have and whatever else can be set. */
static enum zb_rc
clone_make(const struct fork *f, const struct values *v, size_t rest, struct zb_err *err)
{
    char snap[ZB_DATASET_NAME_SIZE];
    enum zb_rc rc = zb_keeper_snap_find(f->from, f->guid, snap, err);

    if (rc != ZB_OK) {
        return rc;
    }
    rc = zb_zfs_clone(f->live, snap, v->list, v->count, err);
    if (rc == ZB_E_FAILED || rc == ZB_E_UNSUPPORTED || rc == ZB_E_NOSPACE) {
        zb_log_warning("%s, with all its properties; once more without", err->msg);
        rc = zb_zfs_clone(f->live, snap, v->list, rest, err);
        if (rc == ZB_OK) {
            rc = values_set(f->live, v, rest, err);
        }
    }
    return rc;
}

static enum zb_rc
fork_follow(const struct fork *f, struct zb_err *err)
{
    struct zb_zfs_props live = {0};
    struct values v = {0};
    size_t rest = 0;
    enum zb_rc rc;

    if (is_fork(f->from->origin, f->live, f->guid)) {
        return ZB_OK;
    }
    rc = values_open(f->from, f->rel[0] == '\0', &v, &rest, err);
    if (rc != ZB_OK) {
        return rc;
    }
    rc = zb_zfs_props_get(f->live, &live, err);
    if (rc == ZB_E_NOTFOUND) {
        rc = clone_make(f, &v, rest, err);
    } else if (rc == ZB_OK && is_fork(live.origin, f->from->name, f->guid)) {
        rc = values_set(f->live, &v, rest, err);
    } else if (rc == ZB_OK) {
        (void)zb_err_set(err, ZB_E_EXISTS, "%s is in the way of what goes on from %s", f->live,
                         f->from->name);
        rc = zb_err_hint(err, "rename it to a place outside the service's tree");
    }
    if (rc == ZB_OK) {
        rc = zb_zfs_promote(f->live, err);
    }
    zb_zfs_props_close(&live);
    free(v.list);
    return rc;
}

/* `written` of a clone may be above 0, as after a rollback: the content is compared. */
static bool
is_on_fork(const struct zb_zfs_props *live, uint64_t guid)
{
    bool modified = live->written_bytes != 0;
    struct zb_err err;

    if (modified && zb_zfs_modified(live->name, &modified, &err) != ZB_OK) {
        zb_log_warning("%s", err.msg);
    }
    return live->newest_guid == guid && !modified;
}

/* S7: what the pool says. */
static enum zb_rc
forks_prove(const struct fork *forks, size_t count, struct zb_err *err)
{
    struct zb_zfs_tree tree = {0};
    enum zb_rc rc = count > 0 ? zb_zfs_tree_observe(forks[0].live, &tree, err) : ZB_OK;

    for (size_t i = 0; i < count && rc == ZB_OK; i++) {
        size_t at = 0;

        while (at < tree.count && strcmp(tree.datasets[at].name, forks[i].live) != 0) {
            at++;
        }
        if (at == tree.count || !is_on_fork(&tree.datasets[at], forks[i].guid)) {
            rc = zb_err_set(err, ZB_E_MISMATCH, "%s does not stand on its fork, %llu",
                            forks[i].live, (unsigned long long)forks[i].guid);
        }
    }
    zb_zfs_tree_close(&tree);
    return rc;
}

enum zb_rc
zb_keeper_rescue_end(const struct zb_keeper *k, const char *service, const char *aside, bool *kept,
                     struct zb_err *err)
{
    const struct zb_zfs_setprop mark = {.name = ZB_KEEPER_RESCUE, .text = ZB_KEEPER_RESCUE_KEPT};
    struct zb_zfs_tree tree = {0};
    struct fork *forks = NULL;
    size_t count = 0;
    struct zb_err marking;
    enum zb_rc rc = zb_zfs_tree_observe(aside, &tree, err);

    *kept = false;
    if (rc == ZB_OK) {
        rc = forks_open(k, service, &tree, &forks, &count, err);
    }
    for (size_t i = 0; i < count && rc == ZB_OK; i++) {
        rc = fork_follow(&forks[i], err);
    }
    if (rc == ZB_OK) {
        rc = forks_prove(forks, count, err);
        /* Another tool's snapshot in between is the next comparison's: all is kept already. */
        *kept = (rc == ZB_OK || rc == ZB_E_MISMATCH) &&
                zb_zfs_props_set(aside, &mark, 1, &marking) == ZB_OK;
        if ((rc == ZB_OK || rc == ZB_E_MISMATCH) && !*kept) {
            *err = marking;
            rc = marking.rc;
        }
    }
    free(forks);
    zb_zfs_tree_close(&tree);
    return rc;
}

/* ---- after a crash ---- */

/* Begun and not ended, and of this service. */
static enum zb_rc
begun_check(const char *dataset, const char *name, const char *service, bool *begun,
            struct zb_err *err)
{
    char owner[ZB_SERVICE_NAME_SIZE];
    struct zb_zfs_props props = {0};
    struct zb_wall time;
    uint64_t term;
    const char *mark;
    enum zb_rc rc;

    *begun = false;
    if (strchr(name, '/') != NULL || !zb_rules_rescue_name_parse(name, owner, &term, &time) ||
        strcmp(owner, service) != 0) {
        return ZB_OK;
    }
    rc = zb_zfs_props_get(dataset, &props, err);
    mark = rc == ZB_OK ? zb_zfs_props_local(&props, ZB_KEEPER_RESCUE) : NULL;
    *begun = mark != NULL && strcmp(mark, ZB_KEEPER_RESCUE_BEGUN) == 0;
    zb_zfs_props_close(&props);
    return rc == ZB_E_NOTFOUND ? ZB_OK : rc;
}

enum zb_rc
zb_keeper_rescues_settle(const struct zb_keeper *k, const char *service, struct zb_err *err)
{
    char container[ZB_DATASET_NAME_SIZE];
    struct zb_zfs_names names = {0};
    enum zb_rc rc = ZB_OK;

    if (snprintf(container, sizeof(container), "%s" ZB_KEEPER_RESCUES, k->conf->root) >=
        (int)sizeof(container)) {
        return ZB_OK; /* then there is none */
    }
    rc = zb_zfs_children_list(container, &names, err);
    if (rc == ZB_E_NOTFOUND) {
        return ZB_OK;
    }
    for (size_t i = 1; i < names.count && rc == ZB_OK; i++) { /* the first is the container */
        bool begun;
        bool kept = false;

        rc = begun_check(names.names[i], names.names[i] + strlen(container) + 1, service, &begun,
                         err);
        if (rc != ZB_OK || !begun) {
            continue;
        }
        zb_log_warning("%s was begun and is not ended: going on", names.names[i]);
        rc = zb_keeper_rescue_end(k, service, names.names[i], &kept, err);
        if (rc != ZB_OK && kept) {
            zb_log_warning("%s", err->msg);
            rc = ZB_OK;
        }
    }
    zb_zfs_names_close(&names);
    return rc;
}
