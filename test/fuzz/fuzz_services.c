/* The services file: what parses is printed, told as JSON and read back, and can be run. */
#include "fuzz.h"

#include <stdio.h>

#include "conf/service.h"
#include "runner/runner.h"

static const char *const node_names[] = {"vm1", "vm2", "vm3"};
static const struct zb_conf_nodes nodes = {.count = 3, .names = node_names};

static void
json_check(const struct zb_conf_service *service)
{
    struct zb_conf_service again;
    struct zb_err err;
    char *json = NULL;

    enum zb_rc rc = zb_conf_service_to_json(service, &json, &err);
    assert(rc == ZB_OK);
    rc = zb_conf_service_from_json(json, &again, &err);
    assert(rc == ZB_OK && memcmp(&again, service, sizeof again) == 0);
    free(json);
}

/* A command that was accepted is one that the runner can split. */
static void
command_check(const char *line)
{
    char buf[ZB_RUNNER_LINE_MAX];
    char *words[ZB_RUNNER_WORDS_MAX + 1];
    struct zb_err err;

    if (line[0] != '\0') {
        enum zb_rc rc = zb_runner_words_split(line, buf, words, &err);
        assert(rc == ZB_OK || rc == ZB_E_LIMIT);
    }
}

static void
print_check(const struct zb_conf_services *services)
{
    struct zb_conf_services again = {0};
    struct zb_conf_lines lines = {0};
    struct zb_err err;
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);

    assert(file != NULL);
    zb_conf_services_print(services, file);
    (void)fclose(file);
    enum zb_rc rc = zb_conf_services_parse(text, "again", &nodes, &again, &err);
    assert(rc == ZB_OK && again.count == services->count);
    for (uint32_t i = 0; i < again.count; i++) {
        assert(memcmp(&again.items[i], &services->items[i], sizeof again.items[i]) == 0);
    }
    rc = zb_conf_services_diff(services, &again, &lines, &err);
    assert(rc == ZB_OK && lines.count == 0);
    rc = zb_conf_services_change_check(services, &again, &err);
    assert(rc == ZB_OK);
    zb_conf_lines_close(&lines);
    zb_conf_services_close(&again);
    free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct zb_conf_services services = {0};
    struct zb_err err;
    char *text = fuzz_text(data, size);

    if (zb_conf_services_parse(text, "services", &nodes, &services, &err) == ZB_OK) {
        print_check(&services);
        for (uint32_t i = 0; i < services.count; i++) {
            json_check(&services.items[i]);
            command_check(services.items[i].start);
            command_check(services.items[i].stop);
            command_check(services.items[i].check);
        }
        zb_conf_services_close(&services);
    }
    free(text);
    return 0;
}
