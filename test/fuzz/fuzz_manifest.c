/* Manifests as bytes, as they stand in the history. */
#include "fuzz.h"

#include "wire/manifest.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t again[ZB_WIRE_MANIFEST_MAX];
    struct zb_manifest manifest;
    struct zb_manifest copy;
    struct zb_set_ref ref;
    struct zb_set_ref copy_ref;
    struct zb_err err;
    size_t used = 0;

    if (zb_wire_manifest_decode(data, size, &manifest, &err) != ZB_OK) {
        return 0;
    }
    enum zb_rc rc = zb_wire_manifest_encode(&manifest, again, sizeof again, &used, &err);
    assert(rc == ZB_OK && used == size && memcmp(again, data, size) == 0);
    rc = zb_manifest_copy(&copy, &manifest, &err);
    assert(rc == ZB_OK);
    zb_manifest_sort(&copy);
    zb_manifest_ref(&manifest, &ref);
    zb_manifest_ref(&copy, &copy_ref);
    assert(zb_set_ref_equal(&ref, &copy_ref));
    zb_manifest_close(&copy);
    zb_manifest_close(&manifest);
    return 0;
}
