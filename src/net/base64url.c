#include "net/base64url.h"

#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void
zb_base64url_encode(const uint8_t *bytes, size_t size, char *text)
{
    uint32_t bits = 0;
    unsigned count = 0;

    for (size_t i = 0; i < size; i++) {
        bits = bits << 8 | bytes[i];
        for (count += 8; count >= 6; count -= 6) {
            *text++ = alphabet[bits >> (count - 6) & 63];
        }
    }
    if (count > 0) {
        *text++ = alphabet[bits << (6 - count) & 63];
    }
    *text = '\0';
}

bool
zb_base64url_decode(const char *text, size_t length, uint8_t *bytes, size_t size, size_t *used)
{
    uint32_t bits = 0;
    unsigned count = 0;
    size_t filled = 0;

    for (size_t i = 0; i < length; i++) {
        const char *at = text[i] != '\0' ? strchr(alphabet, text[i]) : NULL;
        if (at == NULL) {
            return false;
        }
        bits = bits << 6 | (uint32_t)(at - alphabet);
        count += 6;
        if (count >= 8) {
            if (filled == size) {
                return false;
            }
            count -= 8;
            bytes[filled++] = (uint8_t)(bits >> count);
        }
    }
    if (count >= 6 || (bits & ((1u << count) - 1)) != 0) {
        return false;
    }
    *used = filled;
    return true;
}
