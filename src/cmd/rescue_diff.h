/*
 * What a mounted rescue has that the newest set of its service on this node lacks or has otherwise.
 */
#ifndef ZB_CMD_RESCUE_DIFF_H
#define ZB_CMD_RESCUE_DIFF_H

#include "cmd/compare.h"

#include <jansson.h>

/* shown: the answer to rescue.show; path: where the rescue is mounted. The snapshots of the live
 * side are mounted, one after the other, where nobody else sees them: in a mount namespace of a
 * child of this process, which also calls compare's on_change. As root. */
enum zb_rc zb_rescue_diff(const json_t *shown, const char *path, const struct zb_compare *compare,
                          struct zb_err *err) ZB_CHECKED;
/* Directory of a dataset of the rescue: below the others, or beside them where they have no room.
 * False: neither is there. */
bool zb_rescue_dir(const char *path, const char *rel, char *buf, size_t size);

#endif
