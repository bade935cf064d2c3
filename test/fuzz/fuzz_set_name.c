/* Names of snapshots, which any tool may have made: one name per set. */
#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct zb_set_id id;
    struct zb_wall time;
    char again[ZB_SNAP_NAME_SIZE];
    char *name = fuzz_text(data, size);

    if (zb_set_name_parse(name, &id, &time)) {
        assert(zb_snap_name_valid(name));
        zb_set_name_format(id, time, again);
        assert(strcmp(again, name) == 0);
    }
    free(name);
    return 0;
}
