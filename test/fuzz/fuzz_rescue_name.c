/* Names and marks below <root>/.rescue, which an administrator may have touched: one of each. */
#include "fuzz.h"

#include "keeper/rules.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);
    char service[ZB_SERVICE_NAME_SIZE];
    char rel[ZB_REL_SIZE];
    char name[ZB_RESCUE_NAME_SIZE];
    char mark[ZB_FORK_MARK_SIZE];
    struct zb_wall time;
    uint64_t number;

    if (zb_rules_rescue_name_parse(text, service, &number, &time)) {
        assert(zb_service_name_valid(service) && number != 0 && zb_rel_valid(text));
        zb_rules_rescue_name_format(service, number, time, name);
        assert(strcmp(name, text) == 0);
    }
    if (zb_rules_fork_parse(text, &number, rel)) {
        assert(zb_rel_valid(rel) && number != 0);
        zb_rules_fork_format(number, rel, mark);
        assert(strcmp(mark, text) == 0);
    }
    free(text);
    return 0;
}
