/*
 * Big-endian integers in byte buffers: the byte order of everything zbaton writes.
 */
#ifndef ZB_BASE_BE_H
#define ZB_BASE_BE_H

#include <stdint.h>

static inline void
zb_be32_put(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

static inline void
zb_be64_put(uint8_t *p, uint64_t v)
{
    zb_be32_put(p, (uint32_t)(v >> 32));
    zb_be32_put(p + 4, (uint32_t)v);
}

static inline uint32_t
zb_be32_get(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t
zb_be64_get(const uint8_t *p)
{
    return (uint64_t)zb_be32_get(p) << 32 | zb_be32_get(p + 4);
}

#endif
