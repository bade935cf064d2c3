/* Devices of volumes, in a kernel that does what each story says. */
#include "unit.h"

#include <unistd.h>

#include "keeper/internal.h"
#include "keeper/volume.h"
#include "os/volume.h"

#define NAME "pool/web/disk"

static struct {
    int64_t now_ms;
    enum zb_zfs_hold_state held;
    bool there, marked;
    int64_t comes_after_ms; /* of volmode=dev; -1: never */
    int64_t comes_at_ms;
    bool stays;    /* whatever volmode says */
    uint64_t mode; /* volmode as it is stored; 0: by nobody */
    bool writable;
    char sets[256]; /* what was set, one after the other */
} world;

struct zb_mono __wrap_zb_mono_now(void);
int __wrap_usleep(useconds_t us);
enum zb_rc __wrap_zb_zfs_held(const char *const *datasets, size_t count, struct zb_zfs_held *held,
                              struct zb_err *err);
enum zb_rc __wrap_zb_zfs_props_get(const char *name, struct zb_zfs_props *props,
                                   struct zb_err *err);
bool __wrap_zb_zfs_props_find(const struct zb_zfs_props *props, const char *name,
                              struct zb_zfs_value *v);
const char *__wrap_zb_zfs_props_local(const struct zb_zfs_props *props, const char *name);
enum zb_rc __wrap_zb_zfs_props_set(const char *dataset, const struct zb_zfs_setprop *props,
                                   size_t count, struct zb_err *err);
enum zb_rc __wrap_zb_os_volumes_each(const char *dataset,
                                     enum zb_rc (*add)(void *ctx, const char *name, dev_t dev,
                                                       struct zb_err *err),
                                     void *ctx, struct zb_err *err);
enum zb_rc __wrap_zb_os_volume_writable(const char *dataset, bool *writable, struct zb_err *err);
enum zb_rc __wrap_zb_os_volume_link(const char *name, const char *dataset, struct zb_err *err);

struct zb_mono
__wrap_zb_mono_now(void)
{
    return (struct zb_mono){world.now_ms};
}

int
__wrap_usleep(useconds_t us)
{
    world.now_ms += (int64_t)us / 1000;
    return 0;
}

enum zb_rc
__wrap_zb_zfs_held(const char *const *datasets, size_t count, struct zb_zfs_held *held,
                   struct zb_err *err)
{
    (void)err;
    assert_int_equal(count, 1);
    assert_string_equal(datasets[0], NAME);
    held->state = world.held;
    return ZB_OK;
}

enum zb_rc
__wrap_zb_zfs_props_get(const char *name, struct zb_zfs_props *props, struct zb_err *err)
{
    (void)err;
    *props = (struct zb_zfs_props){.type = ZB_ZFS_VOLUME};
    zb_strcopy(props->name, sizeof(props->name), name);
    return ZB_OK;
}

const char *
__wrap_zb_zfs_props_local(const struct zb_zfs_props *props, const char *name)
{
    (void)props;
    return world.marked && strcmp(name, "zbaton:service") == 0 ? "web" : NULL;
}

bool
__wrap_zb_zfs_props_find(const struct zb_zfs_props *props, const char *name, struct zb_zfs_value *v)
{
    (void)props;
    *v = (struct zb_zfs_value){.number = world.mode, .source = ZB_ZFS_SOURCE_LOCAL};
    return world.mode != 0 && strcmp(name, "volmode") == 0;
}

static void
property_set(const struct zb_zfs_setprop *p)
{
    size_t used = strlen(world.sets);

    (void)snprintf(world.sets + used, sizeof(world.sets) - used, "%s%s=%d", used > 0 ? " " : "",
                   p->name, (int)p->number);
    if (strcmp(p->name, "volmode") == 0) {
        bool none = p->number == ZB_ZFS_VOLMODE_NONE;
        world.there = none ? world.there && world.stays : world.there;
        world.comes_at_ms =
            none || world.comes_after_ms < 0 ? -1 : world.now_ms + world.comes_after_ms;
    }
}

enum zb_rc
__wrap_zb_zfs_props_set(const char *dataset, const struct zb_zfs_setprop *props, size_t count,
                        struct zb_err *err)
{
    (void)err;
    assert_string_equal(dataset, NAME);
    for (size_t i = 0; i < count; i++) {
        property_set(&props[i]);
    }
    return ZB_OK;
}

enum zb_rc
__wrap_zb_os_volumes_each(const char *dataset,
                          enum zb_rc (*add)(void *ctx, const char *name, dev_t dev,
                                            struct zb_err *err),
                          void *ctx, struct zb_err *err)
{
    world.there = world.there || (world.comes_at_ms >= 0 && world.now_ms >= world.comes_at_ms);
    return world.there ? add(ctx, dataset, 1, err) : ZB_OK;
}

enum zb_rc
__wrap_zb_os_volume_writable(const char *dataset, bool *writable, struct zb_err *err)
{
    (void)dataset;
    (void)err;
    *writable = world.writable;
    return ZB_OK;
}

enum zb_rc
__wrap_zb_os_volume_link(const char *name, const char *dataset, struct zb_err *err)
{
    (void)err;
    assert_string_equal(name, "web/disk");
    assert_string_equal(dataset, NAME);
    return ZB_OK;
}

static int
setup(void **state)
{
    (void)state;
    memset(&world, 0, sizeof(world));
    world.comes_at_ms = -1;
    world.marked = world.writable = true;
    return 0;
}

static void
it_is_hidden_once_nothing_has_it_open(void **state)
{
    struct zb_err err;
    (void)state;

    world.there = true;
    assert_int_equal(zb_keeper_volume_hide(NAME, &err), ZB_OK);
    assert_string_equal(world.sets, "volmode=3 readonly=1");
    assert_false(world.there);
}

/* The kernel's thread for devices of the pool would wait for its last close. */
static void
an_open_one_is_left_as_it_is(void **state)
{
    struct zb_err err;
    (void)state;

    world.there = true;
    world.held = ZB_ZFS_HELD;
    assert_int_equal(zb_keeper_volume_hide(NAME, &err), ZB_E_HELD);
    assert_string_equal(world.sets, "");
    assert_in_range(world.now_ms, 400, 1000);
}

static void
one_that_does_not_go_is_said(void **state)
{
    struct zb_err err;
    (void)state;

    world.there = world.stays = true;
    assert_int_equal(zb_keeper_volume_hide(NAME, &err), ZB_E_HELD);
    assert_non_null(strstr(err.msg, "does not go"));
}

/* Of a dataset that is not zbaton's yet, readonly is its owner's; volmode is remembered. */
static void
one_without_marks_keeps_its_readonly(void **state)
{
    struct zb_err err;
    (void)state;

    world.there = true;
    world.marked = false;
    assert_int_equal(zb_keeper_volume_hide(NAME, &err), ZB_OK);
    assert_string_equal(world.sets, "volmode=3 zbaton:prior:volmode=0");
}

/* It goes as soon as nothing has it open: nobody is given it. */
static void
one_that_is_hidden_and_still_there_is_not_led(void **state)
{
    struct zb_conf_service conf = {.name = "web"};
    struct zb_err err;
    (void)state;

    world.there = true;
    world.mode = ZB_ZFS_VOLMODE_NONE;
    assert_int_equal(zb_keeper_volume_lead(NULL, &conf, "disk", NAME, &err), ZB_E_HELD);
    assert_string_equal(world.sets, "");
}

static void
it_is_led_writable(void **state)
{
    struct zb_conf_service conf = {.name = "web"};
    struct zb_err err;
    (void)state;

    world.comes_after_ms = 3000;
    assert_int_equal(zb_keeper_volume_lead(NULL, &conf, "disk", NAME, &err), ZB_OK);
    assert_string_equal(world.sets, "readonly=0 volmode=2");
    assert_in_range(world.now_ms, 3000, 3100);
}

static void
one_that_does_not_come_is_put_back(void **state)
{
    struct zb_err err;
    (void)state;

    world.comes_after_ms = -1;
    assert_int_equal(zb_keeper_volume_show(NULL, NAME, true, &err), ZB_E_TIMEOUT);
    assert_string_equal(world.sets, "readonly=0 volmode=2 volmode=3 readonly=1");
    assert_in_range(world.now_ms, 10000, 10100);
}

/* What uses it goes on: only who made it takes it away again. */
static void
one_that_was_there_is_not_taken_away(void **state)
{
    struct zb_conf_service conf = {.name = "web"};
    struct zb_err err;
    (void)state;

    world.there = true;
    world.writable = false;
    assert_int_equal(zb_keeper_volume_lead(NULL, &conf, "disk", NAME, &err), ZB_E_MISMATCH);
    assert_string_equal(world.sets, "readonly=0");
    assert_true(world.there);
}

/* Whose device was not seen, for want of a link: at rest too, unless something has it open. */
static void
all_are_put_to_rest(void **state)
{
    struct zb_zfs_props props = {.type = ZB_ZFS_VOLUME, .name = NAME};
    const struct zb_zfs_props *list[] = {&props};
    struct zb_kdataset dataset = {.rel = "disk", .marked = 1};
    const struct zb_keeper_view view = {.count = 1, .datasets = &dataset, .props = list};
    struct zb_err err;
    (void)state;

    world.held = ZB_ZFS_HELD;
    assert_int_equal(zb_keeper_volumes_rest(&view, &err), ZB_E_HELD);
    assert_string_equal(world.sets, "");
    world.held = ZB_ZFS_FREE;
    assert_int_equal(zb_keeper_volumes_rest(&view, &err), ZB_OK);
    assert_non_null(strstr(world.sets, "readonly=1"));
    assert_non_null(strstr(world.sets, "volmode=3"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(it_is_hidden_once_nothing_has_it_open, setup),
        cmocka_unit_test_setup(an_open_one_is_left_as_it_is, setup),
        cmocka_unit_test_setup(one_that_does_not_go_is_said, setup),
        cmocka_unit_test_setup(one_without_marks_keeps_its_readonly, setup),
        cmocka_unit_test_setup(one_that_is_hidden_and_still_there_is_not_led, setup),
        cmocka_unit_test_setup(it_is_led_writable, setup),
        cmocka_unit_test_setup(one_that_does_not_come_is_put_back, setup),
        cmocka_unit_test_setup(one_that_was_there_is_not_taken_away, setup),
        cmocka_unit_test_setup(all_are_put_to_rest, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
