#include "unit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/types.h"
#include "os/holder.h"

static struct zb_os_holders holders;

static struct zb_os_holder *
add(enum zb_os_holder_kind kind, const char *path)
{
    struct zb_os_holder *h = &holders.list[holders.count++];
    *h = (struct zb_os_holder){.kind = kind, .pid = 812, .fd = -1};
    zb_strcopy(h->comm, sizeof h->comm, "psql");
    zb_strcopy(h->dataset, sizeof h->dataset, "tank/web");
    zb_strcopy(h->path, sizeof h->path, path);
    return h;
}

static void
expect(size_t size, const char *wanted)
{
    char buf[2000];
    memset(buf, 'x', sizeof buf);
    zb_os_holders_format(&holders, buf, size);
    assert_string_equal(buf, wanted);
    assert_true(strlen(buf) < size);
}

static void
phrases(void **state)
{
    (void)state;
    static const struct {
        enum zb_os_holder_kind kind;
        const char *phrase;
    } all[] = {
        {ZB_OS_HOLDER_FD, "pid 812 (psql) has /p open"},
        {ZB_OS_HOLDER_CWD, "pid 812 (psql) works in /p"},
        {ZB_OS_HOLDER_ROOT, "pid 812 (psql) has its root in /p"},
        {ZB_OS_HOLDER_EXE, "pid 812 (psql) runs /p"},
        {ZB_OS_HOLDER_MAP, "pid 812 (psql) has /p mapped"},
        {ZB_OS_HOLDER_NAMESPACE,
         "pid 812 (psql) has tank/web mounted at /p in another mount namespace (77)"},
        {ZB_OS_HOLDER_MOUNT, "tank/web is mounted at /p"},
        {ZB_OS_HOLDER_NESTED, "/p is mounted inside it"},
        {ZB_OS_HOLDER_LOOP, "/p uses a file in tank/web"},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        holders.count = 0;
        add(all[i].kind, "/p")->mnt_ns = 77;
        expect(500, all[i].phrase);
    }
}

static void
lists(void **state)
{
    (void)state;
    holders = (struct zb_os_holders){0};
    expect(100, "");
    add(ZB_OS_HOLDER_FD, "/srv/web/log");
    add(ZB_OS_HOLDER_CWD, "/srv/web")->detached = true;
    expect(500, "pid 812 (psql) has /srv/web/log open; "
                "pid 812 (psql) works in /srv/web (of an unmounted file system)");
    holders.more_count = 3;
    expect(500, "pid 812 (psql) has /srv/web/log open; "
                "pid 812 (psql) works in /srv/web (of an unmounted file system); and 3 more");
    expect(100, "pid 812 (psql) has /srv/web/log open; and 4 more");
    expect(50, "5 more");
    expect(10, "");
}

static void
finds_by_device(void **state)
{
    (void)state;
    struct zb_err err;
    struct stat st;
    char self[64];
    bool found = false;
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    assert_int_equal(fstat(fd, &st), 0);
    struct zb_os_holder_target target = {"tank/web", st.st_dev};
    assert_int_equal(zb_os_holders_find(&target, 1, &holders, &err), ZB_OK);
    snprintf(self, sizeof self, "/proc/%d/status", (int)getpid());
    for (size_t i = 0; i < holders.count; i++) {
        found = found || (holders.list[i].pid == getpid() && holders.list[i].fd == fd &&
                          strcmp(holders.list[i].path, self) == 0);
    }
    /* On a busy host other holders of /proc may come first. */
    assert_true(found || holders.more_count > 0);
    close(fd);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(phrases),
        cmocka_unit_test(lists),
        cmocka_unit_test(finds_by_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
