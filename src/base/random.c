#include "base/types.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

void
zb_random(void *buf, size_t size)
{
    uint8_t *p = buf;

    while (size > 0) {
        ssize_t got = getrandom(p, size, 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            abort();
        }
        p += got;
        size -= (size_t)got;
    }
}

uint64_t
zb_random_u64(void)
{
    uint64_t v = 0;
    while (v == 0) {
        zb_random(&v, sizeof v);
    }
    return v;
}

void
zb_uuid_new(char *buf)
{
    uint8_t b[16];

    zb_random(b, sizeof b);
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40); /* version 4, RFC 9562 section 5.4 */
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80); /* variant 10 */
    (void)snprintf(buf, ZB_UUID_SIZE,
                   "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
                   b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
                   b[14], b[15]);
}
