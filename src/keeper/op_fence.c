#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "keeper/internal.h"
#include "runner/fence.h"
#include "runner/once.h"

#define GROUP_SIZE (2 * ZB_NODE_NAME_SIZE + 16)

/* "<node>.<fenced node>.fence": a service's groups are "<node>.<service>" and that with ".ctl", and
 * names have no dots. */
static void
group_name(const struct zb_keeper *k, const char *node, char *group)
{
    (void)snprintf(group, GROUP_SIZE, "%s.%s.fence", k->conf->node, node);
}

/* ---- never twice at once for one node ---- */

/* A place in the table, or -1 with *err. */
static int
place_take(struct zb_keeper *k, const char *node, struct zb_err *err)
{
    int place = -1;
    bool runs = false;

    (void)pthread_mutex_lock(&k->lock);
    for (int i = 0; i < ZB_KEEPER_FENCES_MAX; i++) {
        runs = runs || strcmp(k->fencing[i], node) == 0;
        place = k->fencing[i][0] == '\0' ? i : place;
    }
    if (!runs && place >= 0) {
        zb_strcopy(k->fencing[place], ZB_NODE_NAME_SIZE, node);
    }
    (void)pthread_mutex_unlock(&k->lock);
    if (runs) {
        (void)zb_err_set(err, ZB_E_BUSY, "the fence command runs for %s already", node);
        return -1;
    }
    if (place < 0) {
        (void)zb_err_set(err, ZB_E_BUSY, "the fence command runs for %d nodes already",
                         ZB_KEEPER_FENCES_MAX);
    }
    return place;
}

static void
place_free(struct zb_keeper *k, int place)
{
    (void)pthread_mutex_lock(&k->lock);
    k->fencing[place][0] = '\0';
    (void)pthread_mutex_unlock(&k->lock);
}

/* ---- the operation ---- */

static enum zb_rc
check(struct zb_keeper *k, const struct zb_keeper_job *job, struct zb_err *err)
{
    const struct zb_keeper_facts facts = {.self = k->conf->node};
    struct zb_keeper_record r;
    bool member = zb_conf_names_contain(&job->conf.members, job->req.node) ||
                  zb_conf_names_contain(&job->conf.backups, job->req.node);
    enum zb_rc rc;

    zb_keeper_record_copy(k, job->service, &r);
    rc = zb_rules_fence(&r, &job->req, &facts, member, err);
    if (rc == ZB_OK && (job->req.text == NULL || !zb_node_name_valid(job->req.text))) {
        rc = zb_err_set(err, ZB_E_USAGE, "the cluster's name is wanted");
    }
    if (rc == ZB_OK && k->conf->fence_command[0] == '\0') {
        rc = zb_err_set(err, ZB_E_UNSUPPORTED, "%s has no fence-command", k->conf->node);
    }
    return rc;
}

static enum zb_rc
run(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    char group[GROUP_SIZE];
    struct zb_fence f = {.command = k->conf->fence_command,
                         .group = group,
                         .node = job->req.node,
                         .cluster = job->req.text,
                         .service = job->req.service,
                         .term = job->req.term,
                         .timeout_ms = k->conf->fence_timeout_ms};
    enum zb_rc rc = zb_keeper_job_cancel_open(k, job, &f.cancel_fd, err);

    if (rc == ZB_OK) {
        group_name(k, job->req.node, group);
        rc = zb_fence_run(&f, err);
        zb_keeper_job_cancel_close(k, job, f.cancel_fd);
    }
    return rc;
}

enum zb_rc
zb_keeper_op_fence(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    struct zb_mono begin = zb_mono_now();
    enum zb_rc rc = check(k, job, err);
    int place;

    if (rc != ZB_OK) {
        return rc;
    }
    place = place_take(k, job->req.node, err);
    if (place < 0) {
        return err->rc;
    }
    zb_log_warning("%s, term %llu: running %s %s", job->req.service,
                   (unsigned long long)job->req.term, k->conf->fence_command, job->req.node);
    rc = run(k, job, err);
    place_free(k, place);
    job->rep.elapsed_ms = (uint32_t)(zb_mono_now().ms - begin.ms);
    return rc;
}

/* ---- after a start ---- */

/* Nodes that this keeper may have fenced: each once, for looking costs some reading. */
struct nodes {
    uint32_t count;
    char names[2 * ZB_NODES_MAX][ZB_NODE_NAME_SIZE];
};

static void
node_settle(const struct zb_keeper *k, struct nodes *seen, const char *node)
{
    char group[GROUP_SIZE];
    struct zb_err err;

    for (uint32_t i = 0; i < seen->count; i++) {
        if (strcmp(seen->names[i], node) == 0) {
            return;
        }
    }
    if (seen->count < sizeof(seen->names) / sizeof(seen->names[0])) {
        zb_strcopy(seen->names[seen->count++], ZB_NODE_NAME_SIZE, node);
    }
    group_name(k, node, group);
    if (zb_once_group_end(group, &err) != ZB_OK) {
        zb_log_error("the fence command for %s of an earlier start: %s", node, err.msg);
    }
}

void
zb_keeper_fences_settle(struct zb_keeper *k)
{
    struct nodes seen = {0};

    for (uint32_t i = 0; i < k->services_count; i++) {
        const struct zb_keeper_service *s = k->services[i];
        const struct zb_conf_names *lists[] = {&s->conf.members, &s->conf.backups};
        for (size_t l = 0; s->defined && l < 2; l++) {
            for (uint32_t m = 0; m < lists[l]->count; m++) {
                node_settle(k, &seen, lists[l]->items[m]);
            }
        }
        for (size_t m = 0; m < ZB_MEMBERS_MAX + 1; m++) {
            if (s->record.rec.suspects[m][0] != '\0') {
                node_settle(k, &seen, s->record.rec.suspects[m]);
            }
        }
    }
}
