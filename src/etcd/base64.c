#include "etcd/base64.h"

#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void
zb_base64_encode(const void *bytes, size_t size, char *text)
{
    const uint8_t *from = bytes;

    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t bits = (uint32_t)from[i] << 16;
        if (left > 1) {
            bits |= (uint32_t)from[i + 1] << 8;
        }
        if (left > 2) {
            bits |= from[i + 2];
        }
        *text++ = alphabet[bits >> 18 & 63];
        *text++ = alphabet[bits >> 12 & 63];
        *text++ = left > 1 ? alphabet[bits >> 6 & 63] : '=';
        *text++ = left > 2 ? alphabet[bits & 63] : '=';
    }
    *text = '\0';
}

bool
zb_base64_decode(const char *text, size_t length, char *bytes, size_t *used)
{
    uint32_t bits = 0;
    unsigned count = 0;
    size_t filled = 0;
    size_t padding = 0;

    if (length % 4 != 0) {
        return false;
    }
    while (padding < 2 && padding < length && text[length - 1 - padding] == '=') {
        padding++;
    }
    for (size_t i = 0; i < length - padding; i++) {
        const char *at = text[i] != '\0' ? strchr(alphabet, text[i]) : NULL;
        if (at == NULL) {
            return false;
        }
        bits = bits << 6 | (uint32_t)(at - alphabet);
        count += 6;
        if (count >= 8) {
            count -= 8;
            bytes[filled++] = (char)(uint8_t)(bits >> count);
        }
    }
    if ((bits & ((1u << count) - 1)) != 0) {
        return false;
    }
    *used = filled;
    return true;
}
