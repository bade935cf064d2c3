#include "zfs_test.h"

#include <errno.h>

static const struct zb_zfs_setprop copy_props[] = {
    {.name = "readonly", .number = ZB_ZFS_ON},
    {.name = "canmount", .number = ZB_ZFS_CANMOUNT_NOAUTO},
    {.name = "mountpoint", .text = "none"},
    {.name = "quota", .number = 100u << 20},
    {.name = "zbaton:uuid", .text = "x"},
};
#define COPY_PROPS (sizeof copy_props / sizeof copy_props[0])

static void
clone_has_its_properties(void **state)
{
    (void)state;
    struct zb_err err;
    struct zb_zfs_props p = {0};
    const struct zb_zfs_setprop bad[] = {{.name = "canmount", .text = "noauto"}};
    make_copy("zta/t/web");
    snapshot("zta/t/web@a");
    ok(zb_zfs_clone("zta/t/clone", "zta/t/web@a", copy_props, COPY_PROPS, &err));
    ok(zb_zfs_props_get("zta/t/clone", &p, &err));
    assert_true(p.readonly_on && p.readonly_source == ZB_ZFS_SOURCE_LOCAL);
    assert_int_equal(p.canmount, ZB_ZFS_CANMOUNT_NOAUTO);
    assert_int_equal(p.quota_bytes, 100u << 20);
    assert_string_equal(p.mountpoint, "none");
    assert_string_equal(zb_zfs_props_local(&p, "zbaton:uuid"), "x");
    assert_string_equal(p.origin, "zta/t/web@a");
    zb_zfs_props_close(&p);
    fails(ZB_E_EXISTS, zb_zfs_clone("zta/t/clone", "zta/t/web@a", NULL, 0, &err));
    fails(ZB_E_NOTFOUND, zb_zfs_clone("zta/t/x", "zta/t/web@no", NULL, 0, &err));
    fails(ZB_E_NOTFOUND, zb_zfs_clone("zta/t/no/x", "zta/t/web@a", NULL, 0, &err));
    fails(ZB_E_MISMATCH, zb_zfs_clone("ztb/t/x", "zta/t/web@a", NULL, 0, &err));
    fails(ZB_E_USAGE, zb_zfs_clone("zta/t/x", "zta/t/web", NULL, 0, &err));
    fails(ZB_E_FAILED, zb_zfs_clone("zta/t/x", "zta/t/web@a", bad, 1, &err));
    assert_false(exists("zta/t/x"));
    ok(zb_zfs_destroy("zta/t/clone", &err));
}

/* Rename, clone, promote: the snapshots up to the fork go over with all that hangs on them. */
static void
promote_takes_the_past_along(void **state)
{
    (void)state;
    struct zb_err err;
    struct zb_zfs_names names = {0};
    bool modified = true;
    make_mounted("zta/t/web", "/zt/web");
    write_file("/zt/web/f", "fork");
    snapshot("zta/t/web@old");
    snapshot("zta/t/web@fork");
    write_file("/zt/web/f", "later");
    snapshot("zta/t/web@later");
    write_file("/zt/web/tip", "tip");
    ok(zb_os_umount("zta/t/web", "/zt/web", &err));
    sh("zfs hold keep zta/t/web@old && zfs hold keep zta/t/web@later && zfs bookmark zta/t/web@old"
       " zta/t/web#old && zfs bookmark zta/t/web@later zta/t/web#later && zfs clone zta/t/web@old"
       " zta/t/old");
    uint64_t old = guid_of("zta/t/web@old");
    uint64_t fork = guid_of("zta/t/web@fork");
    uint64_t later = guid_of("zta/t/web@later");
    ok(zb_zfs_rename("zta/t/web", "zta/t/aside", &err));
    ok(zb_zfs_clone("zta/t/web", "zta/t/aside@fork", copy_props, COPY_PROPS, &err));
    uint64_t before = open_txg("zta");
    ok(zb_zfs_promote("zta/t/web", &err));
    printf("measured: promote %llu txgs\n", (unsigned long long)(open_txg("zta") - before));
    assert_int_equal(guid_of("zta/t/web@old"), old);
    assert_int_equal(guid_of("zta/t/web@fork"), fork);
    assert_int_equal(guid_of("zta/t/aside@later"), later);
    assert_false(exists("zta/t/web@later"));
    assert_false(exists("zta/t/aside@fork"));
    /* As after a rollback: the header of the log that was in use counts, and is no change. */
    assert_in_range(written_of("zta/t/web"), 0, 8192);
    ok(zb_zfs_modified("zta/t/web", &modified, &err));
    assert_false(modified);
    sh("zfs list -t bookmark zta/t/web#old && zfs list -t bookmark zta/t/aside#later");
    sh("test $(zfs get -Hp -o value userrefs zta/t/web@old) = 1 &&"
       " test $(zfs get -Hp -o value userrefs zta/t/aside@later) = 1");
    assert_string_equal(sh_out("zfs get -H -o value origin zta/t/old"), "zta/t/web@old");
    assert_string_equal(sh_out("zfs get -H -o value origin zta/t/aside"), "zta/t/web@fork");
    ok(zb_zfs_clones_list("zta/t/web@fork", &names, &err));
    assert_int_equal(names.count, 1);
    assert_string_equal(names.names[0], "zta/t/aside");
    zb_zfs_names_close(&names);
    ok(zb_zfs_clones_list("zta/t/aside@later", &names, &err));
    assert_int_equal(names.count, 0);
    zb_zfs_names_close(&names);
    ok(zb_os_mount("zta/t/aside", "/zt/web", 0, &err));
    sh("test $(cat /zt/web/f)$(cat /zt/web/tip) = latertip");
    ok(zb_os_umount("zta/t/aside", "/zt/web", &err));
    fails(ZB_E_REFUSED, zb_zfs_promote("zta/t/web", &err));
    assert_contains(err.msg, "not a clone");
    fails(ZB_E_NOTFOUND, zb_zfs_promote("zta/t/none", &err));
    sh("zfs release keep zta/t/web@old; zfs release keep zta/t/aside@later; zfs destroy zta/t/old");
    sh("zfs destroy -r zta/t/aside && zfs destroy -r zta/t/web");
}

static void
promote_names_what_is_in_the_way(void **state)
{
    (void)state;
    struct zb_err err;
    struct sender s = {0};
    make_mounted("zta/t/web", "/zt/web");
    write_random("/zt/web/f", 4u << 20);
    ok(zb_os_umount("zta/t/web", "/zt/web", &err));
    snapshot("zta/t/web@same");
    snapshot("zta/t/web@fork");
    ok(zb_zfs_clone("zta/t/clone", "zta/t/web@fork", copy_props, COPY_PROPS, &err));
    snapshot("zta/t/clone@same");
    fails(ZB_E_EXISTS, zb_zfs_promote("zta/t/clone", &err));
    assert_contains(err.msg, "snapshot same of its own");
    sh("zfs destroy zta/t/clone@same");
    sender_start(&s, "zta/t/web@fork", NULL);
    fails(ZB_E_HELD, zb_zfs_promote("zta/t/clone", &err));
    (void)sender_end(&s);
    ok(zb_zfs_promote("zta/t/clone", &err));
    sh("zfs destroy zta/t/web && zfs destroy -r zta/t/clone");
}

static void
destroy_is_of_one_empty_dataset(void **state)
{
    (void)state;
    struct zb_err err;
    make_mounted("zta/t/web", "/zt/web");
    make_copy("zta/t/web/a");
    snapshot("zta/t/web/a@s");
    fails(ZB_E_HELD, zb_zfs_destroy("zta/t/web", &err));
    fails(ZB_E_HELD, zb_zfs_destroy("zta/t/web/a", &err));
    assert_contains(err.msg, "zta/t/web/a");
    sh("zfs destroy zta/t/web/a@s");
    ok(zb_zfs_destroy("zta/t/web/a", &err));
    fails(ZB_E_HELD, zb_zfs_destroy("zta/t/web", &err)); /* mounted */
    ok(zb_os_umount("zta/t/web", "/zt/web", &err));
    ok(zb_zfs_destroy("zta/t/web", &err));
    fails(ZB_E_NOTFOUND, zb_zfs_destroy("zta/t/web", &err));
    fails(ZB_E_USAGE, zb_zfs_destroy("zta/t/web@s", &err));
}

/* Neither wants the key. What inherits its key from outside stays with it; of an encryption root
 * of its own the clone is one too once it is promoted. */
static void
encrypted_without_its_key(void **state)
{
    (void)state;
    struct zb_err err;
    struct zb_zfs_props p = {0};
    bool modified = true;
    sh("echo 12345678 >/zt/key && zfs create -o encryption=on -o keyformat=passphrase -o"
       " pbkdf2iters=100000 -o keylocation=file:///zt/key -o mountpoint=none zta/t/own &&"
       " zfs create -o canmount=noauto zta/t/own/web && zfs snapshot -r zta/t/own@fork &&"
       " zfs snapshot -r zta/t/own@later && zfs unload-key zta/t/own");
    ok(zb_zfs_rename("zta/t/own/web", "zta/t/own/aside", &err));
    ok(zb_zfs_clone("zta/t/own/web", "zta/t/own/aside@fork", copy_props, COPY_PROPS, &err));
    ok(zb_zfs_promote("zta/t/own/web", &err));
    ok(zb_zfs_props_get("zta/t/own/web", &p, &err));
    assert_true(p.encrypted && !p.key_available);
    assert_string_equal(p.encryption_root, "zta/t/own");
    zb_zfs_props_close(&p);
    ok(zb_zfs_modified("zta/t/own/web", &modified, &err));
    assert_false(modified);

    ok(zb_zfs_rename("zta/t/own", "zta/t/aside", &err));
    ok(zb_zfs_clone("zta/t/own", "zta/t/aside@fork", copy_props, COPY_PROPS, &err));
    ok(zb_zfs_promote("zta/t/own", &err));
    ok(zb_zfs_props_get("zta/t/own", &p, &err));
    assert_true(p.encrypted && !p.key_available);
    printf("measured: encryption root of a promoted clone of a root: %s, of the rescue: %s\n",
           p.encryption_root, sh_out("zfs get -H -o value encryptionroot zta/t/aside"));
    assert_string_equal(p.encryption_root, "zta/t/own");
    zb_zfs_props_close(&p);
    sh("zfs load-key -L file:///zt/key zta/t/own");
    assert_string_equal(sh_out("zfs get -H -o value keystatus zta/t/aside"), "available");
    ok(zb_os_mount("zta/t/own", "/zt/web", ZB_OS_MOUNT_RW, &err));
    write_file("/zt/web/f", "f");
    ok(zb_os_umount("zta/t/own", "/zt/web", &err));
    sh("zfs unload-key zta/t/own");
    ok(zb_zfs_modified("zta/t/own", &modified, &err));
    assert_true(modified);
    sh("zfs load-key -L file:///zt/key zta/t/own && zfs snapshot zta/t/own@f && zfs unload-key"
       " zta/t/own");
    ok(zb_zfs_modified("zta/t/own", &modified, &err));
    assert_false(modified);
}

TESTS(clone, TEST(clone_has_its_properties), TEST(promote_takes_the_past_along),
      TEST(promote_names_what_is_in_the_way), TEST(destroy_is_of_one_empty_dataset),
      TEST(encrypted_without_its_key));
