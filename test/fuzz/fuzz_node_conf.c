/* A node's configuration file. */
#include "fuzz.h"

#include <stdio.h>

#include "conf/node.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct zb_conf_node conf;
    struct zb_conf_node again;
    struct zb_err err;
    char *text = fuzz_text(data, size);

    if (zb_conf_node_parse(text, "zbatond.conf", &conf, &err) == ZB_OK) {
        char *printed = NULL;
        size_t printed_size = 0;
        FILE *file = open_memstream(&printed, &printed_size);
        assert(file != NULL);
        zb_conf_node_print(&conf, file);
        (void)fclose(file);
        enum zb_rc rc = zb_conf_node_parse(printed, "again", &again, &err);
        assert(rc == ZB_OK && memcmp(&again, &conf, sizeof again) == 0);
        free(printed);
    }
    free(text);
    return 0;
}
