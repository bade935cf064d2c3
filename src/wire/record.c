#include "wire/record.h"

#include <string.h>

#include "base/be.h"

/* Offsets in the record. */
enum {
    AT_TYPE = 0,
    AT_MAGIC = 8,
    AT_VERSIONINFO = 16,
    AT_OBJSET = 32,
    AT_FLAGS = 36,
    AT_TOGUID = 40,
    AT_FROMGUID = 48,
    AT_TONAME = 56,
};

#define DMU_BACKUP_MAGIC UINT64_C(0x2F5bacbac)
#define DRR_BEGIN 0
/* The low two bits of versioninfo say how the stream is put together (DMU_GET_STREAM_HDRTYPE). */
#define HDRTYPE_MASK 3
#define DMU_SUBSTREAM 1
/* Features begin at bit 2; this one is DMU_BACKUP_FEATURE_RAW, 1 << 24 of them. */
#define OBJSET_ZVOL 3 /* DMU_OST_ZVOL */
#define FEATURE_RAW (UINT64_C(1) << 26)

static uint32_t
u32_get(const uint8_t *p, bool little)
{
    uint32_t v = zb_be32_get(p);
    return little ? __builtin_bswap32(v) : v;
}

static uint64_t
u64_get(const uint8_t *p, bool little)
{
    uint64_t v = zb_be64_get(p);
    return little ? __builtin_bswap64(v) : v;
}

enum zb_rc
zb_stream_begin_parse(const uint8_t *buf, struct zb_stream_begin *out, struct zb_err *err)
{
    bool little = u64_get(buf + AT_MAGIC, true) == DMU_BACKUP_MAGIC;
    const char *toname = (const char *)buf + AT_TONAME;

    if (!little && u64_get(buf + AT_MAGIC, false) != DMU_BACKUP_MAGIC) {
        return zb_err_set(err, ZB_E_FORMAT, "begin record: not a ZFS stream (magic)");
    }
    if (u32_get(buf + AT_TYPE, little) != DRR_BEGIN) {
        return zb_err_set(err, ZB_E_FORMAT, "begin record: record type %u, expected %d",
                          u32_get(buf + AT_TYPE, little), DRR_BEGIN);
    }
    uint64_t hdrtype = u64_get(buf + AT_VERSIONINFO, little) & HDRTYPE_MASK;
    if (hdrtype != DMU_SUBSTREAM) {
        return zb_err_set(err, ZB_E_FORMAT,
                          "begin record: stream kind %u, expected %d (one dataset, one snapshot)",
                          (unsigned)hdrtype, DMU_SUBSTREAM);
    }
    struct zb_stream_begin found = {
        .toguid = u64_get(buf + AT_TOGUID, little),
        .fromguid = u64_get(buf + AT_FROMGUID, little),
        .flags = u32_get(buf + AT_FLAGS, little),
        .raw = (u64_get(buf + AT_VERSIONINFO, little) & FEATURE_RAW) != 0,
        .volume = u32_get(buf + AT_OBJSET, little) == OBJSET_ZVOL,
    };
    if (found.toguid == 0) {
        return zb_err_set(err, ZB_E_FORMAT, "begin record: no toguid");
    }
    size_t length = strnlen(toname, sizeof found.toname);
    if (length == sizeof found.toname || memchr(toname, '@', length) == NULL) {
        return zb_err_set(err, ZB_E_FORMAT, "begin record: toname is not a snapshot's name");
    }
    memcpy(found.toname, toname, length);
    *out = found;
    return ZB_OK;
}
