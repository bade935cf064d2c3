#include "keeper/survey.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "keeper/internal.h"

#define RECORD_SUFFIX ".record"

/* ---- the pool ---- */

static int
set_cmp(const void *a, const void *b)
{
    const struct zb_survey_set *left = a;
    const struct zb_survey_set *right = b;

    return zb_set_id_cmp(left->id, right->id);
}

/* Sets among the snapshots, oldest first; for free(). */
static struct zb_survey_set *
sets_of(const struct zb_zfs_snaps *snaps, uint32_t *count)
{
    struct zb_survey_set *sets = calloc(snaps->count + 1, sizeof(*sets));

    *count = 0;
    for (size_t i = 0; sets != NULL && i < snaps->count; i++) {
        struct zb_survey_set *set = &sets[*count];
        *count += zb_set_name_parse(snaps->snaps[i].name, &set->id, &set->time);
    }
    if (sets != NULL) {
        qsort(sets, *count, sizeof(*sets), set_cmp);
    }
    return sets;
}

static enum zb_rc
guids_add(struct zb_survey_service *service, const struct zb_zfs_snaps *snaps, struct zb_err *err)
{
    uint64_t *grown =
        reallocarray(service->guids, service->guids_count + snaps->count + 1, sizeof(*grown));

    if (grown == NULL) {
        return zb_err_sys(err, ENOMEM, "snapshots of %s", service->name);
    }
    service->guids = grown;
    for (size_t i = 0; i < snaps->count; i++) {
        service->guids[service->guids_count++] = snaps->snaps[i].guid;
    }
    return ZB_OK;
}

static bool
has_guid(const struct zb_survey_service *service, uint64_t guid)
{
    for (uint32_t i = service->guids_count; i > 0; i--) { /* it is a late one, mostly */
        if (service->guids[i - 1] == guid) {
            return true;
        }
    }
    return false;
}

bool
zb_survey_holds(const struct zb_survey_service *service, const struct zb_manifest *m)
{
    for (uint32_t i = 0; i < m->entries_count; i++) {
        if (!has_guid(service, m->entries[i].guid)) {
            return false;
        }
    }
    return m->entries_count > 0;
}

void
zb_survey_set_drop(struct zb_survey_service *service, struct zb_set_id id)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < service->sets_count; i++) {
        if (zb_set_id_cmp(service->sets[i].id, id) != 0) {
            service->sets[kept++] = service->sets[i];
        }
    }
    service->sets_count = kept;
}

void
zb_survey_service_close(struct zb_survey_service *service)
{
    free(service->sets);
    free(service->guids);
    *service = (struct zb_survey_service){0};
}

enum zb_rc
zb_survey_dataset_add(struct zb_survey_service *service, const char *dataset,
                      const struct zb_zfs_snaps *snaps, struct zb_err *err)
{
    uint32_t count;
    uint32_t kept = 0;
    struct zb_survey_set *sets = sets_of(snaps, &count);

    if (sets == NULL) {
        return zb_err_sys(err, ENOMEM, "sets of %s", dataset);
    }
    enum zb_rc rc = guids_add(service, snaps, err);
    if (rc != ZB_OK) {
        free(sets);
        return rc;
    }
    service->datasets_count++;
    if (count == 0) {
        zb_strcopy(service->without, sizeof(service->without), dataset);
        free(sets);
        return ZB_OK;
    }
    if (service->sets == NULL) {
        service->sets = sets;
        service->sets_count = count;
        return ZB_OK;
    }
    for (uint32_t i = 0; i < service->sets_count; i++) {
        if (bsearch(&service->sets[i], sets, count, sizeof(*sets), set_cmp) != NULL) {
            service->sets[kept++] = service->sets[i];
        }
    }
    service->sets_count = kept;
    free(sets);
    return ZB_OK;
}

struct zb_survey_set
zb_survey_newest(const struct zb_survey_service *service)
{
    return service->sets_count > 0 ? service->sets[service->sets_count - 1]
                                   : (struct zb_survey_set){0};
}

void
zb_survey_close(struct zb_survey *survey)
{
    for (uint32_t i = 0; i < survey->count; i++) {
        zb_survey_service_close(&survey->services[i]);
    }
    free(survey->services);
    *survey = (struct zb_survey){0};
}

static void
term_note(struct zb_survey *survey, const struct zb_zfs_snaps *snaps)
{
    for (size_t i = 0; i < snaps->count; i++) {
        struct zb_set_id id;
        if (zb_set_name_parse(snaps->snaps[i].name, &id, NULL) && id.term > survey->term) {
            survey->term = id.term;
        }
    }
}

/* What the walk below root is about. */
struct walk {
    const char *root;
    const char *node;
    uint64_t pool_guid;
    struct zb_os_mounts mounts;
    struct zb_survey *survey;
    struct zb_survey_service *service; /* the one whose datasets come now; NULL: none */
};

/* A service's own dataset begins it; names come sorted, parents first. */
static enum zb_rc
service_begin(struct walk *w, const char *rel, const struct zb_zfs_props *p, struct zb_err *err)
{
    const char *mark = zb_zfs_props_local(p, "zbaton:service");
    const char *node = zb_zfs_props_local(p, "zbaton:node");
    struct zb_survey *survey = w->survey;
    struct zb_survey_service *grown;

    w->service = NULL;
    if (mark == NULL || strcmp(mark, rel) != 0 || !zb_service_name_valid(rel)) {
        return ZB_OK;
    }
    grown = reallocarray(survey->services, survey->count + 1, sizeof(*grown));
    if (grown == NULL) {
        return zb_err_sys(err, ENOMEM, "services below %s", w->root);
    }
    survey->services = grown;
    w->service = &survey->services[survey->count++];
    *w->service = (struct zb_survey_service){
        .used_bytes = p->used_bytes, .own = zb_keeper_is_marked(p, rel, w->node, w->pool_guid)};
    zb_strcopy(w->service->name, sizeof(w->service->name), rel);
    if (node != NULL && zb_node_name_valid(node)) {
        zb_strcopy(w->service->node, sizeof(w->service->node), node);
    }
    return ZB_OK;
}

static bool
is_below(const char *rel, const char *service)
{
    size_t n = strlen(service);

    return strncmp(rel, service, n) == 0 && (rel[n] == '/' || rel[n] == '\0');
}

static enum zb_rc
dataset_look(struct walk *w, const char *name, struct zb_err *err)
{
    const char *rel = name + strlen(w->root) + 1;
    struct zb_zfs_props props = {0};
    struct zb_zfs_snaps snaps = {0};
    struct zb_zfs_value orphan;
    enum zb_rc rc = zb_zfs_props_get(name, &props, err);

    if (rc == ZB_OK) {
        rc = zb_zfs_snaps_list(name, &snaps, err);
    }
    if (rc != ZB_OK) {
        goto out;
    }
    term_note(w->survey, &snaps);
    if (strchr(rel, '/') == NULL) {
        rc = service_begin(w, rel, &props, err);
    }
    if (rc == ZB_OK && w->service != NULL && is_below(rel, w->service->name)) {
        if (zb_os_mounts_find(&w->mounts, name) != NULL) {
            zb_strcopy(w->survey->mounted, sizeof(w->survey->mounted), name);
            w->survey->mounted_volume = props.type == ZB_ZFS_VOLUME;
        }
        if (!zb_zfs_props_find(&props, ZB_KEEPER_ORPHAN, &orphan)) {
            rc = zb_survey_dataset_add(w->service, name, &snaps, err);
        }
    }
out:
    zb_zfs_snaps_close(&snaps);
    zb_zfs_props_close(&props);
    return rc;
}

static int
service_cmp(const void *a, const void *b)
{
    const struct zb_survey_service *left = a;
    const struct zb_survey_service *right = b;

    return strcmp(left->name, right->name);
}

enum zb_rc
zb_keeper_survey(const char *root, const char *node, struct zb_survey *survey, struct zb_err *err)
{
    struct walk w = {.root = root, .node = node, .survey = survey};
    struct zb_zfs_names names = {0};
    struct zb_zfs_version version;
    enum zb_rc rc = zb_zfs_init(&version, err);

    if (rc != ZB_OK) {
        return rc;
    }
    rc = zb_zfs_pool_guid(root, &w.pool_guid, err);
    if (rc == ZB_OK) {
        rc = zb_os_mounts_read(root, &w.mounts, err);
    }
    if (rc == ZB_OK) {
        rc = zb_zfs_children_list(root, &names, err);
    }
    for (size_t i = 0; i < names.count && rc == ZB_OK; i++) {
        if (strcmp(names.names[i], root) != 0) {
            rc = dataset_look(&w, names.names[i], err);
        }
    }
    if (survey->count > 0) {
        qsort(survey->services, survey->count, sizeof(*survey->services), service_cmp);
    }
    zb_zfs_names_close(&names);
    zb_os_mounts_close(&w.mounts);
    zb_zfs_close();
    return rc;
}

/* ---- the state directory ---- */

static int
keeper_dir_open(const char *state_dir)
{
    char path[ZB_PATH_SIZE + 16];

    (void)snprintf(path, sizeof(path), "%s/keeper", state_dir);
    return open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* *term grows to that of the record, if it is one. */
static enum zb_rc
record_look(int dir_fd, const char *file, uint64_t *term, struct zb_err *err)
{
    char service[ZB_SERVICE_NAME_SIZE];
    struct zb_keeper_record r = {0};
    size_t n = strlen(file);

    if (n <= strlen(RECORD_SUFFIX) ||
        strcmp(file + n - strlen(RECORD_SUFFIX), RECORD_SUFFIX) != 0 ||
        n - strlen(RECORD_SUFFIX) >= sizeof(service)) {
        return ZB_OK;
    }
    (void)snprintf(service, sizeof(service), "%.*s", (int)(n - strlen(RECORD_SUFFIX)), file);
    enum zb_rc rc = zb_keeper_record_load(dir_fd, service, &r, err);
    if (rc != ZB_OK) {
        return rc;
    }
    const uint64_t terms[] = {r.rec.granted_term, r.rec.learned_term, r.rec.established_term};
    for (size_t i = 0; i < sizeof(terms) / sizeof(terms[0]); i++) {
        *term = terms[i] > *term ? terms[i] : *term;
    }
    return ZB_OK;
}

enum zb_rc
zb_survey_records_term(const char *state_dir, uint64_t *term, struct zb_err *err)
{
    int fd = keeper_dir_open(state_dir);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;
    enum zb_rc rc = ZB_OK;

    *term = 0;
    if (dir == NULL) {
        rc = errno == ENOENT ? ZB_OK : zb_err_sys(err, errno, "%s/keeper", state_dir);
        if (fd >= 0) {
            (void)close(fd);
        }
        return rc;
    }
    while ((entry = readdir(dir)) != NULL) {
        struct zb_err one;
        if (record_look(fd, entry->d_name, term, &one) != ZB_OK && rc == ZB_OK) {
            rc = one.rc;
            *err = one;
        }
    }
    (void)closedir(dir);
    return rc;
}

enum zb_rc
zb_survey_idle_lock(const char *state_dir, int *fd, struct zb_err *err)
{
    int dir_fd = keeper_dir_open(state_dir);
    int lock = dir_fd < 0 ? -1 : openat(dir_fd, "lock", O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    enum zb_rc rc = ZB_OK;

    if (lock < 0 && errno != ENOENT) {
        rc = zb_err_sys(err, errno, "the lock of %s", state_dir);
    } else if (lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK) {
            (void)zb_err_set(err, ZB_E_BUSY, "zbatond runs on %s", state_dir);
            rc = zb_err_hint(err, "systemctl stop zbaton");
        } else {
            rc = zb_err_sys(err, errno, "lock %s", state_dir);
        }
        (void)close(lock);
    } else if (lock >= 0) {
        *fd = lock;
    }
    if (dir_fd >= 0) {
        (void)close(dir_fd);
    }
    return rc;
}
