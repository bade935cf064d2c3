/* Keys of a service that are loaded and unloaded again; the calls into ZFS are replaced. */
#include "unit.h"

#include <stdatomic.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "keeper/internal.h"
#include "runner/runner.h"

#define DIGITS "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

/* What ZFS has: the roots whose key is loaded, and the first byte of the key that is theirs. */
static struct {
    char loaded[4][ZB_DATASET_NAME_SIZE];
    uint8_t first;
    unsigned format;
    uint64_t salt;
    bool in_use; /* what is loaded, by a peek */
    int loads, tries, inherits;
} zfs;

static int64_t
loaded_find(const char *root)
{
    for (int i = 0; i < 4; i++) {
        if (strcmp(zfs.loaded[i], root) == 0) {
            return i;
        }
    }
    return -1;
}

enum zb_rc __wrap_zb_zfs_props_get(const char *name, struct zb_zfs_props *props,
                                   struct zb_err *err);
bool __wrap_zb_zfs_key_params_find(const struct zb_zfs_props *root,
                                   struct zb_zfs_key_params *params);
enum zb_rc __wrap_zb_zfs_key_load(const char *root, const uint8_t key[ZB_ZFS_KEY_SIZE],
                                  bool only_try, struct zb_err *err);
enum zb_rc __wrap_zb_zfs_key_unload(const char *root, struct zb_err *err);
enum zb_rc __wrap_zb_zfs_key_inherit(const char *root, struct zb_err *err);

enum zb_rc
__wrap_zb_zfs_props_get(const char *name, struct zb_zfs_props *props, struct zb_err *err)
{
    (void)err;
    *props = (struct zb_zfs_props){.encrypted = true, .key_available = loaded_find(name) >= 0};
    zb_strcopy(props->name, sizeof(props->name), name);
    return ZB_OK;
}

bool
__wrap_zb_zfs_key_params_find(const struct zb_zfs_props *root, struct zb_zfs_key_params *params)
{
    (void)root;
    *params = (struct zb_zfs_key_params){
        .format = zfs.format, .salt = zfs.salt, .iterations = zfs.salt != 0 ? 1 : 0};
    return true;
}

enum zb_rc
__wrap_zb_zfs_key_load(const char *root, const uint8_t key[ZB_ZFS_KEY_SIZE], bool only_try,
                       struct zb_err *err)
{
    int64_t free_at = loaded_find("");

    zfs.tries += only_try ? 1 : 0;
    zfs.loads += only_try ? 0 : 1;
    if (key[1] != zfs.first) {
        return zb_err_set(err, ZB_E_MISMATCH, "another");
    }
    if (!only_try && loaded_find(root) < 0) {
        zb_strcopy(zfs.loaded[free_at], sizeof(zfs.loaded[0]), root);
    }
    return ZB_OK;
}

enum zb_rc
__wrap_zb_zfs_key_unload(const char *root, struct zb_err *err)
{
    int64_t at = loaded_find(root);

    if (at >= 0 && zfs.in_use) {
        return zb_err_set(err, ZB_E_HELD, "in use");
    }
    if (at >= 0) {
        zfs.loaded[at][0] = '\0';
    }
    return ZB_OK;
}

enum zb_rc
__wrap_zb_zfs_key_inherit(const char *root, struct zb_err *err)
{
    (void)root;
    (void)err;
    zfs.inherits++;
    return ZB_OK;
}

/* The program that gives the key, asked by any thread. */
static struct {
    const char *says; /* NULL: it fails */
    atomic_int asked, wrong;
    atomic_bool hangs;
    char line[64], group[64];
} program;

enum zb_rc __wrap_zb_runner_ask(const struct zb_runner *r, const char *line, uint32_t timeout_ms,
                                int cancel_fd, struct zb_once_output *output, struct zb_err *err);

enum zb_rc
__wrap_zb_runner_ask(const struct zb_runner *r, const char *line, uint32_t timeout_ms,
                     int cancel_fd, struct zb_once_output *output, struct zb_err *err)
{
    const struct timespec pause = {.tv_nsec = 1000000};

    /* A group of its own each time; room enough for what is too long to be seen. */
    if (timeout_ms == 0 || cancel_fd != -1 || strcmp(r->service, "web") != 0 ||
        strcmp(r->commands_dir, "/c") != 0 || strcmp(r->group, program.group) == 0 ||
        output->size <= ZB_KEEPER_KEY_TEXT_MAX + 1 || output->used != 0) {
        program.wrong++;
    }
    zb_strcopy(program.group, sizeof(program.group), r->group);
    zb_strcopy(program.line, sizeof(program.line), line);
    program.asked++;
    while (program.hangs) {
        (void)nanosleep(&pause, NULL);
    }
    if (program.says == NULL) {
        return zb_err_set(err, ZB_E_FAILED, "exit status 1: sealed");
    }
    output->used = strlen(program.says) < output->size ? strlen(program.says) : output->size;
    memcpy(output->bytes, program.says, output->used);
    return ZB_OK;
}

/* A tree of three: the child is a root of its own, as it was received; of what carries no mark
 * nothing is loaded. */
struct fixture {
    struct zb_keeper k;
    struct zb_keeper_service s;
    struct zb_keeper_view view;
    struct zb_zfs_props tree[3];
    const struct zb_zfs_props *props[3];
    struct zb_kdataset datasets[3];
    char path[32];
};

static int
setup(void **state)
{
    static const char *const names[] = {"p/web", "p/web/log", "p/web/mine"};
    struct fixture *f = calloc(1, sizeof(*f));
    int fd;

    assert_non_null(f);
    memset(&zfs, 0, sizeof(zfs));
    zfs.first = 1;
    zfs.format = ZB_ZFS_KEY_HEX;
    static const struct zb_conf_node node = {.root = "p"};
    f->k.conf = &node;
    f->k.key_end_fd = -1;
    assert_int_equal(pthread_mutex_init(&f->k.lock, NULL), 0);
    assert_int_equal(pthread_mutex_init(&f->k.key_lock, NULL), 0);
    zb_strcopy(f->path, sizeof(f->path), "/tmp/zb-keys-XXXXXX");
    fd = mkstemp(f->path);
    assert_true(fd >= 0 && write(fd, DIGITS, sizeof(DIGITS) - 1) == sizeof(DIGITS) - 1);
    (void)close(fd);
    zb_strcopy(f->s.name, sizeof(f->s.name), "web");
    f->s.defined = true;
    f->s.conf.flavour = ZB_CONF_FLAVOUR_RAW;
    zb_strcopy(f->s.conf.key_file, sizeof(f->s.conf.key_file), f->path);
    f->k.services[0] = &f->s;
    f->k.services_count = 1;
    f->view.count = 3;
    f->view.datasets = f->datasets;
    f->view.props = f->props;
    zb_strcopy(f->view.dataset, sizeof(f->view.dataset), names[0]);
    for (int i = 0; i < 3; i++) {
        f->tree[i].encrypted = true;
        f->tree[i].encryption_root = names[i];
        zb_strcopy(f->tree[i].name, sizeof(f->tree[i].name), names[i]);
        f->props[i] = &f->tree[i];
        zb_strcopy(f->datasets[i].rel, ZB_REL_SIZE, i > 0 ? names[i] + 6 : "");
        f->datasets[i].marked = i < 2;
    }
    *state = f;
    return 0;
}

static void
declare_command(struct fixture *f)
{
    static const struct zb_conf_node node = {.root = "p", .node = "vm1", .commands_dir = "/c"};

    f->k.conf = &node;
    zb_strcopy(f->s.conf.name, sizeof(f->s.conf.name), "web");
    f->s.conf.key_file[0] = '\0';
    zb_strcopy(f->s.conf.key_command, sizeof(f->s.conf.key_command), "vault web");
    memset(&program, 0, sizeof(program));
    program.says = DIGITS "\n";
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    (void)unlink(f->path);
    free(f);
    return 0;
}

static void
assert_loaded(bool wanted)
{
    assert_int_equal(loaded_find("p/web") >= 0, wanted);
    assert_int_equal(loaded_find("p/web/log") >= 0, wanted);
    assert_true(loaded_find("p/web/mine") < 0);
}

static void
they_stay_as_long_as_somebody_is_about_to_mount(void **state)
{
    struct fixture *f = *state;
    struct zb_err err;

    assert_int_equal(zb_keeper_keys_begin(&f->k, "web", &f->view, -1, &err), ZB_OK);
    assert_loaded(true);
    assert_int_equal(zfs.loads, 2);
    assert_int_equal(zb_keeper_keys_begin(&f->k, "web", &f->view, -1, &err), ZB_OK);
    assert_int_equal(zfs.tries, 2); /* loaded already: compared alone */
    zb_keeper_keys_end(&f->k, "web");
    zb_keeper_keys_unload(&f->k, "web", &f->view);
    assert_loaded(true);
    zb_keeper_keys_end(&f->k, "web");
    assert_loaded(true);
    zb_keeper_keys_unload(&f->k, "web", &f->view);
    assert_loaded(false);
}

static void
a_leader_keeps_them(void **state)
{
    struct fixture *f = *state;
    struct zb_err err;

    assert_int_equal(zb_keeper_keys_begin(&f->k, "web", &f->view, -1, &err), ZB_OK);
    zb_keeper_keys_end(&f->k, "web");
    f->s.stage = ZB_STAGE_SEALED; /* an aborted move mounts it again */
    zb_keeper_keys_unload(&f->k, "web", &f->view);
    assert_loaded(true);
    zb_keeper_keys_inherit(&f->k, "web", &f->view);
    assert_int_equal(zfs.inherits, 1); /* the child that carries a mark */
    f->s.stage = ZB_STAGE_REST;
    zb_keeper_keys_unload(&f->k, "web", &f->view);
    assert_loaded(false);
}

/* A demotion does not wait for whoever is loading keys. */
static void
they_stay_where_others_take_too_long(void **state)
{
    struct fixture *f = *state;
    struct zb_err err;

    assert_int_equal(zb_keeper_keys_begin(&f->k, "web", &f->view, -1, &err), ZB_OK);
    zb_keeper_keys_end(&f->k, "web");
    assert_int_equal(pthread_mutex_lock(&f->k.key_lock), 0);
    zb_keeper_keys_unload_soon(&f->k, "web", &f->view);
    assert_int_equal(pthread_mutex_unlock(&f->k.key_lock), 0);
    assert_loaded(true);
    zb_keeper_keys_unload_soon(&f->k, "web", &f->view);
    assert_loaded(false);
}

static void
what_is_not_below_the_root_dataset_stays_loaded(void **state)
{
    struct fixture *f = *state;
    static const struct zb_conf_node node = {.root = "p/web"};

    f->k.conf = &node;
    zb_strcopy(zfs.loaded[0], sizeof(zfs.loaded[0]), "p/web");
    zb_strcopy(zfs.loaded[1], sizeof(zfs.loaded[1]), "p/web/log");
    zb_keeper_keys_unload(&f->k, "web", &f->view);
    assert_true(loaded_find("p/web") >= 0);
    assert_true(loaded_find("p/web/log") < 0);
}

static void
another_key_leaves_nothing_loaded(void **state)
{
    struct fixture *f = *state;
    struct zb_err err;

    zfs.first = 9;
    assert_int_equal(zb_keeper_keys_begin(&f->k, "web", &f->view, -1, &err), ZB_E_MISMATCH);
    assert_non_null(strstr(err.msg, "does not hold the key of p/web"));
    assert_loaded(false);
    assert_int_equal(zb_keeper_key_state(&f->k, "web", &f->view), ZB_KEY_OTHER);
    assert_int_equal(chmod(f->path, 0644), 0);
    assert_int_equal(zb_keeper_keys_begin(&f->k, "web", &f->view, -1, &err), ZB_E_REFUSED);
    assert_int_equal(zb_keeper_key_state(&f->k, "web", &f->view), ZB_KEY_UNFIT);
    assert_int_equal(unlink(f->path), 0);
    assert_int_equal(zb_keeper_keys_begin(&f->k, "web", &f->view, -1, &err), ZB_E_NOTFOUND);
    assert_int_equal(zb_keeper_key_state(&f->k, "web", &f->view), ZB_KEY_MISSING);
    assert_int_equal(f->s.keys.users, 0);
}

/* A set brought another key to the disk, and a peek has the earlier one in use: the kernel compares
 * with the disk alone. */
static void
what_is_loaded_has_to_be_what_is_on_disk(void **state)
{
    struct fixture *f = *state;
    struct zb_err err;

    assert_int_equal(zb_keeper_keys_begin(&f->k, "web", &f->view, -1, &err), ZB_OK);
    zb_keeper_keys_end(&f->k, "web");
    zfs.in_use = true;
    assert_int_equal(zb_keeper_keys_begin(&f->k, "web", &f->view, -1, &err), ZB_OK);
    zb_keeper_keys_end(&f->k, "web");
    f->s.keys.loaded[0] ^= 1; /* as if it had been another */
    assert_int_equal(zb_keeper_keys_begin(&f->k, "web", &f->view, -1, &err), ZB_E_BUSY);
    assert_non_null(strstr(err.msg, "in use with a key that was loaded before"));
    zfs.in_use = false;
    zfs.loads = 0;
    assert_int_equal(zb_keeper_keys_begin(&f->k, "web", &f->view, -1, &err), ZB_OK);
    assert_int_equal(zfs.loads, 2); /* let go of, and loaded anew */
    zb_keeper_keys_end(&f->k, "web");
}

static void
no_set_from_before_a_rekey_is_handed_over(void **state)
{
    struct fixture *f = *state;
    struct zb_err err;

    assert_int_equal(zb_keeper_keys_carried_check(&f->k, &f->s, &err), ZB_OK);
    f->s.keys.rekeyed = true;
    assert_int_equal(zb_keeper_keys_carried_check(&f->k, &f->s, &err), ZB_E_MISMATCH);
    zb_keeper_keys_carried(&f->k, &f->s);
    assert_int_equal(zb_keeper_keys_carried_check(&f->k, &f->s, &err), ZB_OK);
}

/* The file's text is the passphrase of what is there, with salt 5. */
static void
passphrase_use(const struct fixture *f)
{
    const struct zb_zfs_key_params params = {ZB_ZFS_KEY_PASSPHRASE, 5, 1};
    struct zb_keeper_key_text text;
    uint8_t key[ZB_ZFS_KEY_SIZE];
    struct zb_err err;

    zfs.format = ZB_ZFS_KEY_PASSPHRASE;
    zfs.salt = 5;
    assert_int_equal(zb_keeper_key_file_read(f->path, &text, &err), ZB_OK);
    assert_int_equal(zb_keeper_key_derive(text.bytes, text.size, &params, key, &err), ZB_OK);
    zfs.first = key[1];
}

static void
a_passphrase_is_tried_when_it_may_have_changed(void **state)
{
    struct fixture *f = *state;

    passphrase_use(f);
    assert_int_equal(zb_keeper_key_state(&f->k, "web", &f->view), ZB_KEY_GOOD);
    assert_int_equal(zb_keeper_key_state(&f->k, "web", &f->view), ZB_KEY_GOOD);
    assert_int_equal(zfs.tries, 1);
    zfs.salt = 6; /* the leader's key was changed, and came with a set */
    assert_int_equal(zb_keeper_key_state(&f->k, "web", &f->view), ZB_KEY_OTHER);
    assert_int_equal(zfs.tries, 2);
    assert_int_equal(chmod(f->path, 0400), 0);
    assert_int_equal(zb_keeper_key_state(&f->k, "web", &f->view), ZB_KEY_OTHER);
    assert_int_equal(zfs.tries, 3);
}

static void
a_file_that_went_and_came_back_is_tried(void **state)
{
    struct fixture *f = *state;
    char away[40];

    passphrase_use(f);
    assert_int_equal(zb_keeper_key_state(&f->k, "web", &f->view), ZB_KEY_GOOD);
    (void)snprintf(away, sizeof(away), "%s.away", f->path);
    assert_int_equal(rename(f->path, away), 0);
    assert_int_equal(zb_keeper_key_state(&f->k, "web", &f->view), ZB_KEY_MISSING);
    assert_int_equal(rename(away, f->path), 0);
    assert_int_equal(zb_keeper_key_state(&f->k, "web", &f->view), ZB_KEY_GOOD);
}

static void
a_program_gives_the_key(void **state)
{
    struct fixture *f = *state;
    struct zb_err err;

    declare_command(f);
    assert_int_equal(zb_keeper_keys_begin(&f->k, "web", &f->view, -1, &err), ZB_OK);
    assert_loaded(true);
    assert_int_equal(program.asked, 1); /* for both roots */
    assert_int_equal(zb_keeper_keys_begin(&f->k, "web", &f->view, -1, &err), ZB_OK);
    assert_int_equal(program.asked, 1); /* who began before has proven it */
    assert_int_equal(f->s.keys.users, 2);
    zb_keeper_keys_end(&f->k, "web");
    assert_string_equal(program.line, "vault web");
    zb_keeper_keys_end(&f->k, "web");
    zb_keeper_keys_unload(&f->k, "web", &f->view);
    assert_loaded(false);

    zfs.first = 9;
    assert_int_equal(zb_keeper_keys_begin(&f->k, "web", &f->view, -1, &err), ZB_E_MISMATCH);
    assert_non_null(strstr(err.msg, "key-command vault web does not hold the key of p/web"));
    program.says = "too short";
    assert_int_equal(zb_keeper_keys_begin(&f->k, "web", &f->view, -1, &err), ZB_E_FORMAT);
    assert_non_null(strstr(err.msg, "64 hexadecimal digits"));
    program.says = NULL;
    assert_int_equal(zb_keeper_keys_begin(&f->k, "web", &f->view, -1, &err), ZB_E_FAILED);
    assert_non_null(strstr(err.msg, "key-command: exit status 1: sealed"));
    assert_loaded(false);
    assert_int_equal(f->s.keys.users, 0);
    assert_int_equal(program.wrong, 0);
}

/* The state at a look so much later, and at the next one, when who was asked has answered. */
static enum zb_key_state
state_after(struct fixture *f, int64_t ms)
{
    enum zb_key_state before = f->s.keys.state;

    f->s.keys.asked_at.ms -= ms;
    assert_int_equal(zb_keeper_key_state(&f->k, "web", &f->view), before);
    assert_true(zb_keeper_key_asks_end(&f->k, (struct zb_mono){zb_mono_now().ms + 20000}));
    return zb_keeper_key_state(&f->k, "web", &f->view);
}

static void
a_program_is_not_asked_at_each_look(void **state)
{
    struct fixture *f = *state;

    declare_command(f);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(zb_keeper_key_state(&f->k, "web", &f->view), ZB_KEY_GOOD);
    }
    assert_int_equal(program.asked, 1);
    program.says = NULL;
    assert_int_equal(state_after(f, 58000), ZB_KEY_GOOD);
    assert_int_equal(program.asked, 1);
    assert_int_equal(state_after(f, 3000), ZB_KEY_UNFIT);
    program.says = DIGITS;
    assert_int_equal(state_after(f, 61000), ZB_KEY_GOOD);
    zfs.first = 9;
    assert_int_equal(state_after(f, 61000), ZB_KEY_OTHER);
    assert_int_equal(program.asked, 4);
    zfs.first = 1;
    zb_keeper_keys_forget(&f->k, &f->s); /* declared anew */
    assert_int_equal(zb_keeper_key_state(&f->k, "web", &f->view), ZB_KEY_GOOD);
    assert_int_equal(program.wrong, 0);
}

static void
no_look_waits_for_a_program_that_hangs(void **state)
{
    struct fixture *f = *state;

    declare_command(f);
    program.hangs = true;
    assert_int_equal(zb_keeper_key_state(&f->k, "web", &f->view), ZB_KEY_UNFIT); /* 2 s */
    assert_false(zb_keeper_key_asks_end(&f->k, zb_mono_now()));
    program.hangs = false;
    assert_true(zb_keeper_key_asks_end(&f->k, (struct zb_mono){zb_mono_now().ms + 20000}));
    assert_int_equal(zb_keeper_key_state(&f->k, "web", &f->view), ZB_KEY_GOOD);
    program.hangs = true;
    f->s.keys.asked_at.ms -= 61000;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(zb_keeper_key_state(&f->k, "web", &f->view), ZB_KEY_GOOD);
    }
    /* What it says of the declaration before counts for nothing, and is not waited for. */
    zb_keeper_keys_forget(&f->k, &f->s);
    zfs.first = 9;
    program.hangs = false;
    assert_true(zb_keeper_key_asks_end(&f->k, (struct zb_mono){zb_mono_now().ms + 20000}));
    assert_int_equal(f->s.keys.asked_at.ms, 0);
    zfs.first = 1;
    assert_int_equal(zb_keeper_key_state(&f->k, "web", &f->view), ZB_KEY_GOOD);
    assert_int_equal(program.asked, 3);
    assert_int_equal(program.wrong, 0);
}

/* A vault that does not answer holds up nobody who has the key loaded. */
static void
a_leader_with_its_key_asks_no_program(void **state)
{
    struct fixture *f = *state;
    struct zb_err err;

    declare_command(f);
    program.says = NULL;
    f->s.stage = ZB_STAGE_MOUNTED;
    f->tree[0].key_available = f->tree[1].key_available = true;
    assert_int_equal(zb_keeper_key_state(&f->k, "web", &f->view), ZB_KEY_GOOD);
    assert_int_equal(zb_keeper_keys_begin(&f->k, "web", &f->view, -1, &err), ZB_OK);
    zb_keeper_keys_end(&f->k, "web");
    assert_int_equal(program.asked, 0);
    f->tree[1].key_available = false;
    assert_int_equal(zb_keeper_keys_begin(&f->k, "web", &f->view, -1, &err), ZB_E_FAILED);
    f->s.stage = ZB_STAGE_REST; /* it may have been changed since */
    f->tree[1].key_available = true;
    assert_int_equal(zb_keeper_keys_begin(&f->k, "web", &f->view, -1, &err), ZB_E_FAILED);
    assert_int_equal(program.asked, 2);
}

/* Without a tree nothing says that the passphrase is its. */
static void
what_was_tried_is_of_the_tree_that_was_there(void **state)
{
    struct fixture *f = *state;

    passphrase_use(f);
    zfs.first++;
    assert_int_equal(zb_keeper_key_state(&f->k, "web", &f->view), ZB_KEY_OTHER);
    f->view.count = 0;
    assert_int_equal(zb_keeper_key_state(&f->k, "web", &f->view), ZB_KEY_GOOD);
    f->view.count = 3;
    assert_int_equal(zb_keeper_key_state(&f->k, "web", &f->view), ZB_KEY_OTHER);
}

static void
plain_services_are_left_alone(void **state)
{
    struct fixture *f = *state;
    struct zb_err err;

    f->s.conf.flavour = ZB_CONF_FLAVOUR_PLAIN;
    assert_int_equal(zb_keeper_keys_begin(&f->k, "web", &f->view, -1, &err), ZB_OK);
    zb_keeper_keys_end(&f->k, "web");
    zb_keeper_keys_inherit(&f->k, "web", &f->view);
    assert_int_equal(zb_keeper_key_state(&f->k, "web", &f->view), ZB_KEY_GOOD);
    assert_int_equal(zfs.loads + zfs.tries + zfs.inherits, 0);
    zb_strcopy(zfs.loaded[0], sizeof(zfs.loaded[0]), "p/web"); /* by its administrator */
    zb_keeper_keys_unload(&f->k, "web", &f->view);
    assert_true(loaded_find("p/web") >= 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        T(they_stay_as_long_as_somebody_is_about_to_mount),
        T(a_leader_keeps_them),
        T(they_stay_where_others_take_too_long),
        T(what_is_not_below_the_root_dataset_stays_loaded),
        T(another_key_leaves_nothing_loaded),
        T(what_is_loaded_has_to_be_what_is_on_disk),
        T(no_set_from_before_a_rekey_is_handed_over),
        T(a_passphrase_is_tried_when_it_may_have_changed),
        T(a_file_that_went_and_came_back_is_tried),
        T(a_program_gives_the_key),
        T(a_program_is_not_asked_at_each_look),
        T(no_look_waits_for_a_program_that_hangs),
        T(a_leader_with_its_key_asks_no_program),
        T(what_was_tried_is_of_the_tree_that_was_there),
        T(plain_services_are_left_alone),
    };
    if (geteuid() != 0) { /* a key file has to be root's */
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
