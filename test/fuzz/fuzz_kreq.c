/* Requests of the engine, as the keeper decodes them. */
#include "fuzz.h"

#include "wire/kmsg.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t again[ZB_KMSG_MAX];
    struct zb_kreq msg;
    struct zb_err err;
    size_t used = 0;

    if (zb_kreq_decode(data, size, &msg, &err) != ZB_OK) {
        return 0;
    }
    assert(msg.id != 0 && msg.op != 0 && msg.op <= ZB_KOP_LAST);
    enum zb_rc rc = zb_kreq_encode(&msg, again, sizeof again, &used, &err);
    assert(rc == ZB_OK && used == size && memcmp(again, data, size) == 0);
    zb_kreq_close(&msg);
    return 0;
}
