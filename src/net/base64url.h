/*
 * base64url without padding (RFC 4648 section 5). Strict: one text per byte string.
 */
#ifndef ZB_NET_BASE64URL_H
#define ZB_NET_BASE64URL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Characters for size bytes, without NUL. */
#define ZB_BASE64URL_LENGTH(size) (((size)*4 + 2) / 3)

/* text of ZB_BASE64URL_LENGTH(size) + 1. */
void zb_base64url_encode(const uint8_t *bytes, size_t size, char *text);
/* Decodes length characters into bytes of size; *used is how many. False for other characters,
 * left-over bits that are not zero, an impossible length or more than size bytes. */
bool zb_base64url_decode(const char *text, size_t length, uint8_t *bytes, size_t size,
                         size_t *used);

#endif
