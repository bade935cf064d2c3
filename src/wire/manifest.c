#include "wire/manifest.h"

#include "wire/fields.h"

static const struct zb_field set_id_fields[] = {
    INT(zb_set_id, term),
    INT(zb_set_id, seq),
};
const struct zb_shape zb_wire_set_id_shape = SHAPE(set_id_fields, sizeof(struct zb_set_id));

static const struct zb_field wall_fields[] = {INT(zb_wall, s)};
static const struct zb_shape wall_shape = SHAPE(wall_fields, sizeof(struct zb_wall));

static const struct zb_field entry_fields[] = {
    STRING(zb_manifest_entry, uuid, zb_uuid_valid),
    STRING(zb_manifest_entry, rel, zb_rel_valid),
    INT(zb_manifest_entry, guid),
};
static const struct zb_shape entry_shape = SHAPE(entry_fields, sizeof(struct zb_manifest_entry));

static const struct zb_field manifest_fields[] = {
    STRUCT(zb_manifest, id, zb_wire_set_id_shape),
    STRUCT(zb_manifest, time, wall_shape),
    LIST(zb_manifest, entries, entries_count, ZB_DATASETS_MAX, entry_shape),
};
const struct zb_shape zb_wire_manifest_shape = SHAPE(manifest_fields, sizeof(struct zb_manifest));

bool
zb_wire_manifest_check(const void *s)
{
    return zb_manifest_valid(s);
}

enum zb_rc
zb_wire_manifest_encode(const struct zb_manifest *m, uint8_t *buf, size_t size, size_t *used,
                        struct zb_err *err)
{
    return zb_codec_encode(&zb_wire_manifest_shape, m, buf, size, used, err);
}

enum zb_rc
zb_wire_manifest_decode(const uint8_t *buf, size_t size, struct zb_manifest *out,
                        struct zb_err *err)
{
    enum zb_rc rc = zb_codec_decode(&zb_wire_manifest_shape, buf, size, out, err);
    if (rc == ZB_OK && !zb_manifest_valid(out)) {
        zb_codec_close(&zb_wire_manifest_shape, out);
        rc = zb_err_set(err, ZB_E_FORMAT, "not a valid manifest");
    }
    return rc;
}
