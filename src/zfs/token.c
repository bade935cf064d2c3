#include "zfs/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
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

/* Header "1-<checksum>-<packed length>-"; returns where the hexadecimal part starts, or NULL. */
static const char *
decode_header(const char *text, uint64_t *checksum, size_t *packed_size)
{
    unsigned version = 0;
    unsigned long long sum = 0;
    unsigned long long length = 0;
    int used = 0;
    if (sscanf(text, "%1u-%16llx-%8llx-%n", &version, &sum, &length, &used) != 3 || used == 0 ||
        version != 1 || length == 0 || length > PACKED_MAX) {
        return NULL;
    }
    *checksum = sum;
    *packed_size = (size_t)length;
    return text + used;
}

static bool
read_fields(nvlist_t *nvl, struct zb_zfs_token *token)
{
    struct zb_zfs_token t = {0};
    const char *toname;

    if (nvlist_lookup_uint64(nvl, "toguid", &t.toguid) != 0 ||
        nvlist_lookup_uint64(nvl, "object", &t.object) != 0 ||
        nvlist_lookup_uint64(nvl, "offset", &t.offset) != 0 ||
        nvlist_lookup_string(nvl, "toname", &toname) != 0 || strlen(toname) >= sizeof t.toname) {
        return false;
    }
    zb_strcopy(t.toname, sizeof t.toname, toname);
    (void)nvlist_lookup_uint64(nvl, "fromguid", &t.fromguid);
    (void)nvlist_lookup_uint64(nvl, "bytes", &t.bytes);
    t.raw = nvlist_exists(nvl, "rawok");
    *token = t;
    return true;
}

enum zb_rc
zb_zfs_token_decode(const char *text, struct zb_zfs_token *token, struct zb_err *err)
{
    uint8_t compressed[COMPRESSED_MAX];
    uint8_t packed[PACKED_MAX];
    size_t compressed_size = 0;
    size_t packed_size = 0;
    uint64_t checksum = 0;
    nvlist_t *nvl = NULL;

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
    bool ok = nvlist_unpack((char *)packed, packed_size, &nvl, 0) == 0 && read_fields(nvl, token);
    fnvlist_free(nvl);
    return ok ? ZB_OK : zb_err_set(err, ZB_E_FORMAT, "the resume token lacks a field");
}
