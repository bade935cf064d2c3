/* The Nth allocation fails in what answers with ZB_E_NOMEM and leaves everything as it was. */
#include "fault.h"

#include <fcntl.h>
#include <unistd.h>

#include "conf/node.h"
#include "conf/service.h"
#include "keeper/internal.h"
#include "wire/kmsg.h"
#include "wire/manifest.h"

#define UUID_A "00000000-0000-4000-8000-00000000000a"
#define UUID_B "00000000-0000-4000-8000-00000000000b"

/* --- base --- */

static void
manifest_fill(struct zb_manifest *m)
{
    static struct zb_manifest_entry entries[] = {{UUID_A, "", 1}, {UUID_B, "log", 2}};
    *m = (struct zb_manifest){.id = {3, 9}, .time = {1}, .entries_count = 2, .entries = entries};
}

static enum zb_rc
manifest_run(void *ctx, struct zb_err *err)
{
    struct zb_manifest from;
    struct zb_manifest copy = {0};
    (void)ctx;

    manifest_fill(&from);
    enum zb_rc rc = zb_manifest_copy(&copy, &from, err);
    assert_int_equal(copy.entries_count, rc == ZB_OK ? 2 : 0);
    assert_true(rc == ZB_OK || copy.entries == NULL);
    zb_manifest_close(&copy);
    return rc;
}

static void
manifests(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){
        .name = "copy of a manifest", .rc = ZB_E_NOMEM, .place = "manifest", .run = manifest_run});
}

/* --- wire --- */

static uint8_t message[ZB_KMSG_MAX];
static size_t message_size;

static enum zb_rc
request_run(void *ctx, struct zb_err *err)
{
    struct zb_kreq req;
    (void)ctx;

    enum zb_rc rc = zb_kreq_decode(message, message_size, &req, err);
    if (rc != ZB_OK) {
        assert_null(req.text);
        assert_null(req.manifest.entries);
        assert_int_equal(req.id, 0);
    }
    zb_kreq_close(&req);
    return rc;
}

static enum zb_rc
reply_run(void *ctx, struct zb_err *err)
{
    struct zb_krep rep;
    (void)ctx;

    enum zb_rc rc = zb_krep_decode(message, message_size, &rep, err);
    if (rc != ZB_OK) {
        assert_true(rep.text == NULL && rep.manifest.entries == NULL);
        assert_true(rep.datasets == NULL && rep.snaps == NULL);
        assert_int_equal(rep.datasets_count + rep.snaps_count, 0);
    }
    zb_krep_close(&rep);
    return rc;
}

static void
keeper_messages(void **state)
{
    static char text[] = "{}";
    static struct zb_kdataset datasets[2] = {{.uuid = UUID_A}, {.uuid = UUID_B, .rel = "log"}};
    static struct zb_ksnap snaps[] = {{"a", 1, 1}, {"b", 2, 2}};
    struct zb_kreq req = {.id = 1, .op = ZB_KOP_SEAL, .service = "web", .text = text};
    struct zb_krep rep = {.id = 1,
                          .op = ZB_KOP_OBSERVE,
                          .text = text,
                          .datasets_count = 2,
                          .datasets = datasets,
                          .snaps_count = 2,
                          .snaps = snaps};
    struct zb_err err;
    (void)state;

    manifest_fill(&req.manifest);
    manifest_fill(&rep.manifest);
    assert_int_equal(zb_kreq_encode(&req, message, sizeof message, &message_size, &err), ZB_OK);
    fault_loop(&(struct fault_case){
        .name = "decoding a request to the keeper", .rc = ZB_E_NOMEM, .run = request_run});
    assert_int_equal(zb_krep_encode(&rep, message, sizeof message, &message_size, &err), ZB_OK);
    fault_loop(&(struct fault_case){
        .name = "decoding a reply of the keeper", .rc = ZB_E_NOMEM, .run = reply_run});
}

static enum zb_rc
stored_manifest_run(void *ctx, struct zb_err *err)
{
    struct zb_manifest m = {0};
    (void)ctx;

    enum zb_rc rc = zb_wire_manifest_decode(message, message_size, &m, err);
    assert_true(rc == ZB_OK || m.entries == NULL);
    zb_manifest_close(&m);
    return rc;
}

static void
stored_manifests(void **state)
{
    struct zb_manifest m;
    struct zb_err err;
    (void)state;

    manifest_fill(&m);
    assert_int_equal(zb_wire_manifest_encode(&m, message, sizeof message, &message_size, &err),
                     ZB_OK);
    fault_loop(&(struct fault_case){
        .name = "decoding a manifest", .rc = ZB_E_NOMEM, .run = stored_manifest_run});
}

/* --- conf --- */

static const char text_before[] =
    "service db {\n members = {vm1, vm2}\n leader = vm1\n mountpoint = \"/srv/db\"\n"
    " interval = 30s\n}\n"
    "service mail {\n members = {vm1}\n leader = vm1\n mountpoint = \"/srv/mail\"\n}\n"
    "service web {\n members = {vm1, vm2}\n backups = {b1}\n leader = vm2\n"
    " mountpoint = \"/srv/web\"\n runner = systemd\n unit = \"web.service\"\n}\n";
static const char text_after[] =
    "service db {\n members = {vm1, vm2}\n leader = vm1\n mountpoint = \"/srv/db2\"\n"
    " interval = 10s\n}\n"
    "service new {\n members = {vm1}\n leader = vm1\n mountpoint = \"/srv/new\"\n}\n"
    "service web {\n members = {vm1, vm2}\n backups = {b1}\n leader = vm2\n"
    " mountpoint = \"/srv/web\"\n runner = systemd\n unit = \"web.service\"\n keep = 7\n}\n";

static enum zb_rc
parse_run(void *ctx, struct zb_err *err)
{
    struct zb_conf_services services = {0};
    (void)ctx;

    enum zb_rc rc = zb_conf_services_parse(text_before, "services.conf", NULL, &services, err);
    assert_int_equal(services.count, rc == ZB_OK ? 3 : 0);
    assert_true(rc == ZB_OK || services.items == NULL);
    zb_conf_services_close(&services);
    return rc;
}

static enum zb_rc
diff_run(void *ctx, struct zb_err *err)
{
    const struct zb_conf_services *both = ctx;
    struct zb_conf_lines lines = {0};

    enum zb_rc rc = zb_conf_services_diff(&both[0], &both[1], &lines, err);
    assert_int_equal(lines.count, rc == ZB_OK ? 5 : 0);
    assert_true(rc == ZB_OK || lines.items == NULL);
    zb_conf_lines_close(&lines);
    return rc;
}

static void *
diff_setup(void)
{
    struct zb_conf_services *both = calloc(2, sizeof *both);
    struct zb_err err;

    assert_non_null(both);
    assert_int_equal(zb_conf_services_parse(text_before, "before", NULL, &both[0], &err), ZB_OK);
    assert_int_equal(zb_conf_services_parse(text_after, "after", NULL, &both[1], &err), ZB_OK);
    return both;
}

static void
diff_teardown(void *ctx)
{
    struct zb_conf_services *both = ctx;

    zb_conf_services_close(&both[0]);
    zb_conf_services_close(&both[1]);
    free(both);
}

static void
services(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){
        .name = "parsing services", .rc = ZB_E_NOMEM, .place = "services.conf", .run = parse_run});
    fault_loop(&(struct fault_case){.name = "what a declaration changes",
                                    .rc = ZB_E_NOMEM,
                                    .place = "diff",
                                    .setup = diff_setup,
                                    .run = diff_run,
                                    .teardown = diff_teardown});
}

static enum zb_rc
node_run(void *ctx, struct zb_err *err)
{
    struct zb_conf_node conf = {0};
    char path[1024];
    (void)ctx;

    (void)snprintf(path, sizeof path, "%s/conf/node-all.conf", getenv("ZB_GOLDEN"));
    enum zb_rc rc = zb_conf_node_load(path, &conf, err);
    assert_int_equal(conf.node[0] != '\0', rc == ZB_OK);
    return rc;
}

static void
node(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){.name = "loading zbatond.conf",
                                    .rc = ZB_E_NOMEM,
                                    .place = "node-all.conf",
                                    .run = node_run});
}

static const char declaration[] =
    "{\"name\":\"web\",\"members\":[\"vm1\",\"vm2\"],\"backups\":[\"b1\"],\"leader\":\"vm1\","
    "\"mountpoint\":\"/srv/"
    "web\",\"flavour\":\"plain\",\"failover\":\"manual\",\"interval\":\"10s\",\"keep\":\"7\","
    "\"catch-up\":\"1000\","
    "\"foreign-grace\":\"7d\","
    "\"send-limit\":\"10M\","
    "\"quota\":\"10G\","
    "\"runner\":\"command\",\"start\":\"s\",\"stop\":\"t\",\"check\":\"c\","
    "\"start-timeout\":\"90s\",\"stop-timeout\":\"2m\",\"relocate\":\"no\",\"drill-timeout\":"
    "\"20m\"}";

/* There and back; jansson's allocations are those that fail. */
static enum zb_rc
declaration_run(void *ctx, struct zb_err *err)
{
    struct zb_conf_service service = {0};
    char *text = NULL;
    (void)ctx;

    enum zb_rc rc = zb_conf_service_from_json(declaration, &service, err);
    if (rc != ZB_OK) {
        assert_string_equal(service.name, "");
        return rc;
    }
    rc = zb_conf_service_to_json(&service, &text, err);
    if (rc == ZB_OK) {
        assert_string_equal(text, declaration);
    } else {
        assert_null(text);
    }
    free(text);
    return rc;
}

static void
declarations(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){.name = "a declaration as JSON",
                                    .rc = ZB_E_NOMEM,
                                    .place = "service",
                                    .run = declaration_run});
}

/* --- keeper --- */

struct keeper {
    char dir[64];
    struct zb_keeper k;
};

static void *
keeper_setup(void)
{
    const struct zb_keeper_record record = {.rec = {.granted_term = 4, .granted_to = "vm2"}};
    struct keeper *f = calloc(1, sizeof *f);
    struct zb_err err;
    bool in_doubt;

    assert_non_null(f);
    fault_dir_make(f->dir);
    f->k.dir_fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(f->k.dir_fd >= 0);
    assert_int_equal(pthread_mutex_init(&f->k.lock, NULL), 0);
    assert_int_equal(zb_keeper_record_store(f->k.dir_fd, "web", &record, &in_doubt, &err), ZB_OK);
    assert_int_equal(zb_keeper_record_store(f->k.dir_fd, "db", &record, &in_doubt, &err), ZB_OK);
    assert_int_equal(zb_keeper_file_store(f->k.dir_fd, "web.json", declaration, strlen(declaration),
                                          &in_doubt, &err),
                     ZB_OK);
    return f;
}

static void
keeper_teardown(void *ctx)
{
    struct keeper *f = ctx;

    zb_keeper_services_close(&f->k);
    (void)pthread_mutex_destroy(&f->k.lock);
    (void)close(f->k.dir_fd);
    fault_dir_remove(f->dir);
    free(f);
}

static enum zb_rc
record_run(void *ctx, struct zb_err *err)
{
    struct keeper *f = ctx;
    struct zb_keeper_record record = {0};

    enum zb_rc rc = zb_keeper_record_load(f->k.dir_fd, "web", &record, err);
    assert_int_equal(record.rec.granted_term, rc == ZB_OK ? 4 : 0);
    return rc;
}

static enum zb_rc
table_run(void *ctx, struct zb_err *err)
{
    struct keeper *f = ctx;

    zb_keeper_services_close(&f->k);
    return zb_keeper_services_load(&f->k, err);
}

/* A service whose record could not be read is frozen; none is missing or forgotten. */
static void
table_check(void *ctx, enum zb_rc rc)
{
    struct keeper *f = ctx;

    if (rc != ZB_OK) {
        return;
    }
    assert_int_equal(f->k.services_count, 2);
    for (uint32_t i = 0; i < 2; i++) {
        const struct zb_keeper_service *s = f->k.services[i];
        assert_true(s->frozen || (s->recorded && s->record.rec.granted_term == 4));
        assert_true(!s->frozen || s->frozen_why[0] != '\0');
    }
}

static void
keeper_records(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){.name = "loading a record",
                                    .rc = ZB_E_NOMEM,
                                    .place = "web.record",
                                    .setup = keeper_setup,
                                    .run = record_run,
                                    .teardown = keeper_teardown});
    fault_loop(&(struct fault_case){.name = "loading the keeper's services",
                                    .absorbs = true,
                                    .setup = keeper_setup,
                                    .run = table_run,
                                    .check = table_check,
                                    .teardown = keeper_teardown});
    fault_loop(&(struct fault_case){.name = "loading the keeper's services without memory",
                                    .mode = FAULT_ONWARD,
                                    .absorbs = true,
                                    .setup = keeper_setup,
                                    .run = table_run,
                                    .check = table_check,
                                    .teardown = keeper_teardown});
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(manifests),
        cmocka_unit_test(keeper_messages),
        cmocka_unit_test(stored_manifests),
        cmocka_unit_test(services),
        cmocka_unit_test(node),
        cmocka_unit_test(declarations),
        cmocka_unit_test(keeper_records),
    };
    fault_hook_jansson();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
