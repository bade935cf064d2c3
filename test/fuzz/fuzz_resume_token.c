/*
 * Resume tokens, which the engine gives to the keeper. An input that begins with '1' is a token,
 * one with 'f' the fields of a token that libnvpair packs; any other is what a token holds packed.
 * Compressed and summed it is here: no mutation would do that.
 */
#include "fuzz.h"

#include <inttypes.h>
#include <libnvpair.h>
#include <stdio.h>
#include <zlib.h>

#include "zfs/zfs.h"

#define HEADER_SIZE 64

static void
decode(const char *text)
{
    struct zb_zfs_token token;
    struct zb_err err;

    if (zb_zfs_token_decode(text, &token, &err) == ZB_OK) {
        assert(memchr(token.toname, '\0', sizeof token.toname) != NULL);
    }
}

static uint64_t
checksum(const uint8_t *bytes, size_t size)
{
    uint64_t sum = 0;

    for (size_t i = 0; i + 4 <= size; i += 4) {
        uint32_t word;
        memcpy(&word, bytes + i, sizeof word);
        sum += word;
    }
    return sum;
}

/* The token of these packed bytes, for free(). */
static char *
token_make(const uint8_t *packed, size_t size)
{
    uLongf compressed_size = compressBound(size);
    uint8_t *compressed = malloc(compressed_size);
    char *text = malloc(HEADER_SIZE + 2 * compressed_size + 1);

    assert(compressed != NULL && text != NULL);
    int rc = compress(compressed, &compressed_size, packed, size);
    assert(rc == Z_OK);
    int used = snprintf(text, HEADER_SIZE, "1-%" PRIx64 "-%zx-",
                        checksum(compressed, compressed_size), size);
    for (size_t i = 0; i < compressed_size; i++) {
        (void)snprintf(text + used + 2 * i, 3, "%02x", compressed[i]);
    }
    free(compressed);
    return text;
}

/* Five numbers, a byte of flags, and the name. */
struct fields {
    uint64_t numbers[5];
    uint8_t flags;
};
enum { WITH_FROM = 1, RAW = 2, REDACTED = 4, NAME_FIRST = 8 };

static char *
fields_pack(const struct fields *f, const char *toname)
{
    static const char *const names[] = {"toguid", "object", "offset", "bytes", "fromguid"};
    nvlist_t *list = fnvlist_alloc();
    size_t size = 0;

    if ((f->flags & NAME_FIRST) != 0) {
        fnvlist_add_string(list, "toname", toname);
    }
    for (size_t i = 0; i < 4 + (size_t)((f->flags & WITH_FROM) != 0); i++) {
        fnvlist_add_uint64(list, names[i], f->numbers[i]);
    }
    if ((f->flags & REDACTED) != 0) {
        fnvlist_add_uint64_array(list, "redact_snaps", (uint64_t *)(uintptr_t)f->numbers, 3);
    }
    if ((f->flags & RAW) != 0) {
        fnvlist_add_boolean(list, "rawok");
    }
    if ((f->flags & NAME_FIRST) == 0) {
        fnvlist_add_string(list, "toname", toname);
    }
    char *packed = fnvlist_pack(list, &size);
    char *text = token_make((const uint8_t *)packed, size);
    fnvlist_pack_free(packed, size);
    fnvlist_free(list);
    return text;
}

/* What libnvpair has packed is what is read. */
static void
fields_check(const struct fields *f, const char *toname)
{
    struct zb_zfs_token token;
    struct zb_err err;
    char *text = fields_pack(f, toname);
    bool fits = strlen(toname) < sizeof token.toname;

    enum zb_rc rc = zb_zfs_token_decode(text, &token, &err);
    assert(rc == (fits ? ZB_OK : ZB_E_FORMAT));
    if (fits) {
        assert(token.toguid == f->numbers[0] && token.object == f->numbers[1]);
        assert(token.offset == f->numbers[2] && token.bytes == f->numbers[3]);
        assert(token.fromguid == ((f->flags & WITH_FROM) != 0 ? f->numbers[4] : 0));
        assert(token.raw == ((f->flags & RAW) != 0));
        assert(strcmp(token.toname, toname) == 0);
    }
    free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fields f;

    if (size > sizeof f && data[0] == 'f') {
        memcpy(f.numbers, data + 1, sizeof f.numbers);
        f.flags = data[1 + sizeof f.numbers];
        char *toname = fuzz_text(data + 2 + sizeof f.numbers, size - 2 - sizeof f.numbers);
        fields_check(&f, toname);
        free(toname);
        return 0;
    }
    char *text = size > 0 && data[0] == '1' ? fuzz_text(data, size) : token_make(data, size);

    decode(text);
    free(text);
    return 0;
}
