/*
 * The newest transaction groups of a pool, as the kstat "txgs" tells of them (as many as
 * zfs_txg_history of zfs(4) says). Reading it is no ioctl and never blocks.
 */
#include "zfs/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct row {
    uint64_t txg;
    uint64_t birth_ns; /* since the boot */
    char state;        /* O open, Q quiescing, W waiting, S syncing, C committed */
    uint64_t dirty_bytes, written_bytes;
    int64_t open_ns, quiesce_ns, wait_ns;
};

/* False: no such line. */
static bool
row_parse(const char *line, struct row *row)
{
    /* txg birth state ndirty nread nwritten reads writes otime qtime wtime stime */
    // NOLINTNEXTLINE(cert-err34-c): of the kernel's making; what is no number is no such line
    return sscanf(line,
                  "%" SCNu64 " %" SCNu64 " %c %" SCNu64 " %*u %" SCNu64 " %*u %*u %" SCNd64
                  " %" SCNd64 " %" SCNd64,
                  &row->txg, &row->birth_ns, &row->state, &row->dirty_bytes, &row->written_bytes,
                  &row->open_ns, &row->quiesce_ns, &row->wait_ns) == 8 &&
           strchr("OQWSC", row->state) != NULL;
}

static FILE *
txgs_open(const char *pool)
{
    char path[ZB_DATASET_NAME_SIZE + 64];

    zb_zfs_kstat_path(pool, "txgs", path, sizeof path);
    return fopen(path, "re");
}

/* ---- on its way to the disks ---- */

int64_t
zb_zfs_txg_sync_ms(const char *line, int64_t now_ns)
{
    struct row row;

    if (!row_parse(line, &row) || row.state != 'S') {
        return 0;
    }
    return (now_ns - (int64_t)row.birth_ns - row.open_ns - row.quiesce_ns - row.wait_ns) / 1000000;
}

int64_t
zb_zfs_txgs_sync_ms(const char *pool)
{
    char line[512];
    struct timespec now;
    int64_t longest_ms = 0;
    FILE *f = txgs_open(pool);

    if (f == NULL) {
        return 0;
    }
    /* The clock of gethrtime() in the kernel. */
    (void)clock_gettime(CLOCK_MONOTONIC_RAW, &now);
    while (fgets(line, sizeof line, f) != NULL) {
        int64_t ms = zb_zfs_txg_sync_ms(line, (int64_t)now.tv_sec * 1000000000 + now.tv_nsec);
        longest_ms = ms > longest_ms ? ms : longest_ms;
    }
    fclose(f);
    return longest_ms;
}

/* ---- was anything written? ---- */

void
zb_zfs_quiet_line(struct zb_zfs_quiet *q, const char *line)
{
    struct row row;

    if (!row_parse(line, &row) || row.state == 'O') { /* what is open no look sees either */
        return;
    }
    q->found = q->found || (row.txg == q->since.txg && row.birth_ns == q->since.birth_ns);
    if (row.state != 'C') { /* what it writes is counted when it is done */
        q->written = true;
    }
    if (q->doubtful.txg != 0 && (row.state == 'C' || row.state == 'S')) {
        q->last = q->doubtful;
        q->doubtful.txg = 0;
    }
    if (row.state == 'C' && (row.dirty_bytes != 0 || row.written_bytes != 0)) {
        q->written = q->written || row.txg > q->since.txg;
        q->last = (struct zb_zfs_txg){row.txg, row.birth_ns};
    } else if (row.state == 'C') { /* committed first, counted then: before the next one syncs */
        q->doubtful = (struct zb_zfs_txg){row.txg, row.birth_ns};
    }
}

bool
zb_zfs_is_quiet(const char *pool, struct zb_zfs_txg *last)
{
    struct zb_zfs_quiet q = {.since = *last};
    char line[512];
    bool whole = false;
    FILE *f = txgs_open(pool);

    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        zb_zfs_quiet_line(&q, line);
    }
    if (f != NULL) {
        whole = !ferror(f);
        fclose(f);
    }
    *last = whole ? q.last : (struct zb_zfs_txg){0};
    return whole && q.found && !q.written;
}
