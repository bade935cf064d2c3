#include "wire/kmsg.h"

#include <string.h>

#include "wire/fields.h"
#include "wire/manifest.h"

#define TEXT_MAX (64u << 10)

#define MANIFEST(t, f)                                                                             \
    FIELD(ZB_FIELD_STRUCT, t, f, .shape = &zb_wire_manifest_shape, .check = zb_wire_manifest_check)

bool
zb_resume_token_valid(const char *s)
{
    return s[strspn(s, "0123456789abcdef-")] == '\0';
}

static const struct zb_field set_ref_fields[] = {
    STRUCT(zb_set_ref, id, zb_wire_set_id_shape),
    BYTES(zb_set_ref, digest),
};
static const struct zb_shape set_ref_shape = SHAPE(set_ref_fields, sizeof(struct zb_set_ref));

static const struct zb_field node_name_fields[] = {
    {.name = "name",
     .kind = ZB_FIELD_STRING,
     .size = ZB_NODE_NAME_SIZE,
     .valid = zb_node_name_valid},
};
static const struct zb_shape node_name_shape = SHAPE(node_name_fields, ZB_NODE_NAME_SIZE);

static const struct zb_field line_fields[] = {
    INT(zb_line, term),
    STRUCT(zb_line, fork, zb_wire_set_id_shape),
};
static const struct zb_shape line_shape = SHAPE(line_fields, sizeof(struct zb_line));

static bool
lineage_check(const void *data)
{
    return zb_lineage_valid(data);
}

static const struct zb_field lineage_fields[] = {
    ARRAY(zb_lineage, lines, count, ZB_LINEAGE_MAX, line_shape),
};
static const struct zb_shape lineage_shape = SHAPE(lineage_fields, sizeof(struct zb_lineage));

#define LINEAGE(t, f) FIELD(ZB_FIELD_STRUCT, t, f, .shape = &lineage_shape, .check = lineage_check)

static const struct zb_field record_fields[] = {
    INT(zb_record, granted_term),
    STRING(zb_record, granted_to, zb_node_name_valid),
    INT(zb_record, learned_term),
    STRING(zb_record, learned_leader, zb_node_name_valid),
    INT(zb_record, established_term),
    INT(zb_record, released_term),
    STRING(zb_record, released_to, zb_node_name_valid),
    STRUCT(zb_record, released_set, set_ref_shape),
    FIELD(ZB_FIELD_ARRAY, zb_record, suspects, .max = ZB_MEMBERS_MAX + 1,
          .shape = &node_name_shape),
    INT(zb_record, version),
    LINEAGE(zb_record, lineage),
};
static const struct zb_shape record_shape = SHAPE(record_fields, sizeof(struct zb_record));

static const struct zb_field dataset_fields[] = {
    STRING(zb_kdataset, uuid, zb_uuid_valid),
    STRING(zb_kdataset, rel, zb_rel_valid),
    INT(zb_kdataset, guid),
    INT_UPTO(zb_kdataset, mount, ZB_MOUNT_RW),
    BOOL(zb_kdataset, readonly_on),
    BOOL(zb_kdataset, marked),
    INT(zb_kdataset, written_bytes),
    INT(zb_kdataset, used_bytes),
    STRING(zb_kdataset, newest, zb_snap_name_valid),
    INT(zb_kdataset, newest_guid),
    STRING(zb_kdataset, token, zb_resume_token_valid),
};
static const struct zb_shape dataset_shape = SHAPE(dataset_fields, sizeof(struct zb_kdataset));

static const struct zb_field snap_fields[] = {
    STRING(zb_ksnap, name, zb_snap_name_valid),
    INT(zb_ksnap, guid),
    INT(zb_ksnap, createtxg),
};
static const struct zb_shape snap_shape = SHAPE(snap_fields, sizeof(struct zb_ksnap));

static const struct zb_field kreq_fields[] = {
    INT(zb_kreq, id),
    INT_UPTO(zb_kreq, op, ZB_KOP_LAST),
    INT(zb_kreq, flags),
    INT(zb_kreq, timeout_ms),
    INT(zb_kreq, count),
    INT(zb_kreq, term),
    INT(zb_kreq, seq),
    INT(zb_kreq, base_term),
    INT(zb_kreq, base_seq),
    INT(zb_kreq, time_s),
    INT(zb_kreq, guid),
    INT(zb_kreq, from_guid),
    INT(zb_kreq, nonce),
    INT(zb_kreq, version),
    INT(zb_kreq, target),
    STRING(zb_kreq, service, zb_service_name_valid),
    STRING(zb_kreq, node, zb_node_name_valid),
    STRING(zb_kreq, rel, zb_rel_valid),
    STRING(zb_kreq, uuid, zb_uuid_valid),
    STRING(zb_kreq, snap, zb_snap_name_valid),
    STRING(zb_kreq, from_snap, zb_snap_name_valid),
    STRING(zb_kreq, token, zb_resume_token_valid),
    TEXT(zb_kreq, text, TEXT_MAX),
    MANIFEST(zb_kreq, manifest),
    LINEAGE(zb_kreq, lineage),
    ARRAY(zb_kreq, protect, protect_count, ZB_MEMBERS_MAX + 1, zb_wire_set_id_shape),
};
static const struct zb_shape kreq_shape = SHAPE(kreq_fields, sizeof(struct zb_kreq));

static const struct zb_field krep_fields[] = {
    INT(zb_krep, id),
    INT_UPTO(zb_krep, op, ZB_KOP_LAST),
    INT_UPTO(zb_krep, rc, ZB_E_UNSUPPORTED),
    INT(zb_krep, sys_errno),
    BOOL(zb_krep, more),
    INT(zb_krep, flags),
    BOOL(zb_krep, running),
    BOOL(zb_krep, mounted_here),
    BOOL(zb_krep, sealed),
    BOOL(zb_krep, foreign),
    INT_UPTO(zb_krep, key, ZB_KEY_STATE_LAST),
    INT(zb_krep, count),
    INT(zb_krep, elapsed_ms),
    INT(zb_krep, bytes),
    INT(zb_krep, guid),
    INT(zb_krep, pool_guid),
    INT(zb_krep, nonce),
    STRING(zb_krep, node, zb_node_name_valid),
    STRING(zb_krep, boot_id, zb_uuid_valid),
    STRING(zb_krep, root, zb_dataset_name_valid),
    STRING(zb_krep, msg, NULL),
    STRING(zb_krep, hint, NULL),
    STRUCT(zb_krep, record, record_shape),
    TEXT(zb_krep, text, TEXT_MAX),
    MANIFEST(zb_krep, manifest),
    LIST(zb_krep, datasets, datasets_count, ZB_DATASETS_MAX, dataset_shape),
    LIST(zb_krep, snaps, snaps_count, ZB_SNAPS_MAX, snap_shape),
};
static const struct zb_shape krep_shape = SHAPE(krep_fields, sizeof(struct zb_krep));

static const char *const op_words[] = {
    [ZB_KOP_HELLO] = "hello",
    [ZB_KOP_DEFINE] = "define",
    [ZB_KOP_OBSERVE] = "observe",
    [ZB_KOP_SNAPS] = "snaps",
    [ZB_KOP_CREATE] = "create",
    [ZB_KOP_UNADOPT] = "unadopt",
    [ZB_KOP_SNAPSHOT] = "snapshot",
    [ZB_KOP_SEND] = "send",
    [ZB_KOP_RECEIVE] = "receive",
    [ZB_KOP_CANCEL] = "cancel",
    [ZB_KOP_START] = "start",
    [ZB_KOP_STOP] = "stop",
    [ZB_KOP_CHECK] = "check",
    [ZB_KOP_SEAL] = "seal",
    [ZB_KOP_RELEASE] = "release",
    [ZB_KOP_GRANT] = "grant",
    [ZB_KOP_LEARN] = "learn",
    [ZB_KOP_PROMOTE] = "promote",
    [ZB_KOP_DEMOTE] = "demote",
    [ZB_KOP_PRUNE] = "prune",
    [ZB_KOP_ARRANGE] = "arrange",
    [ZB_KOP_RESCUE] = "rescue",
    [ZB_KOP_RESCUES] = "rescues",
    [ZB_KOP_RESCUE_MOUNT] = "rescue-mount",
    [ZB_KOP_RESCUE_DROP] = "rescue-drop",
    [ZB_KOP_BLOCKERS] = "blockers",
    [ZB_KOP_FENCE] = "fence",
    [ZB_KOP_SETS] = "sets",
    [ZB_KOP_PEEK] = "peek",
    [ZB_KOP_PEEKS] = "peeks",
    [ZB_KOP_PEEK_END] = "peek-end",
    [ZB_KOP_DRILL] = "drill",
    [ZB_KOP_NOTIFY] = "notify",
    [ZB_KOP_VERIFY] = "verify",
    [ZB_KOP_BEAT] = "beat",
    [ZB_KOP_RENEW] = "renew",
    [ZB_KOP_LAPSE] = "lapse",
    [ZB_KOP_LEAVE] = "leave",
    [ZB_KOP_ESTIMATE] = "estimate",
    [ZB_KOP_REKEY] = "rekey",
};

const char *
zb_kop_word(uint32_t op)
{
    return op == 0 || op > ZB_KOP_LAST ? "unknown" : op_words[op];
}

enum zb_rc
zb_kreq_encode(const struct zb_kreq *req, uint8_t *buf, size_t size, size_t *used,
               struct zb_err *err)
{
    enum zb_rc rc = zb_codec_encode(&kreq_shape, req, buf, size, used, err);
    return rc == ZB_OK ? rc : zb_err_wrap(err, "keeper request %s", zb_kop_word(req->op));
}

enum zb_rc
zb_krep_encode(const struct zb_krep *rep, uint8_t *buf, size_t size, size_t *used,
               struct zb_err *err)
{
    enum zb_rc rc = zb_codec_encode(&krep_shape, rep, buf, size, used, err);
    return rc == ZB_OK ? rc : zb_err_wrap(err, "keeper reply %s", zb_kop_word(rep->op));
}

static enum zb_rc
decode(const struct zb_shape *shape, const uint8_t *buf, size_t size, void *out, struct zb_err *err)
{
    if (size > ZB_KMSG_MAX) {
        memset(out, 0, shape->size);
        return zb_err_set(err, ZB_E_LIMIT, "%zu bytes, at most %u (ZB_KMSG_MAX)", size,
                          ZB_KMSG_MAX);
    }
    return zb_codec_decode(shape, buf, size, out, err);
}

/* The envelope both kinds share: an id and a known operation. */
static enum zb_rc
envelope_check(uint64_t id, uint32_t op, struct zb_err *err)
{
    if (id == 0) {
        return zb_err_set(err, ZB_E_FORMAT, "id: is 0");
    }
    if (op == 0) {
        return zb_err_set(err, ZB_E_FORMAT, "op: is 0");
    }
    return ZB_OK;
}

enum zb_rc
zb_kreq_decode(const uint8_t *buf, size_t size, struct zb_kreq *out, struct zb_err *err)
{
    enum zb_rc rc = decode(&kreq_shape, buf, size, out, err);
    if (rc == ZB_OK) {
        rc = envelope_check(out->id, out->op, err);
    }
    if (rc != ZB_OK) {
        zb_kreq_close(out);
        return zb_err_wrap(err, "keeper request");
    }
    return ZB_OK;
}

enum zb_rc
zb_krep_decode(const uint8_t *buf, size_t size, struct zb_krep *out, struct zb_err *err)
{
    enum zb_rc rc = decode(&krep_shape, buf, size, out, err);
    if (rc == ZB_OK) {
        rc = envelope_check(out->id, out->op, err);
    }
    if (rc != ZB_OK) {
        zb_krep_close(out);
        return zb_err_wrap(err, "keeper reply");
    }
    return ZB_OK;
}

void
zb_kreq_close(struct zb_kreq *req)
{
    zb_codec_close(&kreq_shape, req);
}

void
zb_krep_close(struct zb_krep *rep)
{
    zb_codec_close(&krep_shape, rep);
}
