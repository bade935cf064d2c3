/* Giving up root for good, in a child process each; skipped when not root. */
#include "unit.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/priv.h"

/* Runs fn in a child; its exit status. */
static int
in_child(int (*fn)(void))
{
    pid_t pid;
    int status;

    if (geteuid() != 0) {
        skip();
    }
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(fn());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int
drop_into_empty_root(void)
{
    char dir[] = "/tmp/zb-priv-XXXXXX";
    struct zb_err err;

    if (mkdtemp(dir) == NULL || zb_os_priv_drop("nobody", dir, &err) != ZB_OK) {
        return 1;
    }
    if (geteuid() == 0 || access("/tmp", F_OK) == 0 || setuid(0) == 0) {
        return 2;
    }
    return chdir("..") == 0 && access("tmp", F_OK) == 0 ? 3 : 0;
}

static void
test_drop(void **state)
{
    (void)state;
    assert_int_equal(in_child(drop_into_empty_root), 0);
    (void)!system("rmdir /tmp/zb-priv-?????? 2>/dev/null");
}

static int
drop_to_root(void)
{
    struct zb_err err;
    return (int)zb_os_priv_drop("root", NULL, &err);
}

static int
drop_to_nobody_known(void)
{
    struct zb_err err;
    enum zb_rc rc = zb_os_priv_drop("no-such-user", NULL, &err);

    return rc == ZB_E_NOTFOUND && strstr(err.hint, "useradd") == NULL ? 1 : (int)rc;
}

static int
drop_into_missing_root(void)
{
    struct zb_err err;
    return (int)zb_os_priv_drop("nobody", "/no/such/directory", &err);
}

static void
test_refusals(void **state)
{
    (void)state;
    assert_int_equal(in_child(drop_to_root), ZB_E_USAGE);
    assert_int_equal(in_child(drop_to_nobody_known), ZB_E_NOTFOUND);
    assert_int_equal(in_child(drop_into_missing_root), ZB_E_SYS);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_drop),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
