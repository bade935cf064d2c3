/*
 * The keeper's record file. The input is what stands before the checksum, which is made here: no
 * mutation would find it. As it is it is tried too.
 */
#include "fuzz.h"

#include <openssl/evp.h>
#include <stdio.h>

#include "keeper/record.h"

static const char service[] = "web";

/* What parses is exactly what is written for it. */
static void
parse(const char *text, size_t size)
{
    struct zb_keeper_record record;
    struct zb_err err;
    char again[ZB_KEEPER_RECORD_MAX];
    size_t used = 0;

    if (zb_keeper_record_parse(service, text, size, &record, &err) != ZB_OK) {
        return;
    }
    zb_keeper_record_format(service, &record, again, &used);
    assert(used == size && memcmp(again, text, size) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned digest_size = 0;
    static const char key[] = "sha256 ";
    size_t total = size + sizeof key - 1 + 65;
    char *text = malloc(total + 1);

    parse((const char *)data, size);
    int done = EVP_Digest(data, size, digest, &digest_size, EVP_sha256(), NULL);
    assert(done == 1 && digest_size == 32 && text != NULL);
    memcpy(text, data, size);
    memcpy(text + size, key, sizeof key - 1);
    for (unsigned i = 0; i < digest_size; i++) {
        (void)snprintf(text + size + sizeof key - 1 + (size_t)i * 2, 3, "%02x", digest[i]);
    }
    text[total - 1] = '\n';
    parse(text, total);
    free(text);
    return 0;
}
