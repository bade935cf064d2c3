#include "keeper/record.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define HEAD "zbaton-record 2\n"
#define CHECKSUM "sha256 "
#define HEX_SIZE 65
#define CHECKSUM_LINE_SIZE (sizeof(CHECKSUM) - 1 + HEX_SIZE) /* with its newline */

enum kind { U64, NODE, UUID, SET, SUSPECTS, LINEAGE };

/* The file's lines after the head, in their order: "<name> <value>". */
static const struct {
    const char *name;
    enum kind kind;
    size_t offset;
} fields[] = {
#define FIELD(name, kind, member)                                                                  \
    {                                                                                              \
        name, kind, offsetof(struct zb_keeper_record, member)                                      \
    }
    FIELD("granted-term", U64, rec.granted_term),
    FIELD("granted-to", NODE, rec.granted_to),
    FIELD("granted-version", U64, granted_version),
    FIELD("granted-nonce", U64, granted_nonce),
    FIELD("learned-term", U64, rec.learned_term),
    FIELD("learned-leader", NODE, rec.learned_leader),
    FIELD("established-term", U64, rec.established_term),
    FIELD("established-boot", UUID, established_boot),
    FIELD("pool-guid", U64, pool_guid),
    FIELD("released-term", U64, rec.released_term),
    FIELD("released-to", NODE, rec.released_to),
    FIELD("released-set", SET, rec.released_set),
    FIELD("suspects", SUSPECTS, rec.suspects),
    FIELD("version", U64, rec.version),
    FIELD("lineage", LINEAGE, rec.lineage),
#undef FIELD
};
#define FIELDS_COUNT (sizeof(fields) / sizeof(fields[0]))

static void
checksum_compute(const char *text, size_t size, char *hex)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned digest_size = 0;

    if (EVP_Digest(text, size, digest, &digest_size, EVP_sha256(), NULL) != 1) {
        zb_out_of_memory();
    }
    for (unsigned i = 0; i < 32; i++) {
        (void)snprintf(hex + (size_t)i * 2, 3, "%02x", digest[i]);
    }
}

static void
append(char *buf, size_t *used, const char *text)
{
    zb_strcopy(buf + *used, ZB_KEEPER_RECORD_MAX - *used, text);
    *used += strlen(text);
}

static void
set_format(const struct zb_set_ref *ref, char *out, size_t size)
{
    int n = snprintf(out, size, "%" PRIu64 "/%" PRIu64 "/", ref->id.term, ref->id.seq);

    for (size_t i = 0; i < ZB_DIGEST_SIZE; i++) {
        (void)snprintf(out + n + i * 2, size - (size_t)n - i * 2, "%02x", ref->digest[i]);
    }
}

static void
suspects_format(const char *suspects, char *buf, size_t *used)
{
    bool any = false;

    for (size_t i = 0; i < ZB_MEMBERS_MAX + 1; i++, suspects += ZB_NODE_NAME_SIZE) {
        if (suspects[0] != '\0') {
            append(buf, used, any ? "," : "");
            append(buf, used, suspects);
            any = true;
        }
    }
    append(buf, used, any ? "" : "-");
}

/* "<term>:<fork's term>/<seq>" with a comma between two. */
static void
lineage_format(const struct zb_lineage *l, char *buf, size_t *used)
{
    char line[80];

    for (uint32_t i = 0; i < l->count; i++) {
        const struct zb_line *at = &l->lines[i];
        (void)snprintf(line, sizeof(line), "%s%" PRIu64 ":%" PRIu64 "/%" PRIu64, i > 0 ? "," : "",
                       at->term, at->fork.term, at->fork.seq);
        append(buf, used, line);
    }
    append(buf, used, l->count > 0 ? "" : "-");
}

void
zb_keeper_record_format(const char *service, const struct zb_keeper_record *r, char *buf,
                        size_t *used)
{
    char value[128];
    char hex[HEX_SIZE];

    *used = 0;
    append(buf, used, HEAD "service ");
    append(buf, used, service);
    append(buf, used, "\n");
    for (size_t i = 0; i < FIELDS_COUNT; i++) {
        const void *p = (const char *)r + fields[i].offset;
        value[0] = '\0';
        append(buf, used, fields[i].name);
        append(buf, used, " ");
        switch (fields[i].kind) {
        case U64:
            (void)snprintf(value, sizeof(value), "%" PRIu64, *(const uint64_t *)p);
            break;
        case NODE:
        case UUID:
            zb_strcopy(value, sizeof(value), *(const char *)p != '\0' ? p : "-");
            break;
        case SET:
            set_format(p, value, sizeof(value));
            break;
        case SUSPECTS:
            suspects_format(p, buf, used);
            break;
        case LINEAGE:
            lineage_format(p, buf, used);
            break;
        }
        append(buf, used, value);
        append(buf, used, "\n");
    }
    checksum_compute(buf, *used, hex);
    append(buf, used, CHECKSUM);
    append(buf, used, hex);
    append(buf, used, "\n");
}

/* Canonical decimal only, so that parsing and formatting are each other's reverse. */
static bool
u64_parse(const char *text, uint64_t *out)
{
    char again[24];
    char *end;
    uint64_t v = strtoull(text, &end, 10);

    (void)snprintf(again, sizeof(again), "%" PRIu64, v);
    *out = v;
    return *end == '\0' && strcmp(again, text) == 0;
}

/* 0 for what is no digit: what was read is written again and compared. */
static uint8_t
hex_value(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = memchr(digits, c, sizeof(digits) - 1);

    return at != NULL ? (uint8_t)(at - digits) : 0;
}

static bool
set_parse(const char *text, struct zb_set_ref *ref)
{
    char again[128];
    char *end;

    ref->id.term = strtoull(text, &end, 10);
    if (*end != '/') {
        return false;
    }
    ref->id.seq = strtoull(end + 1, &end, 10);
    if (*end != '/' || strlen(end + 1) != (size_t)ZB_DIGEST_SIZE * 2) {
        return false;
    }
    for (size_t i = 0; i < ZB_DIGEST_SIZE; i++) {
        ref->digest[i] = (uint8_t)(hex_value(end[1 + i * 2]) << 4 | hex_value(end[2 + i * 2]));
    }
    set_format(ref, again, sizeof(again));
    return strcmp(again, text) == 0;
}

/* Names with one comma between two, none empty. */
static bool
suspects_parse(const char *text, char (*suspects)[ZB_NODE_NAME_SIZE])
{
    if (strcmp(text, "-") == 0) {
        return true;
    }
    for (size_t i = 0; i < ZB_MEMBERS_MAX + 1; i++) {
        size_t length = strcspn(text, ",");
        if (length >= ZB_NODE_NAME_SIZE) {
            return false;
        }
        memcpy(suspects[i], text, length);
        suspects[i][length] = '\0';
        if (!zb_node_name_valid(suspects[i])) {
            return false;
        }
        if (text[length] == '\0') {
            return true;
        }
        text += length + 1;
    }
    return false;
}

static bool
lineage_parse(const char *text, struct zb_lineage *l)
{
    char again[ZB_KEEPER_RECORD_MAX];
    size_t used = 0;
    const char *at = text;

    for (l->count = 0; strcmp(text, "-") != 0 && l->count < ZB_LINEAGE_MAX; at++) {
        struct zb_line *line = &l->lines[l->count++];
        char *end;
        line->term = strtoull(at, &end, 10);
        line->fork.term = *end == ':' ? strtoull(end + 1, &end, 10) : 0;
        line->fork.seq = *end == '/' ? strtoull(end + 1, &end, 10) : 0;
        at = end;
        if (*at != ',') {
            break;
        }
    }
    lineage_format(l, again, &used); /* canonical, and nothing behind it */
    return strcmp(again, text) == 0 && zb_lineage_valid(l);
}

static bool
value_parse(enum kind kind, const char *text, void *p)
{
    switch (kind) {
    case U64:
        return u64_parse(text, p);
    case SET:
        return set_parse(text, p);
    case SUSPECTS:
        return suspects_parse(text, p);
    case LINEAGE:
        return lineage_parse(text, p);
    case NODE:
    case UUID:
        if (strcmp(text, "-") == 0) {
            return true;
        }
        if (kind == NODE ? !zb_node_name_valid(text) : !zb_uuid_valid(text)) {
            return false;
        }
        zb_strcopy(p, kind == NODE ? ZB_NODE_NAME_SIZE : ZB_UUID_SIZE, text);
        return true;
    }
    return false;
}

/* Takes the line "<name> <value>\n" at *cursor; value is then a string of its own. */
static char *
line_take(char **cursor, const char *name)
{
    size_t n = strlen(name);
    char *line = *cursor;
    char *end = strchr(line, '\n');

    if (end == NULL || strncmp(line, name, n) != 0 || line[n] != ' ') {
        return NULL;
    }
    *end = '\0';
    *cursor = end + 1;
    return line + n + 1;
}

static enum zb_rc
checksum_check(const char *text, size_t size, struct zb_err *err)
{
    size_t tail = CHECKSUM_LINE_SIZE;
    char hex[HEX_SIZE];

    if (size >= ZB_KEEPER_RECORD_MAX || size < strlen(HEAD) + tail || memchr(text, 0, size) ||
        strncmp(text, HEAD, strlen(HEAD)) != 0) {
        return zb_err_set(err, ZB_E_FORMAT, "it is not a record of this version");
    }
    checksum_compute(text, size - tail, hex);
    if (strncmp(text + size - tail, CHECKSUM, strlen(CHECKSUM)) != 0 ||
        strncmp(text + size - tail + strlen(CHECKSUM), hex, HEX_SIZE - 1) != 0 ||
        text[size - 1] != '\n') {
        return zb_err_set(err, ZB_E_FORMAT, "its checksum is wrong");
    }
    return ZB_OK;
}

enum zb_rc
zb_keeper_record_parse(const char *service, const char *text, size_t size,
                       struct zb_keeper_record *r, struct zb_err *err)
{
    char copy[ZB_KEEPER_RECORD_MAX];
    struct zb_keeper_record out = {0};
    char *cursor = copy + strlen(HEAD);
    const char *name;
    enum zb_rc rc = checksum_check(text, size, err);

    if (rc != ZB_OK) {
        return rc;
    }
    memcpy(copy, text, size);
    copy[size] = '\0';
    name = line_take(&cursor, "service");
    if (name == NULL || strcmp(name, service) != 0) {
        return zb_err_set(err, ZB_E_FORMAT, "it is another service's");
    }
    for (size_t i = 0; i < FIELDS_COUNT; i++) {
        char *value = line_take(&cursor, fields[i].name);
        if (value == NULL || !value_parse(fields[i].kind, value, (char *)&out + fields[i].offset)) {
            return zb_err_set(err, ZB_E_FORMAT, "its line '%s' is wrong", fields[i].name);
        }
    }
    if (cursor != copy + size - CHECKSUM_LINE_SIZE) {
        return zb_err_set(err, ZB_E_FORMAT, "it has lines too many");
    }
    *r = out;
    return ZB_OK;
}

enum zb_rc
zb_keeper_record_store(int dir_fd, const char *service, const struct zb_keeper_record *r,
                       bool *in_doubt, struct zb_err *err)
{
    char text[ZB_KEEPER_RECORD_MAX];
    char name[ZB_SERVICE_NAME_SIZE + 16];
    size_t size;

    zb_keeper_record_format(service, r, text, &size);
    (void)snprintf(name, sizeof(name), "%s.record", service);
    return zb_keeper_file_store(dir_fd, name, text, size, in_doubt, err);
}

enum zb_rc
zb_keeper_record_load(int dir_fd, const char *service, struct zb_keeper_record *r,
                      struct zb_err *err)
{
    char name[ZB_SERVICE_NAME_SIZE + 16];
    char *text = NULL;
    size_t size;
    enum zb_rc rc;

    (void)snprintf(name, sizeof(name), "%s.record", service);
    rc = zb_keeper_file_load(dir_fd, name, ZB_KEEPER_RECORD_MAX - 1, &text, &size, err);
    if (rc == ZB_OK) {
        rc = zb_keeper_record_parse(service, text, size, r, err);
    } else if (rc == ZB_E_LIMIT) {
        rc = zb_err_set(err, ZB_E_FORMAT, "it is too long");
    }
    free(text);
    return rc == ZB_OK ? rc : zb_err_wrap(err, "record file %s", name);
}
