/* base64url: one text per byte string. */
#include "fuzz.h"

#include "net/base64url.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *bytes = malloc(size + 1);
    char *text = malloc(ZB_BASE64URL_LENGTH(size) + 1);
    size_t used = 0;

    assert(bytes != NULL && text != NULL);
    if (zb_base64url_decode((const char *)data, size, bytes, size, &used)) {
        zb_base64url_encode(bytes, used, text);
        assert(strlen(text) == size && memcmp(text, data, size) == 0);
    }
    zb_base64url_encode(data, size, text);
    bool decoded = zb_base64url_decode(text, strlen(text), bytes, size, &used);
    assert(decoded && used == size && memcmp(bytes, data, size) == 0);
    free(text);
    free(bytes);
    return 0;
}
