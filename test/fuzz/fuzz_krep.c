/* Replies of the keeper, as the engine decodes them. */
#include "fuzz.h"

#include "wire/kmsg.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t again[ZB_KMSG_MAX];
    struct zb_krep msg;
    struct zb_err err;
    size_t used = 0;

    if (zb_krep_decode(data, size, &msg, &err) != ZB_OK) {
        return 0;
    }
    assert(msg.id != 0 && msg.op != 0 && msg.op <= ZB_KOP_LAST);
    enum zb_rc rc = zb_krep_encode(&msg, again, sizeof again, &used, &err);
    assert(rc == ZB_OK && used == size && memcmp(again, data, size) == 0);
    zb_krep_close(&msg);
    return 0;
}
