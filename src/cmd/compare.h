/*
 * What one tree of files has that another lacks or has otherwise: for looking at a rescue. Reads
 * only, follows no link, stays on the file system that it begins on.
 */
#ifndef ZB_CMD_COMPARE_H
#define ZB_CMD_COMPARE_H

#include "base/types.h"

#define ZB_COMPARE_DEPTH_MAX 256 /* directories below each other; deeper ones are ZB_E_LIMIT */

struct zb_compare {
    /* path: below where it began, with prefix in front; change: '+' only in the one, 'M' in both
     * with other content. Sorted by name in each directory. */
    void (*on_change)(void *ctx, char change, const char *path, uint64_t bytes);
    void *ctx;
};

/* one and other are directories, open; other may be -1: it has nothing. They stay the caller's. */
enum zb_rc zb_compare_trees(const struct zb_compare *compare, const char *prefix, int one,
                            int other, struct zb_err *err) ZB_CHECKED;

#endif
