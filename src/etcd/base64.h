/*
 * base64 with padding (RFC 4648 section 4). Strict: one text per byte string.
 */
#ifndef ZB_ETCD_BASE64_H
#define ZB_ETCD_BASE64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Characters for size bytes, without NUL. */
#define ZB_BASE64_LENGTH(size) (((size) + 2) / 3 * 4)
/* No more bytes than these are in length characters. */
#define ZB_BASE64_SIZE(length) ((length) / 4 * 3)

/* text of ZB_BASE64_LENGTH(size) + 1. */
void zb_base64_encode(const void *bytes, size_t size, char *text);
/* Decodes length characters into bytes of ZB_BASE64_SIZE(length); *used is how many. False for
 * other characters, an impossible length or left-over bits that are not zero. */
bool zb_base64_decode(const char *text, size_t length, char *bytes, size_t *used);

#endif
