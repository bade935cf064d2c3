/* A version of the cluster's configuration, as a peer tells it. */
#include "fuzz.h"

#include "agent/config_doc.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct zb_config_doc doc = {0};
    struct zb_config_doc copy = {0};
    struct zb_err err;
    char hash[ZB_CONFIG_HASH_SIZE];
    char *text = fuzz_text(data, size);
    char *again = NULL;

    if (zb_config_doc_parse(text, &doc, &err) == ZB_OK) {
        enum zb_rc rc = zb_config_doc_copy(&copy, &doc, &err);
        assert(rc == ZB_OK);
        rc = zb_config_doc_format(&copy, &again, hash, &err);
        assert(rc == ZB_OK && strcmp(again, text) == 0);
        free(again);
        zb_config_doc_close(&copy);
        zb_config_doc_close(&doc);
    }
    free(text);
    return 0;
}
