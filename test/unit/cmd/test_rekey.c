/* rekey: root's consent is there while the engine is asked, and not after it. */
#include "unit.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/cli.h"

static struct {
    char dir[32], conf[64], file[64];
    const char *wanted; /* what the consent says */
    enum zb_rc rc;
    int signal; /* comes meanwhile */
    int calls;
} world;

enum zb_rc __wrap_zb_cli_call(const struct zb_cli *cli, struct zb_client_call *call, json_t **data,
                              struct zb_err *err);

enum zb_rc
__wrap_zb_cli_call(const struct zb_cli *cli, struct zb_client_call *call, json_t **data,
                   struct zb_err *err)
{
    char text[128] = "";
    struct stat st;
    int fd = open(world.file, O_RDONLY | O_CLOEXEC);

    (void)cli;
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_true(read(fd, text, sizeof(text) - 1) >= 0);
    assert_int_equal(close(fd), 0);
    assert_string_equal(text, world.wanted);
    assert_string_equal(call->cmd, "rekey");
    json_decref(call->args);
    world.calls++;
    if (world.signal != 0) {
        (void)raise(world.signal);
    }
    if (world.rc != ZB_OK) {
        return zb_err_set(err, world.rc, "no");
    }
    *data = json_pack("{s:s, s:b, s:b, s:[]}", "service", "web", "changed", 1, "degraded", 1,
                      "members");
    return ZB_OK;
}

static int
setup(void **state)
{
    char sub[64];
    FILE *f;

    (void)state;
    memset(&world, 0, sizeof(world));
    if (geteuid() != 0) { /* only root can consent */
        return 0;
    }
    zb_strcopy(world.dir, sizeof(world.dir), "/tmp/zb-consent-XXXXXX");
    assert_non_null(mkdtemp(world.dir));
    (void)snprintf(sub, sizeof(sub), "%s/keeper", world.dir);
    assert_int_equal(mkdir(sub, 0700), 0);
    (void)snprintf(world.conf, sizeof(world.conf), "%s/conf", world.dir);
    (void)snprintf(world.file, sizeof(world.file), "%s/keeper/web.rekey", world.dir);
    f = fopen(world.conf, "we");
    assert_non_null(f);
    fprintf(f, "node = \"vm1\"\nroot = \"p/s\"\nlisten = \"127.0.0.1:1\"\nstate-dir = \"%s\"\n",
            world.dir);
    assert_int_equal(fclose(f), 0);
    return 0;
}

static int
teardown(void **state)
{
    char sub[64];

    (void)state;
    if (world.dir[0] == '\0') {
        return 0;
    }
    (void)unlink(world.conf);
    (void)snprintf(sub, sizeof(sub), "%s/keeper", world.dir);
    return rmdir(sub) == 0 ? rmdir(world.dir) : -1; /* nothing was left there */
}

static int
rekey(const char *service, const char *file, const char *command)
{
    static const struct zb_cli_command this = {.name = "rekey"};
    char *operands[] = {(char *)(uintptr_t)service};
    struct zb_cli cli = {.command = &this,
                         .conf_path = world.conf,
                         .operands_count = 1,
                         .operands = operands,
                         .show = {.out = stdout}};

    cli.values[ZB_OPT_KEY_FILE] = file;
    cli.values[ZB_OPT_KEY_COMMAND] = command;
    return zb_run_rekey(&cli);
}

static bool
consent_is_there(void)
{
    return access(world.file, F_OK) == 0;
}

static void
it_says_what_root_said(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        skip();
    }
    world.wanted = "key-file /root/web.key\n";
    assert_int_equal(rekey("web", "/root/web.key", NULL), ZB_EXIT_DEGRADED);
    assert_false(consent_is_there());
    world.wanted = "key-command vault web\n";
    world.rc = ZB_E_REFUSED;
    assert_int_equal(rekey("web", NULL, "vault web"), zb_rc_exit(ZB_E_REFUSED));
    assert_false(consent_is_there());
    assert_int_equal(world.calls, 2);
}

static void
without_it_nobody_is_asked(void **state)
{
    (void)state;
    assert_int_equal(rekey("web", NULL, NULL), zb_rc_exit(ZB_E_USAGE));
    assert_int_equal(rekey("web", "/key", "vault web"), zb_rc_exit(ZB_E_USAGE));
    assert_int_equal(rekey("../web", "/key", NULL), zb_rc_exit(ZB_E_USAGE));
    if (geteuid() != 0) {
        assert_int_equal(rekey("web", "/key", NULL), zb_rc_exit(ZB_E_REFUSED));
    } else {
        (void)unlink(world.conf);
        assert_int_not_equal(rekey("web", "/key", NULL), 0);
    }
    assert_int_equal(world.calls, 0);
}

static void
a_signal_takes_it_back(void **state)
{
    static const int signals[] = {SIGHUP, SIGINT, SIGTERM};

    (void)state;
    if (geteuid() != 0) {
        skip();
    }
    world.wanted = "key-file /key\n";
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        int status = 0;
        world.signal = signals[i];
        pid_t pid = fork();
        if (pid == 0) {
            (void)signal(signals[i],
                         SIG_DFL); /* it may be inherited as ignored, which is left so */
            (void)rekey("web", "/key", NULL);
            _exit(0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), signals[i]);
        assert_false(consent_is_there());
    }
}

#define story(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        story(it_says_what_root_said),
        story(without_it_nobody_is_asked),
        story(a_signal_takes_it_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
