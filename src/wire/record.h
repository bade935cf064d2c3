/*
 * The begin record of a ZFS send stream (DRR_BEGIN, 312 bytes, in either byte order: a stream has
 * its sender's). The keeper reads it before the kernel sees the stream. Pure. Layout:
 * zfs_ioctl.h of OpenZFS (struct dmu_replay_record, struct drr_begin), unchanged since 2.1.
 */
#ifndef ZB_WIRE_RECORD_H
#define ZB_WIRE_RECORD_H

#include "base/types.h"

#define ZB_STREAM_BEGIN_SIZE 312

struct zb_stream_begin {
    uint64_t toguid;
    uint64_t fromguid;                 /* 0: full stream */
    uint32_t flags;                    /* DRR_FLAG_* */
    bool raw;                          /* encrypted, as it is stored (zfs send -w) */
    bool volume;                       /* of a zvol */
    char toname[ZB_DATASET_NAME_SIZE]; /* "pool/ds@snap" on the sender */
};

/* buf of ZB_STREAM_BEGIN_SIZE. ZB_E_FORMAT: no begin record, a compound stream (send -R or -p), no
 * guid, toname without its end or without '@'. */
enum zb_rc zb_stream_begin_parse(const uint8_t *buf, struct zb_stream_begin *out,
                                 struct zb_err *err) ZB_CHECKED;

#endif
