/* REKEY: what the key of a tree becomes, and what keeps it from being changed. ZFS and the view are
 * replaced. */
#include "unit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keeper/consent.h"
#include "keeper/internal.h"
#include "runner/runner.h"

#define OLD "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define NEW "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define TREE "p/s/web"

/* A dataset of the pool. */
struct thing {
    const char *name, *root, *origin;
    bool mounted;
};

static struct {
    uint8_t first; /* byte of the key in force */
    struct zb_zfs_key_params params;
    int tries, changes;
    uint8_t given; /* first byte of the last one that was given */
    enum zb_rc change;
    struct thing things[4]; /* beside the tree's own dataset */
    struct zb_mono now;
    enum zb_rc view;
} zfs;

static struct zb_keeper keeper;
static struct zb_keeper_service service;
static struct zb_keeper_job job;
static struct zb_zfs_props root;
static struct zb_kdataset dataset;
static struct zb_err err;
static char dir[32]; /* the keeper's */
static char path[64];

/* ---- replaced ---- */

struct zb_mono __wrap_zb_mono_now(void);
enum zb_rc __wrap_zb_keeper_view_open(const struct zb_keeper *k, const char *name,
                                      struct zb_keeper_view *view, struct zb_err *e);
void __wrap_zb_keeper_view_close(struct zb_keeper_view *view);
enum zb_rc __wrap_zb_keeper_facts(struct zb_keeper *k, const struct zb_keeper_job *j,
                                  const struct zb_keeper_view *view, bool runs,
                                  struct zb_keeper_facts *facts, struct zb_err *e);
bool __wrap_zb_zfs_key_params_find(const struct zb_zfs_props *props,
                                   struct zb_zfs_key_params *params);
enum zb_rc __wrap_zb_zfs_key_load(const char *name, const uint8_t key[ZB_ZFS_KEY_SIZE],
                                  bool only_try, struct zb_err *e);
enum zb_rc __wrap_zb_zfs_key_change(const char *name, const struct zb_zfs_key_params *params,
                                    const uint8_t key[ZB_ZFS_KEY_SIZE], struct zb_err *e);
enum zb_rc __wrap_zb_zfs_children_list(const char *name, struct zb_zfs_names *names,
                                       struct zb_err *e);
enum zb_rc __wrap_zb_zfs_props_get(const char *name, struct zb_zfs_props *props, struct zb_err *e);
enum zb_rc __wrap_zb_os_mounts_read(const char *name, struct zb_os_mounts *mounts,
                                    struct zb_err *e);
enum zb_rc __wrap_zb_runner_ask(const struct zb_runner *r, const char *line, uint32_t timeout_ms,
                                int cancel_fd, struct zb_once_output *output, struct zb_err *e);

struct zb_mono
__wrap_zb_mono_now(void)
{
    zfs.now.ms += 1000;
    return zfs.now;
}

enum zb_rc
__wrap_zb_keeper_view_open(const struct zb_keeper *k, const char *name, struct zb_keeper_view *view,
                           struct zb_err *e)
{
    static const struct zb_zfs_props *props[] = {&root};

    (void)k;
    assert_string_equal(name, "web");
    *view = (struct zb_keeper_view){.count = 1, .datasets = &dataset, .props = props};
    zb_strcopy(view->dataset, sizeof(view->dataset), TREE);
    return zfs.view == ZB_OK ? ZB_OK : zb_err_set(e, zfs.view, "no view");
}

void
__wrap_zb_keeper_view_close(struct zb_keeper_view *view)
{
    *view = (struct zb_keeper_view){0};
}

enum zb_rc
__wrap_zb_keeper_facts(struct zb_keeper *k, const struct zb_keeper_job *j,
                       const struct zb_keeper_view *view, bool runs, struct zb_keeper_facts *facts,
                       struct zb_err *e)
{
    (void)k;
    (void)j;
    (void)runs;
    (void)e;
    /* What it is changed under keeps the tree from being sealed. */
    assert_int_equal(service.claims[ZB_CLAIM_SNAP], 1);
    *facts = (struct zb_keeper_facts){.self = "vm1",
                                      .stage = service.stage,
                                      .datasets_count = view->count,
                                      .datasets = view->datasets};
    return ZB_OK;
}

bool
__wrap_zb_zfs_key_params_find(const struct zb_zfs_props *props, struct zb_zfs_key_params *params)
{
    assert_ptr_equal(props, &root);
    *params = zfs.params;
    return true;
}

enum zb_rc
__wrap_zb_zfs_key_load(const char *name, const uint8_t key[ZB_ZFS_KEY_SIZE], bool only_try,
                       struct zb_err *e)
{
    assert_string_equal(name, TREE);
    assert_true(only_try);
    zfs.tries++;
    return key[0] == zfs.first ? ZB_OK : zb_err_set(e, ZB_E_MISMATCH, "another");
}

enum zb_rc
__wrap_zb_zfs_key_change(const char *name, const struct zb_zfs_key_params *params,
                         const uint8_t key[ZB_ZFS_KEY_SIZE], struct zb_err *e)
{
    assert_string_equal(name, TREE);
    zfs.changes++;
    zfs.given = key[0];
    if (zfs.change != ZB_OK) {
        return zb_err_set(e, zfs.change, "no room");
    }
    zfs.first = key[0];
    zfs.params = *params;
    return ZB_OK;
}

enum zb_rc
__wrap_zb_zfs_children_list(const char *name, struct zb_zfs_names *names, struct zb_err *e)
{
    (void)e;
    assert_string_equal(name, "p");
    names->names = calloc(5, sizeof(*names->names));
    assert_non_null(names->names);
    zb_strcopy(names->names[names->count++], ZB_DATASET_NAME_SIZE, TREE);
    for (size_t i = 0; i < 4 && zfs.things[i].name != NULL; i++) {
        zb_strcopy(names->names[names->count++], ZB_DATASET_NAME_SIZE, zfs.things[i].name);
    }
    return ZB_OK;
}

enum zb_rc
__wrap_zb_zfs_props_get(const char *name, struct zb_zfs_props *props, struct zb_err *e)
{
    *props = (struct zb_zfs_props){.encrypted = true, .encryption_root = TREE, .origin = ""};
    if (strcmp(name, TREE) == 0) {
        return ZB_OK;
    }
    for (size_t i = 0; i < 4 && zfs.things[i].name != NULL; i++) {
        if (strcmp(name, zfs.things[i].name) == 0 && zfs.things[i].root != NULL) {
            props->encryption_root = zfs.things[i].root;
            props->origin = zfs.things[i].origin;
            props->encrypted = zfs.things[i].root[0] != '\0';
            return ZB_OK;
        }
    }
    return zb_err_set(e, ZB_E_NOTFOUND, "gone");
}

enum zb_rc
__wrap_zb_os_mounts_read(const char *name, struct zb_os_mounts *mounts, struct zb_err *e)
{
    (void)e;
    assert_string_equal(name, "p");
    mounts->entries = calloc(5, sizeof(*mounts->entries));
    assert_non_null(mounts->entries);
    zb_strcopy(mounts->entries[mounts->count++].dataset, ZB_DATASET_NAME_SIZE, TREE);
    for (size_t i = 0; i < 4 && zfs.things[i].name != NULL; i++) {
        if (zfs.things[i].mounted) {
            zb_strcopy(mounts->entries[mounts->count++].dataset, ZB_DATASET_NAME_SIZE,
                       zfs.things[i].name);
        }
    }
    return ZB_OK;
}

static struct {
    const char *says; /* NULL: it was canceled */
    int asked;
} program;

enum zb_rc
__wrap_zb_runner_ask(const struct zb_runner *r, const char *line, uint32_t timeout_ms,
                     int cancel_fd, struct zb_once_output *output, struct zb_err *e)
{
    (void)r;
    assert_string_equal(line, "vault web");
    assert_true(timeout_ms > 0 && cancel_fd >= 0);
    assert_int_equal(service.claims[ZB_CLAIM_SNAP], 0); /* it may take its time */
    program.asked++;
    if (program.says == NULL) {
        return zb_err_set(e, ZB_E_CANCELED, "ended");
    }
    output->used = strlen(program.says);
    memcpy(output->bytes, program.says, output->used);
    return ZB_OK;
}

/* ---- the story ---- */

static void
file_write(const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, 0600), 0);
}

static void
consent_write(const char *text)
{
    int fd = openat(keeper.dir_fd, "web.rekey", O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(dprintf(fd, "%s", text), strlen(text));
    assert_int_equal(close(fd), 0);
}

static void
consent(void)
{
    char text[ZB_COMMAND_SIZE + 32];

    if (service.conf.key_command[0] != '\0') {
        (void)snprintf(text, sizeof(text), ZB_CONSENT_COMMAND, service.conf.key_command);
    } else {
        (void)snprintf(text, sizeof(text), ZB_CONSENT_FILE, service.conf.key_file);
    }
    consent_write(text);
}

static bool
consent_is_there(void)
{
    return faccessat(keeper.dir_fd, "web.rekey", F_OK, 0) == 0;
}

/* vm1 leads "web" in term 3; its key is OLD, the file has NEW, and root has consented. */
static int
setup(void **state)
{
    static const struct zb_conf_node node = {.root = "p/s", .node = "vm1", .commands_dir = "/c"};
    static const struct zb_keeper_op op = {.op = ZB_KOP_REKEY};

    (void)state;
    memset(&zfs, 0, sizeof(zfs));
    memset(&program, 0, sizeof(program));
    keeper = (struct zb_keeper){.conf = &node, .key_end_fd = -1};
    service = (struct zb_keeper_service){.name = "web", .stage = ZB_STAGE_MOUNTED, .defined = true};
    job = (struct zb_keeper_job){
        .service = &service, .op = &op, .claim = ZB_CLAIM_READ, .transfer_fd = -1};
    assert_int_equal(pthread_mutex_init(&keeper.lock, NULL), 0);
    assert_int_equal(pthread_mutex_init(&keeper.key_lock, NULL), 0);
    zb_strcopy(dir, sizeof(dir), "/tmp/zb-rekey-XXXXXX");
    assert_non_null(mkdtemp(dir));
    keeper.dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(keeper.dir_fd >= 0);
    (void)snprintf(path, sizeof(path), "%s/key", dir);
    file_write(NEW "\n");
    zfs.params.format = ZB_ZFS_KEY_HEX;
    service.conf.flavour = ZB_CONF_FLAVOUR_RAW;
    zb_strcopy(service.conf.name, sizeof(service.conf.name), "web");
    zb_strcopy(service.conf.key_file, sizeof(service.conf.key_file), path);
    service.claims[ZB_CLAIM_READ] = 1;
    service.record.rec.established_term = 3;
    service.record.rec.granted_term = 3;
    service.record.rec.learned_term = 3;
    zb_strcopy(service.record.rec.granted_to, ZB_NODE_NAME_SIZE, "vm1");
    zb_strcopy(service.record.rec.learned_leader, ZB_NODE_NAME_SIZE, "vm1");
    keeper.services[0] = &service;
    keeper.services_count = 1;
    root = (struct zb_zfs_props){.encrypted = true, .encryption_root = TREE, .origin = ""};
    zb_strcopy(root.name, sizeof(root.name), TREE);
    dataset = (struct zb_kdataset){.mount = ZB_MOUNT_RW, .marked = 1};
    zb_strcopy(job.req.service, sizeof(job.req.service), "web");
    job.req.term = 3;
    consent();
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    (void)unlink(path);
    (void)unlinkat(keeper.dir_fd, "web.rekey", 0);
    (void)close(keeper.dir_fd);
    return rmdir(dir);
}

/* As the engine asks for it, whatever root said. */
static void
ask(enum zb_rc wanted, const char *text)
{
    err = (struct zb_err){0};
    job.conf = service.conf;
    job.rep = (struct zb_krep){0};
    assert_int_equal(zb_keeper_op_rekey(&keeper, &job, &err), wanted);
    if (wanted != ZB_OK && strstr(err.msg, text) == NULL) {
        fail_msg("\"%s\" is not in \"%s\"", text, err.msg);
    }
    assert_int_equal(job.transfer_fd, -1);
    for (size_t c = 0; c < ZB_CLAIM_COUNT; c++) {
        assert_int_equal(service.claims[c], c == ZB_CLAIM_READ);
    }
}

/* It is used up if anything came of it, and not by a try. */
static void
rekey(enum zb_rc wanted, const char *text)
{
    consent();
    ask(wanted, text);
    assert_int_equal(consent_is_there(), wanted != ZB_OK || (job.req.flags & ZB_KF_DRY_RUN) != 0);
}

static void
refused(enum zb_rc wanted, const char *text)
{
    int before = zfs.changes;

    rekey(wanted, text);
    assert_int_equal(zfs.changes, before);
}

static void
the_key_is_the_one_of_the_file(void **state)
{
    (void)state;
    rekey(ZB_OK, "");
    assert_int_equal(zfs.changes, 1);
    assert_int_equal(zfs.first, 0xff);
    assert_int_equal(zfs.params.format, ZB_ZFS_KEY_HEX);
    assert_int_equal(zfs.params.salt, 0);
    assert_int_equal(job.rep.flags, 0);
    assert_int_equal(job.rep.key, ZB_KEY_GOOD);
}

static void
one_that_is_in_force_is_left(void **state)
{
    (void)state;
    file_write(OLD "\n");
    zfs.things[0] = (struct thing){"p/s/web/gone", TREE, "", false};
    refused(ZB_OK, "");
    assert_int_equal(job.rep.flags, ZB_KF_SAME);
}

static void
not_consented(const char *text)
{
    ask(ZB_E_REFUSED, text);
    assert_int_equal(zfs.tries + zfs.changes, 0);
}

static void
consent_aged(int64_t s)
{
    const struct timespec at = {.tv_sec = zb_wall_now().s - s};
    const struct timespec times[] = {at, at};

    assert_int_equal(utimensat(keeper.dir_fd, "web.rekey", times, 0), 0);
}

static void
root_has_to_consent(void **state)
{
    static const char none[] = "wants the consent of this host's root, and there is none";

    (void)state;
    assert_int_equal(unlinkat(keeper.dir_fd, "web.rekey", 0), 0);
    not_consented(none);
    assert_non_null(strstr(err.hint, "as root, here: zbaton rekey web --key-file FILE"));
    consent();
    consent_aged(ZB_CONSENT_MAX_S + 5);
    not_consented(none);
    consent_aged(-60);
    not_consented(none);
    consent_aged(0);
    assert_int_equal(fchmodat(keeper.dir_fd, "web.rekey", 0640, 0), 0);
    not_consented(none);
    assert_int_equal(fchmodat(keeper.dir_fd, "web.rekey", 0600, 0), 0);
    assert_int_equal(fchownat(keeper.dir_fd, "web.rekey", 1, -1, 0), 0);
    not_consented(none);
    assert_int_equal(fchownat(keeper.dir_fd, "web.rekey", 0, -1, 0), 0);
    assert_int_equal(renameat(keeper.dir_fd, "web.rekey", keeper.dir_fd, "other"), 0);
    assert_int_equal(symlinkat("other", keeper.dir_fd, "web.rekey"), 0);
    not_consented(none);
    assert_int_equal(unlinkat(keeper.dir_fd, "web.rekey", 0), 0);
    not_consented(none);
    assert_int_equal(renameat(keeper.dir_fd, "other", keeper.dir_fd, "web.rekey"), 0);
    consent_aged(ZB_CONSENT_MAX_S - 60);
    ask(ZB_OK, "");
    assert_int_equal(zfs.changes, 1);
    assert_false(consent_is_there());
    ask(ZB_E_REFUSED, none); /* once */
}

/* An engine that lies may declare what it likes. */
static void
root_consents_to_what_is_declared(void **state)
{
    static const char other[] = "root consented to another source of the key than is declared";
    char text[128];

    (void)state;
    consent_write("key-file /root/other\n");
    not_consented(other);
    assert_non_null(strstr(err.msg, path));
    consent_write("");
    not_consented(other);
    (void)snprintf(text, sizeof(text), ZB_CONSENT_FILE "\n", path);
    consent_write(text);
    not_consented(other);
    (void)snprintf(text, sizeof(text), ZB_CONSENT_COMMAND, path);
    consent_write(text);
    not_consented(other);
    assert_true(consent_is_there());
}

static void
a_passphrase_gets_another_salt(void **state)
{
    static const struct zb_zfs_key_params before = {ZB_ZFS_KEY_PASSPHRASE, 5, 7};

    (void)state;
    file_write("correct horse\n");
    zfs.params = before;
    rekey(ZB_OK, "");
    assert_int_equal(zfs.changes, 1);
    assert_int_equal(zfs.params.format, ZB_ZFS_KEY_PASSPHRASE);
    assert_int_equal(zfs.params.iterations, 7);
    assert_true(zfs.params.salt != 0 && zfs.params.salt != 5);
    refused(ZB_OK, ""); /* derived with that salt it is the key */
    assert_int_equal(job.rep.flags, ZB_KF_SAME);
}

static void
what_is_no_key_is_refused(void **state)
{
    (void)state;
    file_write("00ff\n");
    refused(ZB_E_FORMAT, "it holds 4 bytes, not 64 hexadecimal digits");
    assert_non_null(strstr(err.msg, path));
    assert_int_equal(chmod(path, 0644), 0);
    refused(ZB_E_REFUSED, "others than root");
    assert_int_equal(unlink(path), 0);
    refused(ZB_E_NOTFOUND, "there is no key file");
}

/* The kernel panics at one that says that it has the tree's key and has another. */
static void
whose_key_is_not_known_is_in_the_way(void **state)
{
    (void)state;
    zfs.things[0] = (struct thing){"p/s/web/log", TREE, "", true};
    zfs.things[1] = (struct thing){"p/s/.peek/a", TREE, "p/s/web@set", false};
    zfs.things[2] = (struct thing){"p/other", "p/other", "", false};
    zfs.things[3] = (struct thing){"p/plain", "", "", false};
    rekey(ZB_OK, "");
    assert_int_equal(zfs.changes, 1);
    zfs.first = 0;
    zfs.things[2] = (struct thing){"p/s/web/orphan", TREE, "", false};
    refused(ZB_E_REFUSED, "p/s/web/orphan has its key from p/s/web and is not mounted");
    assert_non_null(strstr(err.hint, "mount -t zfs -o zfsutil,ro p/s/web/orphan"));
    zfs.things[2].mounted = true;
    rekey(ZB_OK, "");
    zfs.first = 0;
    zfs.things[2] = (struct thing){"p/s/.rescue/web-1/log", TREE, "", false};
    refused(ZB_E_REFUSED, "p/s/.rescue/web-1/log");
    assert_string_equal(err.hint, "zbaton rescue mount web-1");
    zfs.things[2] = (struct thing){"p/x", TREE, "", false}; /* shorter than the root's name */
    refused(ZB_E_REFUSED, "p/x has its key");
    zfs.things[2].root = NULL; /* destroyed meanwhile */
    rekey(ZB_OK, "");
}

static void
only_who_writes_changes_it(void **state)
{
    (void)state;
    job.req.term = 2;
    refused(ZB_E_REFUSED, "not the established leader of term 2");
    job.req.term = 3;
    service.record.rec.released_term = 4;
    refused(ZB_E_REFUSED, "it was released");
    service.record.rec.released_term = 0;
    service.stage = ZB_STAGE_SEALED;
    refused(ZB_E_REFUSED, "not mounted read-write by this keeper");
    service.stage = ZB_STAGE_MOUNTED;
    dataset.mount = ZB_MOUNT_NONE;
    refused(ZB_E_REFUSED, "not mounted read-write by this keeper");
    dataset.mount = ZB_MOUNT_RW;
    zfs.view = ZB_E_SUSPENDED;
    refused(ZB_E_SUSPENDED, "no view");
}

static void
the_key_has_to_be_the_trees_own(void **state)
{
    (void)state;
    root.encryption_root = "p";
    refused(ZB_E_REFUSED, "is under the encryption root p");
    assert_non_null(strstr(err.hint, "zfs change-key"));
    root.encryption_root = TREE;
    root.origin = "p/s/first@x";
    refused(ZB_E_REFUSED, "is a clone");
    service.conf.flavour = ZB_CONF_FLAVOUR_PLAIN;
    refused(ZB_E_REFUSED, "of flavour \"plain\"");
}

static void
what_fails_is_told(void **state)
{
    (void)state;
    zfs.change = ZB_E_NOSPACE;
    service.keys.state = ZB_KEY_OTHER;
    rekey(ZB_E_NOSPACE, "no room");
    assert_int_equal(service.keys.state, ZB_KEY_OTHER);
}

/* The claims are looked at by hand: somebody else takes a set all the time. */
static void
others_are_waited_for_and_not_for_ever(void **state)
{
    (void)state;
    service.claims[ZB_CLAIM_SNAP] = 1;
    job.conf = service.conf;
    assert_int_equal(zb_keeper_op_rekey(&keeper, &job, &err), ZB_E_BUSY);
    assert_int_equal(service.claims[ZB_CLAIM_SNAP], 1);
    assert_int_equal(zfs.tries + zfs.changes, 0);
}

static void
command_declare(void)
{
    service.conf.key_file[0] = '\0';
    zb_strcopy(service.conf.key_command, sizeof(service.conf.key_command), "vault web");
}

static void
a_program_gives_it(void **state)
{
    (void)state;
    command_declare();
    program.says = NEW "\n";
    ask(ZB_E_REFUSED, "key-command vault web"); /* it is the file that root consented to */
    consent_write("key-command vault web2\n");
    ask(ZB_E_REFUSED, "key-command vault web");
    assert_int_equal(zfs.changes + program.asked, 0);
    rekey(ZB_OK, "");
    assert_int_equal(program.asked, 1);
    assert_int_equal(zfs.first, 0xff);
    program.says = NULL;
    refused(ZB_E_CANCELED, "ended");
    job.canceled = true;
    refused(ZB_E_CANCELED, "canceled before it began");
    assert_int_equal(program.asked, 2);
}

static void
asked(enum zb_rc rc, enum zb_key_state state)
{
    refused(rc, "");
    assert_int_equal(job.rep.key, state);
    assert_int_equal(job.rep.flags, 0);
}

/* On whoever follows; what a program says is asked for now, and known by the next look. */
static void
it_is_only_tried(void **state)
{
    (void)state;
    service.stage = ZB_STAGE_REST;
    dataset.mount = ZB_MOUNT_NONE;
    job.req.term = 0;
    job.req.flags = ZB_KF_DRY_RUN;
    assert_int_equal(unlinkat(keeper.dir_fd, "web.rekey", 0), 0);
    ask(ZB_OK, "");
    assert_int_equal(job.rep.key, ZB_KEY_OTHER);
    asked(ZB_OK, ZB_KEY_OTHER);
    file_write(OLD "\n");
    asked(ZB_OK, ZB_KEY_GOOD);
    file_write("x");
    asked(ZB_OK, ZB_KEY_UNFIT);
    assert_int_equal(unlink(path), 0);
    asked(ZB_OK, ZB_KEY_MISSING);
    command_declare();
    program.says = OLD "\n";
    asked(ZB_OK, ZB_KEY_GOOD);
    program.says = NEW "\n";
    asked(ZB_OK, ZB_KEY_OTHER);
    assert_int_equal(service.keys.state, ZB_KEY_OTHER);
    assert_true(service.keys.asked_at.ms != 0);
    program.says = NULL;
    asked(ZB_E_CANCELED, ZB_KEY_GOOD);
    assert_int_equal(service.keys.state, ZB_KEY_OTHER);
}

#define story(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int
main(void)
{
    if (geteuid() != 0) {
        return 77; /* what root consented to is root's */
    }
    const struct CMUnitTest tests[] = {
        story(the_key_is_the_one_of_the_file),
        story(one_that_is_in_force_is_left),
        story(root_has_to_consent),
        story(root_consents_to_what_is_declared),
        story(a_passphrase_gets_another_salt),
        story(what_is_no_key_is_refused),
        story(whose_key_is_not_known_is_in_the_way),
        story(only_who_writes_changes_it),
        story(the_key_has_to_be_the_trees_own),
        story(what_fails_is_told),
        story(others_are_waited_for_and_not_for_ever),
        story(a_program_gives_it),
        story(it_is_only_tried),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
