#include <inttypes.h>
#include <stdio.h>

#include "agent/cert.h"

#define DAY_S 86400

bool
zb_cert_say(struct zb_wall ends, struct zb_wall now, char *text)
{
    int64_t left_s = ends.s - now.s;
    char when[24];

    if (ends.s == 0 || left_s >= ZB_CERT_WARN_S) {
        return false;
    }
    zb_wall_format(ends, when);
    if (left_s <= 0) {
        (void)snprintf(text, ZB_CERT_SAY_SIZE, "its certificate has ended %s", when);
    } else {
        (void)snprintf(text, ZB_CERT_SAY_SIZE, "its certificate ends %s, in %" PRId64 " days", when,
                       left_s / DAY_S);
    }
    return true;
}
