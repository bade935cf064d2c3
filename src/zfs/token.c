#include "zfs/internal.h"

#include <string.h>
#include <zlib.h>

/* A token holds seven small values; what is longer is not one (the kernel's own bound is that of a
 * property, 8 KiB of text). */
#define COMPRESSED_MAX (4u << 10)
#define PACKED_MAX (16u << 10)

static int
hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* False unless text is whole bytes in hexadecimal and fits. */
static bool
decode_hex(const char *text, uint8_t *out, size_t size, size_t *used)
{
    size_t length = strnlen(text, 2 * size + 1);
    if (length == 0 || length > 2 * size || length % 2 != 0) {
        return false;
    }
    for (size_t i = 0; i < length; i += 2) {
        int high = hex_digit(text[i]);
        int low = hex_digit(text[i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        out[i / 2] = (uint8_t)(high << 4 | low);
    }
    *used = length / 2;
    return true;
}

/* First word of the native fletcher-4 checksum, over little-endian 32-bit words; the rest of a
 * length that is no multiple of four is not summed (as fletcher_4_native_varsize). */
static uint64_t
fletcher4_first(const uint8_t *p, size_t size)
{
    uint64_t a = 0;
    for (size_t i = 0; i + 4 <= size; i += 4) {
        uint32_t word;
        memcpy(&word, p + i, sizeof word);
        a += word;
    }
    return a;
}

/* Up to 16 hexadecimal digits and a dash; returns what is behind it, or NULL. */
static const char *
decode_number(const char *text, uint64_t *number)
{
    size_t digits = 0;
    uint64_t v = 0;
    for (; digits < 16 && hex_digit(text[digits]) >= 0; digits++) {
        v = v << 4 | (uint64_t)hex_digit(text[digits]);
    }
    if (digits == 0 || text[digits] != '-') {
        return NULL;
    }
    *number = v;
    return text + digits + 1;
}

/* Header "1-<checksum>-<packed length>-"; returns where the hexadecimal part starts, or NULL. */
static const char *
decode_header(const char *text, uint64_t *checksum, size_t *packed_size)
{
    uint64_t version;
    uint64_t length;
    const char *p = decode_number(text, &version);
    p = p != NULL ? decode_number(p, checksum) : NULL;
    p = p != NULL ? decode_number(p, &length) : NULL;
    if (p == NULL || version != 1 || length == 0 || length > PACKED_MAX) {
        return NULL;
    }
    *packed_size = (size_t)length;
    return p;
}

/*
 * What is packed is an nvlist in the byte order of this host (nvpair.c, nvs_native_*): a header of
 * four bytes, version and flags, then pairs that begin with their size, a size of 0 at the end. It
 * is read here and not by nvlist_unpack, which does not look for the end of a string and reads past
 * the memory of a token that somebody made up.
 */
#define LIST_HEADER_SIZE 12
#define PAIR_ALIGN 8
#define NAME_AT 16 /* in a pair, behind its size, name length, element count and type */

enum { PAIR_BOOLEAN = 1, PAIR_UINT64 = 8, PAIR_STRING = 9, PAIR_UINT64_ARRAY = 16 };

struct pair {
    const char *name;
    uint32_t type;
    const uint8_t *value;
    size_t value_size;
};

static uint32_t
native32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint64_t
native64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static bool
value_valid(const struct pair *pair)
{
    switch (pair->type) {
    case PAIR_BOOLEAN:
        return pair->value_size == 0;
    case PAIR_UINT64:
        return pair->value_size == sizeof(uint64_t);
    case PAIR_STRING:
        return memchr(pair->value, '\0', pair->value_size) != NULL;
    default:
        return pair->type == PAIR_UINT64_ARRAY;
    }
}

/* The pair of size bytes at p. False unless everything of it lies inside. */
static bool
pair_read(const uint8_t *p, size_t size, struct pair *pair)
{
    if (size < NAME_AT) {
        return false;
    }
    uint16_t name_size;
    memcpy(&name_size, p + sizeof(uint32_t), sizeof name_size);
    size_t value_at = (NAME_AT + (size_t)name_size + PAIR_ALIGN - 1) / PAIR_ALIGN * PAIR_ALIGN;
    if (name_size == 0 || value_at > size || p[NAME_AT + name_size - 1] != '\0') {
        return false;
    }
    *pair = (struct pair){.name = (const char *)p + NAME_AT,
                          .type = native32(p + NAME_AT - sizeof(uint32_t)),
                          .value = p + value_at,
                          .value_size = size - value_at};
    return value_valid(pair);
}

/* The fields that every token has. */
enum { HAS_TOGUID = 1, HAS_OBJECT = 2, HAS_OFFSET = 4, HAS_TONAME = 8, HAS_ALL = 15 };

/* False when a name that does not fit is given. Fields that are not asked for are passed over. */
static bool
pair_take(const struct pair *pair, struct zb_zfs_token *token, unsigned *has)
{
    const struct {
        const char *name;
        uint64_t *to;
        unsigned bit;
    } numbers[] = {{"toguid", &token->toguid, HAS_TOGUID},
                   {"object", &token->object, HAS_OBJECT},
                   {"offset", &token->offset, HAS_OFFSET},
                   {"fromguid", &token->fromguid, 0},
                   {"bytes", &token->bytes, 0}};

    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (pair->type == PAIR_UINT64 && strcmp(pair->name, numbers[i].name) == 0) {
            *numbers[i].to = native64(pair->value);
            *has |= numbers[i].bit;
        }
    }
    if (pair->type == PAIR_STRING && strcmp(pair->name, "toname") == 0) {
        const char *toname = (const char *)pair->value;
        if (strlen(toname) >= sizeof token->toname) {
            return false;
        }
        zb_strcopy(token->toname, sizeof token->toname, toname);
        *has |= HAS_TONAME;
    }
    token->raw = token->raw || strcmp(pair->name, "rawok") == 0;
    return true;
}

static bool
read_fields(const uint8_t *packed, size_t size, struct zb_zfs_token *token)
{
    static const uint16_t one = 1;
    uint8_t little;
    struct zb_zfs_token t = {0};
    struct pair pair;
    unsigned has = 0;

    memcpy(&little, &one, sizeof little);
    if (size < LIST_HEADER_SIZE || packed[0] != 0 || packed[1] != little) {
        return false;
    }
    for (size_t at = LIST_HEADER_SIZE; size - at >= sizeof(uint32_t);) {
        uint32_t pair_size = native32(packed + at);
        if (pair_size == 0) {
            *token = t;
            return has == HAS_ALL;
        }
        if (pair_size > size - at || !pair_read(packed + at, pair_size, &pair) ||
            !pair_take(&pair, &t, &has)) {
            return false;
        }
        at += pair_size;
    }
    return false;
}

enum zb_rc
zb_zfs_token_decode(const char *text, struct zb_zfs_token *token, struct zb_err *err)
{
    uint8_t compressed[COMPRESSED_MAX];
    uint8_t packed[PACKED_MAX];
    size_t compressed_size = 0;
    size_t packed_size = 0;
    uint64_t checksum = 0;

    const char *hex = decode_header(text, &checksum, &packed_size);
    if (hex == NULL || !decode_hex(hex, compressed, sizeof compressed, &compressed_size)) {
        return zb_err_set(err, ZB_E_FORMAT, "the resume token is malformed");
    }
    if (fletcher4_first(compressed, compressed_size) != checksum) {
        return zb_err_set(err, ZB_E_FORMAT, "the resume token's checksum does not match");
    }
    uLongf inflated = packed_size;
    if (uncompress(packed, &inflated, compressed, compressed_size) != Z_OK ||
        inflated != packed_size) {
        return zb_err_set(err, ZB_E_FORMAT, "the resume token does not decompress");
    }
    bool ok = read_fields(packed, packed_size, token);
    return ok ? ZB_OK : zb_err_set(err, ZB_E_FORMAT, "the resume token lacks a field");
}
