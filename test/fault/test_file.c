/*
 * The Nth system call on a file fails: the keeper's records and definitions, keys and certificates,
 * what `zbaton init` makes. A file is the old one or the new one, and nothing is left beside it
 * that hinders.
 */
#include "fault.h"

#include <dirent.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/files.h"
#include "cmd/setup.h"
#include "keeper/internal.h"
#include "net/pki.h"
#include "vfs.h"

/* --- the keeper --- */

static char declaration[2][256];

struct keeper {
    char dir[64];
    struct zb_conf_node conf;
    struct zb_keeper k;
    struct zb_keeper_job job;
};

static void
keeper_load(struct keeper *f)
{
    struct zb_err err;

    zb_keeper_services_close(&f->k);
    assert_int_equal(zb_keeper_services_load(&f->k, &err), ZB_OK);
}

/* Two services; web has granted term 4 under version 1 of its declaration. */
static void *
keeper_setup(void)
{
    struct zb_keeper_record record = {
        .rec = {.granted_term = 4, .granted_to = "vm2", .version = 1}};
    struct keeper *f = calloc(1, sizeof *f);
    struct zb_err err;
    bool in_doubt;

    assert_non_null(f);
    fault_dir_make(f->dir);
    zb_strcopy(f->conf.node, sizeof f->conf.node, "vm1");
    f->k.conf = &f->conf;
    f->k.dir_fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(f->k.dir_fd >= 0);
    assert_int_equal(pthread_mutex_init(&f->k.lock, NULL), 0);
    assert_int_equal(zb_keeper_record_store(f->k.dir_fd, "web", &record, &in_doubt, &err), ZB_OK);
    assert_int_equal(zb_keeper_record_store(f->k.dir_fd, "db", &record, &in_doubt, &err), ZB_OK);
    assert_int_equal(zb_keeper_file_store(f->k.dir_fd, "web.json", declaration[0],
                                          strlen(declaration[0]), &in_doubt, &err),
                     ZB_OK);
    keeper_load(f);
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

/* A frozen service goes on when the keeper is started anew. */
static void
keeper_load_frozen(struct keeper *f)
{
    if (zb_keeper_service_find(&f->k, "web")->frozen) {
        keeper_load(f);
    }
}

/* A grant of term 5. */
static enum zb_rc
record_run(void *ctx, struct zb_err *err)
{
    struct keeper *f = ctx;

    keeper_load_frozen(f);
    struct zb_keeper_service *s = zb_keeper_service_find(&f->k, "web");
    struct zb_keeper_record next = s->record;
    next.rec.granted_term = 5;
    return zb_keeper_record_change(&f->k, s, &next, err);
}

/* The memory says what the file says, or nothing goes on. */
static void
record_check(void *ctx, enum zb_rc rc)
{
    struct keeper *f = ctx;
    const struct zb_keeper_service *s = zb_keeper_service_find(&f->k, "web");
    struct zb_keeper_record stored;
    struct zb_err err;

    assert_int_equal(zb_keeper_record_load(f->k.dir_fd, "web", &stored, &err), ZB_OK);
    assert_true(stored.rec.granted_term == 5 || (stored.rec.granted_term == 4 && rc != ZB_OK));
    assert_true(s->frozen || s->record.rec.granted_term == stored.rec.granted_term);
    assert_true(rc != ZB_OK || !s->frozen);
}

/* A new version of the declaration: two files, one behind the other. */
static enum zb_rc
define_run(void *ctx, struct zb_err *err)
{
    struct keeper *f = ctx;

    keeper_load_frozen(f);
    f->job = (struct zb_keeper_job){.req = {.op = ZB_KOP_DEFINE, .version = 2}};
    zb_strcopy(f->job.req.service, sizeof f->job.req.service, "web");
    f->job.req.text = declaration[1];
    f->job.service = zb_keeper_service_find(&f->k, "web");
    f->job.conf = f->job.service->conf;
    return zb_keeper_op_define(&f->k, &f->job, err);
}

static void
define_check(void *ctx, enum zb_rc rc)
{
    struct keeper *f = ctx;

    keeper_load(f);
    const struct zb_keeper_service *s = zb_keeper_service_find(&f->k, "web");
    assert_true(s->defined && s->recorded && !s->frozen);
    bool new_text = s->conf.interval_ms == 20000;
    assert_true(new_text || s->conf.interval_ms == 10000);
    assert_int_equal(s->record.rec.granted_term, 4);
    assert_true(s->record.rec.version == 1 || s->record.rec.version == 2);
    /* The version that is known is never newer than the text. */
    assert_true(new_text || s->record.rec.version == 1);
    assert_true(rc != ZB_OK || (new_text && s->record.rec.version == 2));
}

static enum zb_rc
table_run(void *ctx, struct zb_err *err)
{
    struct keeper *f = ctx;

    zb_keeper_services_close(&f->k);
    return zb_keeper_services_load(&f->k, err);
}

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
        assert_true(!s->frozen || strstr(s->frozen_why, s->name) != NULL);
    }
}

static enum zb_rc
remove_run(void *ctx, struct zb_err *err)
{
    struct keeper *f = ctx;

    return zb_keeper_file_remove(f->k.dir_fd, "web.json", err);
}

static void
remove_check(void *ctx, enum zb_rc rc)
{
    struct keeper *f = ctx;

    keeper_load(f);
    const struct zb_keeper_service *s = zb_keeper_service_find(&f->k, "web");
    assert_true(s->recorded && !s->frozen);
    assert_true(rc != ZB_OK || !s->defined);
}

static void
keeper_loop(const char *name, bool absorbs, const char *place,
            enum zb_rc (*run)(void *ctx, struct zb_err *err),
            void (*check)(void *ctx, enum zb_rc rc))
{
    struct fault_case c = {.name = name,
                           .absorbs = absorbs,
                           .place = place,
                           .setup = keeper_setup,
                           .run = run,
                           .check = check,
                           .teardown = keeper_teardown};

    fault_loop(&c);
    c.mode = FAULT_ONWARD;
    fault_loop(&c);
}

static void
keeper_files(void **state)
{
    (void)state;
    keeper_loop("record of a grant", true, "web.record", record_run, record_check);
    keeper_loop("declaration", true, "web.", define_run, define_check);
    keeper_loop("start of the keeper", true, "keeper's directory", table_run, table_check);
    keeper_loop("end of a declaration", false, "web.json", remove_run, remove_check);
}

/* --- keys and certificates --- */

struct place {
    char dir[64];
    char path[128];
};

static void *
pki_setup(void)
{
    struct place *p = calloc(1, sizeof *p);
    struct zb_err err;

    assert_non_null(p);
    fault_dir_make(p->dir);
    (void)snprintf(p->path, sizeof p->path, "%s/node.key", p->dir);
    assert_int_equal(zb_pki_file_write(p->path, "old", getuid(), getgid(), &err), ZB_OK);
    return p;
}

static void
place_teardown(void *ctx)
{
    struct place *p = ctx;

    fault_dir_remove(p->dir);
    free(p);
}

static unsigned
entries_count(const char *path)
{
    unsigned count = 0;
    DIR *dir = opendir(path);

    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        count++;
    }
    (void)closedir(dir);
    return count - 2;
}

static enum zb_rc
pki_run(void *ctx, struct zb_err *err)
{
    struct place *p = ctx;
    char *text = NULL;
    enum zb_rc rc = zb_pki_file_read(p->path, &text, err);

    zb_pki_text_free(text);
    return rc == ZB_OK ? zb_pki_file_write(p->path, "new and longer", getuid(), getgid(), err) : rc;
}

static void
pki_check(void *ctx, enum zb_rc rc)
{
    struct place *p = ctx;
    char *text = NULL;
    struct zb_err err;

    assert_int_equal(zb_pki_file_read(p->path, &text, &err), ZB_OK);
    assert_true(strcmp(text, "new and longer") == 0 || (rc != ZB_OK && strcmp(text, "old") == 0));
    assert_int_equal(entries_count(p->dir), 1);
    zb_pki_text_free(text);
}

static void
keys(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){.name = "key file",
                                    .place = "zbaton-fault-",
                                    .setup = pki_setup,
                                    .run = pki_run,
                                    .check = pki_check,
                                    .teardown = place_teardown});
}

/* --- a node is set up --- */

/* Another than this test's, where that can be. */
static uid_t
engine_uid(void)
{
    return getuid() == 0 ? 54321 : getuid();
}

static void *
node_setup(void)
{
    struct place *p = calloc(1, sizeof *p);

    assert_non_null(p);
    fault_dir_make(p->dir);
    (void)snprintf(p->path, sizeof p->path, "%s/engine", p->dir);
    assert_int_equal(mkdir(p->path, 0700), 0);
    fault_vfs_power_on();
    return p;
}

static enum zb_rc
node_make(struct zb_setup *s, struct zb_err *err)
{
    struct zb_config_doc doc = {.version = 1, .cluster = "c", .nodes_count = 1};
    enum zb_rc rc = zb_setup_file_write(s, ZB_FILE_CA_KEY, "ca key", err);

    zb_strcopy(doc.nodes[0].name, sizeof doc.nodes[0].name, "vm1");
    zb_strcopy(doc.nodes[0].address, sizeof doc.nodes[0].address, "10.0.0.1:7979");
    if (rc == ZB_OK) {
        rc = zb_setup_file_write(s, ZB_FILE_NODE_KEY, "node key", err);
    }
    if (rc == ZB_OK) {
        rc = zb_config_doc_services_set(&doc, "", "services", err);
    }
    if (rc == ZB_OK) {
        rc = zb_setup_finish(s, &doc, "11111111-0000-4000-8000-000000000000", err);
    }
    zb_config_doc_close(&doc);
    return rc;
}

/* As `zbaton init` does it once the directories are there. */
static enum zb_rc
node_run(void *ctx, struct zb_err *err)
{
    struct place *p = ctx;
    char conf_path[128];
    struct zb_setup s = {
        .conf_path = conf_path, .engine_uid = engine_uid(), .engine_gid = getgid()};

    (void)snprintf(conf_path, sizeof conf_path, "%s/zbatond.conf", p->dir);
    zb_strcopy(s.conf.state_dir, sizeof s.conf.state_dir, p->dir);
    zb_strcopy(s.conf.node, sizeof s.conf.node, "vm1");
    zb_strcopy(s.conf.root, sizeof s.conf.root, "pool1/services");
    zb_strcopy(s.conf.listen, sizeof s.conf.listen, "10.0.0.1:7979");
    zb_strcopy(s.conf.group, sizeof s.conf.group, "zbaton");
    zb_strcopy(s.conf.run_dir, sizeof s.conf.run_dir, "/run/zbaton");
    zb_strcopy(s.conf.commands_dir, sizeof s.conf.commands_dir, "/etc/zbaton/commands");
    s.conf.log_level = ZB_LOG_INFO;
    enum zb_rc rc = node_make(&s, err);
    if (rc != ZB_OK) {
        (void)fault_disarm();
        zb_setup_undo(&s);
    }
    return rc;
}

static unsigned
owned_count(const char *path, uid_t uid)
{
    unsigned count = 0;
    struct dirent *entry;
    struct stat st;
    DIR *dir = opendir(path);

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        assert_int_equal(fstatat(dirfd(dir), entry->d_name, &st, 0), 0);
        count += S_ISREG(st.st_mode) && st.st_uid == uid;
    }
    (void)closedir(dir);
    return count;
}

/* Everything, and the engine's what is the engine's; or nothing but the directories that were
 * there. */
static void
node_check(void *ctx, enum zb_rc rc)
{
    struct place *p = ctx;

    assert_int_equal(owned_count(p->path, engine_uid()), entries_count(p->path));
    assert_int_equal(entries_count(p->path) > 0, rc == ZB_OK);
    assert_int_equal(entries_count(p->dir), rc == ZB_OK ? 5 : 1);
}

static void
node(void **state)
{
    struct fault_case c = {.name = "setting up a node",
                           .absorbs = true,
                           .place = "zbaton-fault-",
                           .setup = node_setup,
                           .run = node_run,
                           .check = node_check,
                           .teardown = place_teardown};
    (void)state;

    fault_vfs_use(SQLITE_IOERR);
    fault_loop(&c);
    c.mode = FAULT_ONWARD;
    fault_loop(&c);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeper_files),
        cmocka_unit_test(keys),
        cmocka_unit_test(node),
    };

    for (int i = 0; i < 2; i++) {
        (void)snprintf(declaration[i], sizeof declaration[i],
                       "{\"name\":\"web\",\"members\":[\"vm1\",\"vm2\"],\"leader\":\"vm1\","
                       "\"mountpoint\":\"/srv/web\",\"interval\":\"%d0s\"}",
                       i + 1);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
