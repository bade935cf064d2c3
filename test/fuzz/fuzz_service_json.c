/* A service's declaration as JSON, as the keeper gets it from the engine. */
#include "fuzz.h"

#include "conf/service.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct zb_conf_service service;
    struct zb_conf_service again;
    struct zb_err err;
    char *text = fuzz_text(data, size);
    char *json = NULL;

    if (zb_conf_service_from_json(text, &service, &err) == ZB_OK) {
        enum zb_rc rc = zb_conf_service_to_json(&service, &json, &err);
        assert(rc == ZB_OK);
        rc = zb_conf_service_from_json(json, &again, &err);
        assert(rc == ZB_OK && memcmp(&again, &service, sizeof again) == 0);
        free(json);
    }
    free(text);
    return 0;
}
