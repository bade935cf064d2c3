#include "zfs_test.h"

#include <errno.h>
#include <unistd.h>

static void
create_and_read_back(void **state)
{
    (void)state;
    struct zb_err err;
    struct zb_zfs_props p = {0};
    struct zb_zfs_value v;
    const struct zb_zfs_setprop props[] = {
        {.name = "readonly", .number = ZB_ZFS_ON},
        {.name = "canmount", .number = ZB_ZFS_CANMOUNT_NOAUTO},
        {.name = "mountpoint", .text = "/srv/x y"},
        {.name = "quota", .number = 64u << 20},
        {.name = "zbaton:uuid", .text = "11111111-2222-4333-8444-555555555555"},
    };
    ok(zb_zfs_create("zta/t/web", props, 5, &err));
    fails(ZB_E_EXISTS, zb_zfs_create("zta/t/web", props, 5, &err));
    fails(ZB_E_NOTFOUND, zb_zfs_create("zta/t/no/web", props, 5, &err));
    ok(zb_zfs_create("zta/t/web/log", NULL, 0, &err));
    ok(zb_zfs_props_get("zta/t/web", &p, &err));
    assert_int_equal(p.type, ZB_ZFS_FILESYSTEM);
    assert_int_equal(p.guid, guid_of("zta/t/web"));
    assert_int_equal(p.createtxg, sh_number("zfs get -Hp -o value createtxg zta/t/web"));
    assert_int_equal(p.available_bytes, sh_number("zfs get -Hp -o value available zta/t/web"));
    assert_int_equal(p.used_bytes, sh_number("zfs get -Hp -o value used zta/t/web"));
    assert_true(p.readonly_on);
    assert_int_equal(p.readonly_source, ZB_ZFS_SOURCE_LOCAL);
    assert_int_equal(p.canmount, ZB_ZFS_CANMOUNT_NOAUTO);
    assert_string_equal(p.mountpoint, "/srv/x y");
    assert_int_equal(p.mountpoint_source, ZB_ZFS_SOURCE_LOCAL);
    assert_int_equal(p.quota_bytes, 64u << 20);
    assert_string_equal(p.newest, "");
    assert_string_equal(p.token, "");
    assert_false(p.encrypted);
    assert_true(p.key_available);
    assert_string_equal(zb_zfs_props_local(&p, "zbaton:uuid"),
                        "11111111-2222-4333-8444-555555555555");
    zb_zfs_props_close(&p);

    ok(zb_zfs_props_get("zta/t/web/log", &p, &err));
    assert_true(p.readonly_on);
    assert_int_equal(p.readonly_source, ZB_ZFS_SOURCE_INHERITED);
    assert_int_equal(p.canmount, ZB_ZFS_ON);
    assert_int_equal(p.canmount_source, ZB_ZFS_SOURCE_DEFAULT);
    assert_int_equal(p.mountpoint_source, ZB_ZFS_SOURCE_INHERITED);
    assert_null(zb_zfs_props_local(&p, "zbaton:uuid"));
    assert_true(zb_zfs_props_find(&p, "zbaton:uuid", &v));
    assert_int_equal(v.source, ZB_ZFS_SOURCE_INHERITED);
    assert_string_equal(v.source_name, "zta/t/web");
    zb_zfs_props_close(&p);
    fails(ZB_E_NOTFOUND, zb_zfs_props_get("zta/t/missing", &p, &err));
    fails(ZB_E_USAGE, zb_zfs_props_get("zta/t/%recv", &p, &err));
}

static void
set_and_inherit(void **state)
{
    (void)state;
    struct zb_err err;
    struct zb_zfs_props p = {0};
    const struct zb_zfs_setprop props[] = {
        {.name = "readonly", .number = ZB_ZFS_OFF},   {.name = "atime", .number = ZB_ZFS_OFF},
        {.name = "refquota", .number = 32u << 20},    {.name = "zbaton:term", .text = "7"},
        {.name = "mountpoint", .text = "/srv/other"},
    };
    const char *const plain[] = {"readonly", "zbaton:term", "mountpoint"};
    const char *const bad[] = {"atime", "canmount"};

    make_copy("zta/t/web");
    ok(zb_zfs_props_set("zta/t/web", props, 5, &err));
    ok(zb_zfs_props_get("zta/t/web", &p, &err));
    assert_false(p.readonly_on);
    assert_int_equal(p.readonly_source, ZB_ZFS_SOURCE_LOCAL);
    assert_int_equal(p.refquota_bytes, 32u << 20);
    assert_string_equal(p.mountpoint, "/srv/other");
    assert_string_equal(zb_zfs_props_local(&p, "zbaton:term"), "7");
    zb_zfs_props_close(&p);
    assert_string_equal(sh_out("zfs get -H -o value,source atime zta/t/web"), "off\tlocal");

    ok(zb_zfs_props_inherit("zta/t/web", plain, 3, &err));
    ok(zb_zfs_props_get("zta/t/web", &p, &err));
    assert_int_equal(p.readonly_source, ZB_ZFS_SOURCE_DEFAULT);
    assert_int_equal(p.mountpoint_source, ZB_ZFS_SOURCE_INHERITED);
    assert_string_equal(p.mountpoint, "none");
    assert_null(zb_zfs_props_local(&p, "zbaton:term"));
    zb_zfs_props_close(&p);

    fails(ZB_E_USAGE, zb_zfs_props_inherit("zta/t/web", bad, 2, &err));
    assert_contains(err.msg, "canmount");
    assert_string_equal(sh_out("zfs get -H -o value,source atime zta/t/web"), "off\tlocal");
    /* the kernel panics when it is asked for a dataset that is gone */
    fails(ZB_E_NOTFOUND, zb_zfs_props_inherit("zta/t/gone", plain, 1, &err));
}

static void
set_names_what_was_refused(void **state)
{
    (void)state;
    struct zb_err err;
    const struct zb_zfs_setprop props[] = {
        {.name = "zbaton:term", .text = "7"},
        {.name = "canmount", .text = "noauto"}, /* index properties are numbers */
    };
    const struct zb_zfs_setprop refquota = {.name = "refquota", .number = 1024};
    make_mounted("zta/t/web", "/zt/web");
    fails(ZB_E_FAILED, zb_zfs_props_set("zta/t/web", props, 2, &err));
    assert_contains(err.msg, "canmount");
    assert_int_equal(err.sys_errno, EINVAL);
    write_random("/zt/web/f", 1u << 20);
    ok(zb_zfs_pool_sync("zta/t/web", &err));
    fails(ZB_E_NOSPACE, zb_zfs_props_set("zta/t/web", &refquota, 1, &err));
    fails(ZB_E_NOTFOUND, zb_zfs_props_set("zta/t/missing", props, 1, &err));
    ok(zb_os_umount("zta/t/web", "/zt/web", &err));
}

static void
names_of_all_properties(void **state)
{
    (void)state;
    struct zb_err err;
    struct zb_zfs_props p = {0};
    const struct zb_zfs_setprop props[] = {{.name = "zbaton:a", .text = "1"},
                                           {.name = "zbaton:b", .text = "2"}};
    unsigned ours = 0;
    unsigned all = 0;
    void *cursor = NULL;

    ok(zb_zfs_create("zta/t/web", props, 2, &err));
    ok(zb_zfs_props_get("zta/t/web", &p, &err));
    for (const char *name; (name = zb_zfs_props_next(&p, &cursor)) != NULL; all++) {
        ours += strncmp(name, "zbaton:", 7) == 0;
    }
    assert_int_equal(ours, 2);
    assert_true(all > ours && all < 30); /* defaults and figures are not among them */
    zb_zfs_props_close(&p);
}

static void
stored_readonly_shows_under_a_rw_mount(void **state)
{
    (void)state;
    struct zb_err err;
    struct zb_zfs_props p = {0};
    make_mounted("zta/t/web", "/zt/web");
    ok(zb_zfs_props_get("zta/t/web", &p, &err));
    assert_true(p.readonly_on);
    zb_zfs_props_close(&p);
    ok(zb_os_umount("zta/t/web", "/zt/web", &err));
}

static void
pool_facts(void **state)
{
    (void)state;
    struct zb_err err;
    uint64_t guid = 0;
    assert_int_equal(zb_zfs_pool_state("zta"), ZB_ZFS_POOL_ONLINE);
    assert_int_equal(zb_zfs_pool_state("zta/t/web@x"), ZB_ZFS_POOL_ONLINE);
    assert_int_equal(zb_zfs_pool_state("nopool"), ZB_ZFS_POOL_ABSENT);
    assert_string_equal(zb_zfs_pool_state_word(ZB_ZFS_POOL_SUSPENDED), "suspended");
    ok(zb_zfs_pool_guid("zta/t", &guid, &err));
    assert_int_equal(guid, sh_number("zpool get -Hp -o value guid zta"));
    fails(ZB_E_NOTFOUND, zb_zfs_pool_guid("nopool", &guid, &err));
    ok(zb_zfs_pool_sync("zta", &err));
    fails(ZB_E_NOTFOUND, zb_zfs_pool_sync("nopool", &err));
}

static void
wait_for_state(enum zb_zfs_pool_state wanted)
{
    for (int i = 0; i < 1500; i++) {
        if (zb_zfs_pool_state("zts") == wanted) {
            return;
        }
        usleep(20000);
    }
    fail_msg("zts is %s", zb_zfs_pool_state_word(zb_zfs_pool_state("zts")));
}

/* A pool whose disk takes no more: new calls are refused, none waits. */
static void
suspended_pool(void **state)
{
    (void)state;
    struct child c;
    struct zb_err err;
    struct zb_zfs_tree tree = {0};
    struct zb_zfs_held held;
    const char *snap = "zts@s";
    const char *dataset = "zts";
    sh("mkdir /zt/disk && mount -t tmpfs -o size=24M none /zt/disk && truncate -s 256M /zt/disk/f"
       " && zpool create -f -o cachefile=none -m /zt/s zts /zt/disk/f");
    child_start(&c,
                "echo; exec dd if=/dev/urandom of=/zt/s/f bs=1M count=60 conv=fsync 2>/dev/null");
    wait_for_state(ZB_ZFS_POOL_SUSPENDED);
    int64_t before = now_us();
    assert_int_equal(zb_zfs_pool_state("zts/any"), ZB_ZFS_POOL_SUSPENDED);
    fails(ZB_E_SUSPENDED, zb_zfs_snapshot(&snap, 1, NULL, &err));
    fails(ZB_E_SUSPENDED, zb_zfs_tree_observe("zts", &tree, &err));
    fails(ZB_E_SUSPENDED, zb_zfs_held(&dataset, 1, &held, &err));
    assert_true(now_us() - before < 2000000);
    sh("mount -o remount,size=300M /zt/disk && zpool clear zts");
    wait_for_state(ZB_ZFS_POOL_ONLINE);
    child_end(&c);
    ok(zb_zfs_snapshot(&snap, 1, NULL, &err));
    sh("zpool destroy zts && umount /zt/disk");
}

static void
init_is_counted(void **state)
{
    (void)state;
    struct zb_err err;
    struct zb_zfs_version version;
    uint64_t guid = 0;
    const char *name = "zta/t";
    ok(zb_zfs_init(&version, &err));
    assert_true(version.major >= 2);
    assert_string_equal(version.text, sh_out("cat /sys/module/zfs/version"));
    zb_zfs_close();
    ok(zb_zfs_guids(&name, 1, &guid, &err));
}

static void
tree_is_observed_in_order(void **state)
{
    (void)state;
    struct zb_err err;
    struct zb_zfs_tree tree = {0};
    static const char *const names[] = {"zta/t/web", "zta/t/web/a", "zta/t/web/a/deep",
                                        "zta/t/web/a-b", "zta/t/web/vol"};
    make_copy("zta/t/web");
    make_copy("zta/t/web/a-b");
    make_copy("zta/t/web/a");
    make_copy("zta/t/web/a/deep");
    make_copy("zta/t/website");
    sh("zfs create -s -V 8M zta/t/web/vol; zfs snapshot -r zta/t/web@s1;"
       " zfs snapshot zta/t/web/a@s2; zfs clone zta/t/website@s0 zta/t/clone 2>/dev/null || true");
    ok(zb_zfs_tree_observe("zta/t/web", &tree, &err));
    assert_int_equal(tree.count, 5);
    for (size_t i = 0; i < 5; i++) {
        const struct zb_zfs_props *p = &tree.datasets[i];
        char snap[300];
        assert_string_equal(p->name, names[i]);
        assert_int_equal(p->type, i == 4 ? ZB_ZFS_VOLUME : ZB_ZFS_FILESYSTEM);
        assert_string_equal(p->newest, i == 1 ? "s2" : "s1");
        snprintf(snap, sizeof snap, "%s@%s", p->name, p->newest);
        assert_int_equal(p->newest_guid, guid_of(snap));
        assert_false(p->inconsistent);
        assert_int_equal(p->written_bytes, 0);
    }
    zb_zfs_tree_close(&tree);
    fails(ZB_E_NOTFOUND, zb_zfs_tree_observe("zta/t/missing", &tree, &err));
    fails(ZB_E_NOTFOUND, zb_zfs_tree_observe("nopool/t", &tree, &err));
}

static void
clone_has_no_newest_of_its_own(void **state)
{
    (void)state;
    struct zb_err err;
    struct zb_zfs_tree tree = {0};
    make_copy("zta/t/web");
    sh("zfs snapshot zta/t/web@s && zfs clone zta/t/web@s zta/t/clone");
    ok(zb_zfs_tree_observe("zta/t/clone", &tree, &err));
    assert_string_equal(tree.datasets[0].newest, "");
    assert_int_equal(tree.datasets[0].newest_guid, 0);
    assert_string_equal(tree.datasets[0].origin, "zta/t/web@s");
    zb_zfs_tree_close(&tree);
}

static void
children_are_listed(void **state)
{
    (void)state;
    struct zb_err err;
    struct zb_zfs_names names = {0};
    make_copy("zta/t/web");
    make_copy("zta/t/web/b");
    make_copy("zta/t/web/a");
    make_copy("zta/t/website");
    ok(zb_zfs_children_list("zta/t/web", &names, &err));
    assert_int_equal(names.count, 3);
    assert_string_equal(names.names[0], "zta/t/web");
    assert_string_equal(names.names[1], "zta/t/web/a");
    assert_string_equal(names.names[2], "zta/t/web/b");
    zb_zfs_names_close(&names);
    fails(ZB_E_NOTFOUND, zb_zfs_children_list("zta/t/missing", &names, &err));
}

static void
snapshots_and_bookmarks_are_listed(void **state)
{
    (void)state;
    struct zb_err err;
    struct zb_zfs_snaps snaps = {0};
    make_copy("zta/t/web");
    make_copy("zta/t/web/child");
    ok(zb_zfs_snaps_list("zta/t/web", &snaps, &err));
    assert_int_equal(snaps.count, 0);
    zb_zfs_snaps_close(&snaps);
    sh("zfs snapshot 'zta/t/web@with space' && zfs snapshot zta/t/web@b && zfs snapshot zta/t/web@a"
       " && zfs snapshot zta/t/web/child@c && zfs bookmark zta/t/web@b '#m'");
    ok(zb_zfs_snaps_list("zta/t/web", &snaps, &err));
    assert_int_equal(snaps.count, 3);
    assert_string_equal(snaps.snaps[0].name, "with space");
    assert_string_equal(snaps.snaps[1].name, "b");
    assert_string_equal(snaps.snaps[2].name, "a");
    assert_int_equal(snaps.snaps[0].guid, guid_of("zta/t/web@with space"));
    assert_true(snaps.snaps[0].createtxg < snaps.snaps[1].createtxg);
    uint64_t b = snaps.snaps[1].guid;
    assert_ptr_equal(zb_zfs_snaps_find_guid(&snaps, b), &snaps.snaps[1]);
    assert_null(zb_zfs_snaps_find_guid(&snaps, b + 1));
    zb_zfs_snaps_close(&snaps);
    ok(zb_zfs_bookmarks_list("zta/t/web", &snaps, &err));
    assert_int_equal(snaps.count, 1);
    assert_string_equal(snaps.snaps[0].name, "m");
    assert_int_equal(snaps.snaps[0].guid, b);
    zb_zfs_snaps_close(&snaps);
    fails(ZB_E_NOTFOUND, zb_zfs_snaps_list("zta/t/missing", &snaps, &err));
    fails(ZB_E_NOTFOUND, zb_zfs_bookmarks_list("zta/t/missing", &snaps, &err));
}

static void
guids_of_many(void **state)
{
    (void)state;
    struct zb_err err;
    const char *const names[] = {"zta/t/web@s", "zta/t/web", "zta/t/web/a@s"};
    const char *const missing[] = {"zta/t/web@s", "zta/t/web@gone"};
    uint64_t guids[3] = {1, 2, 3};
    make_copy("zta/t/web");
    make_copy("zta/t/web/a");
    sh("zfs snapshot -r zta/t/web@s");
    fails(ZB_E_NOTFOUND, zb_zfs_guids(missing, 2, guids, &err));
    assert_contains(err.msg, "zta/t/web@gone");
    assert_int_equal(guids[0], 1);
    ok(zb_zfs_guids(names, 3, guids, &err));
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(guids[i], guid_of(names[i]));
    }
}

TESTS(props, TEST(create_and_read_back), TEST(set_and_inherit), TEST(set_names_what_was_refused),
      TEST(names_of_all_properties), TEST(stored_readonly_shows_under_a_rw_mount), TEST(pool_facts),
      TEST(suspended_pool), TEST(init_is_counted), TEST(tree_is_observed_in_order),
      TEST(clone_has_no_newest_of_its_own), TEST(children_are_listed),
      TEST(snapshots_and_bookmarks_are_listed), TEST(guids_of_many));
