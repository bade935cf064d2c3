/*
 * Which sets of a service stay. Sets are ranked by (term, seq): the caller passes them newest
 * first. Their times are only the width of a bucket: a wrong clock makes a bucket more or fewer of
 * one rank, and cannot make an older set count as a newer one. Pure; UTC.
 */
#ifndef ZB_CONF_RETENTION_H
#define ZB_CONF_RETENTION_H

#include "conf/service.h"

/* Why a set stays: bits. */
enum zb_keep {
    ZB_KEEP_LAST = 0x01,   /* among the newest N */
    ZB_KEEP_FOR = 0x02,    /* not older than that */
    ZB_KEEP_BUCKET = 0x04, /* the newest of its hour: ZB_KEEP_BUCKET << enum zb_conf_bucket */
};
#define ZB_KEEP_WORDS_SIZE 64

/* One pass over the sets of a dataset. */
struct zb_retention {
    struct zb_conf_keep keep;
    int64_t newest_s; /* time that ages are counted from */
    uint32_t count;   /* sets seen */
    struct {
        uint32_t count;
        int64_t
            numbers[ZB_CONF_KEEP_MAX]; /* hours, days, ... that a set is kept of, newest first */
    } buckets[ZB_CONF_BUCKETS];
};

/* now: of this host. An age is counted from the newest set, or from now where that is earlier: a
 * clock of another host that ran ahead ages nothing. */
void zb_retention_begin(struct zb_retention *r, const struct zb_conf_keep *keep,
                        struct zb_wall now);
/* The next older set: bits of enum zb_keep; 0: it may go. The first one always stays. */
uint32_t zb_retention_next(struct zb_retention *r, struct zb_wall time);

/* "last, daily"; "" for 0. buf of ZB_KEEP_WORDS_SIZE. */
void zb_keep_words(uint32_t bits, char *buf);

#endif
