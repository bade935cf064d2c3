/*
 * Resume tokens, which the engine gives to the keeper. An input that begins with '1' is a token;
 * any other is what a token holds, and is compressed and summed here: no mutation would do that.
 */
#include "fuzz.h"

#include <inttypes.h>
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

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = size > 0 && data[0] == '1' ? fuzz_text(data, size) : token_make(data, size);

    decode(text);
    free(text);
    return 0;
}
