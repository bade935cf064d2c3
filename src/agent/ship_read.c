/*
 * What is sent is read from the pool once: a SEND of the keeper for all ships that want the same
 * snapshot from the same base, as long as the first byte was not read.
 */
#include <unistd.h>

#include "agent/keeper.h"
#include "agent/must.h"
#include "agent/ship_limit.h"

struct zb_ship_read {
    struct zb_ships *ships;
    struct zb_ship_read *next;
    uint64_t keeper_id;
    uint16_t service;
    char rel[ZB_REL_SIZE];
    uint64_t guid;
    uint64_t from_guid;
    bool open;                /* others may join: nothing was read yet */
    bool first;               /* for ships that are waited for */
    struct zb_ship_job *jobs; /* at least one until the keeper has answered */
};

static void
unlink_job(struct zb_ship_job *j)
{
    struct zb_ship_job **at = &j->read->jobs;

    while (*at != j) {
        at = &(*at)->read_next;
    }
    *at = j->read_next;
    j->read_next = NULL;
    j->read = NULL;
}

static void
unlink_read(struct zb_ship_read *read)
{
    struct zb_ship_read **at = &read->ships->reads;

    while (*at != read) {
        at = &(*at)->next;
    }
    *at = read->next;
}

/* A stream that has the source, NULL: none (any more). */
static struct zb_stream *
stream_any(const struct zb_ship_read *read)
{
    const struct zb_ship_job *j = read->jobs;

    while (j != NULL && j->stream == NULL) {
        j = j->read_next;
    }
    return j != NULL ? j->stream : NULL;
}

static struct zb_ship_job *
not_opened(const struct zb_ship_read *read)
{
    struct zb_ship_job *j = read->jobs;

    while (j != NULL && j->opened) {
        j = j->read_next;
    }
    return j;
}

static void
on_pipe(void *ctx, int fd)
{
    struct zb_ship_read *read = ctx;
    struct zb_ship_job *j;

    read->open = false;
    /* From the start each time: a job that fails may end others with its ship. */
    while ((j = not_opened(read)) != NULL) {
        zb_ship_job_open(j, &fd, stream_any(read));
    }
    if (fd >= 0) {
        (void)close(fd); /* the keeper's send ends by that */
    }
}

static void
on_sent(void *ctx, const struct zb_krep *rep)
{
    struct zb_ship_read *read = ctx;

    unlink_read(read);
    while (read->jobs != NULL) {
        struct zb_ship_job *j = read->jobs;
        unlink_job(j);
        zb_ship_job_read_ended(j, (enum zb_rc)rep->rc, rep->msg);
    }
    free(read);
}

/* What is waited for does not share with what a limit may hold back. */
static struct zb_ship_read *
read_find(const struct zb_ship_job *j)
{
    bool limited = zb_ship_is_limited(j->s);
    const struct zb_ship_chain *c = &j->s->plan.chains[j->chain];
    struct zb_ship_read *read = j->s->a->ships->reads;

    while (read != NULL &&
           !(read->open && (read->first == j->s->first || !limited) &&
             read->service == j->s->service && read->guid == j->step->guid &&
             read->from_guid == j->step->from_guid && strcmp(read->rel, c->rel) == 0)) {
        read = read->next;
    }
    return read;
}

static struct zb_ship_read *
read_begin(const struct zb_ship_job *j)
{
    const struct zb_ship *s = j->s;
    const struct zb_ship_chain *c = &s->plan.chains[j->chain];
    struct zb_ship_read *read = zb_must_alloc(1, sizeof(*read));
    struct zb_kreq req = {
        .op = ZB_KOP_SEND, .guid = j->step->guid, .from_guid = j->step->from_guid};

    *read = (struct zb_ship_read){.ships = s->a->ships,
                                  .next = s->a->ships->reads,
                                  .service = s->service,
                                  .guid = req.guid,
                                  .from_guid = req.from_guid,
                                  .open = !s->alone && !j->resumed,
                                  .first = s->first};
    s->a->ships->reads = read;
    zb_strcopy(read->rel, sizeof(read->rel), c->rel);
    zb_strcopy(req.service, sizeof(req.service), zb_ship_service(s));
    zb_strcopy(req.rel, sizeof(req.rel), c->rel);
    zb_strcopy(req.snap, sizeof(req.snap), j->step->snap);
    zb_strcopy(req.from_snap, sizeof(req.from_snap),
               zb_ship_chain_base(c, s->chain_next[j->chain]));
    zb_strcopy(req.token, sizeof(req.token), j->resumed ? c->token : "");
    read->keeper_id = zb_keeper_client_call(
        s->a->keeper, &req,
        &(struct zb_keeper_call){.on_reply = on_sent, .on_pipe = on_pipe, .ctx = read});
    return read;
}

void
zb_ship_read_join(struct zb_ship_job *j)
{
    struct zb_ship_read *read = j->s->alone || j->resumed ? NULL : read_find(j);

    if (read == NULL) {
        read = read_begin(j);
    }
    j->read = read;
    j->read_next = read->jobs;
    read->jobs = j;
}

void
zb_ship_read_leave(struct zb_ship_job *j)
{
    struct zb_ship_read *read = j->read;

    if (read == NULL) {
        return;
    }
    if (read->jobs == j && j->read_next == NULL) {
        read->open = false;
        zb_keeper_client_cancel(j->s->a->keeper, read->keeper_id);
    } else {
        unlink_job(j);
    }
}

void
zb_ship_reads_free(struct zb_ships *ships)
{
    while (ships->reads != NULL) {
        struct zb_ship_read *read = ships->reads;
        ships->reads = read->next;
        free(read);
    }
}
