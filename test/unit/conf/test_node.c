#include "unit.h"

#include <sys/stat.h>
#include <unistd.h>

#include "conf/node.h"

static char path[] = "/tmp/zbaton-node-XXXXXX";

static void
file_put(const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int
setup(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int
teardown(void **state)
{
    (void)state;
    return unlink(path);
}

static void
fields_and_defaults(void **state)
{
    (void)state;
    struct zb_conf_node conf = {0};
    struct zb_err err;

    file_put("node = vm1\nroot = \"pool1/services\"\nlisten = \"[fd00::1]:7979\"\n"
             "log-level = debug\nrun-dir = \"/run/x\"\n");
    if (zb_conf_node_load(path, &conf, &err) != ZB_OK) {
        fail_msg("%s", err.msg);
    }
    assert_string_equal(conf.node, "vm1");
    assert_string_equal(conf.root, "pool1/services");
    assert_string_equal(conf.listen, "[fd00::1]:7979");
    assert_string_equal(conf.group, "zbaton");
    assert_string_equal(conf.state_dir, "/var/lib/zbaton");
    assert_string_equal(conf.run_dir, "/run/x");
    assert_string_equal(conf.commands_dir, "/etc/zbaton/commands");
    assert_string_equal(conf.fence_command, "");
    assert_int_equal(conf.fence_timeout_ms, 60000);
    assert_int_equal(conf.log_level, ZB_LOG_DEBUG);
}

static void
unsafe_files(void **state)
{
    (void)state;
    struct zb_conf_node conf = {.node = "untouched"};
    struct zb_err err;
    char expected[128];

    file_put("node = vm1\nroot = tank\nlisten = \"10.0.0.1:1\"\n");
    assert_int_equal(chmod(path, 0666), 0);
    assert_int_equal(zb_conf_node_load(path, &conf, &err), ZB_E_REFUSED);
    (void)snprintf(expected, sizeof expected, "%s: others than root may write it", path);
    assert_string_equal(err.msg, expected);
    assert_int_equal(chmod(path, 0664), 0);
    assert_int_equal(zb_conf_node_load(path, &conf, &err), ZB_OK); /* group root */
    assert_int_equal(chown(path, 0, 65534), 0);
    assert_int_equal(zb_conf_node_load(path, &conf, &err), ZB_E_REFUSED);
    assert_int_equal(chown(path, 65534, 0), 0);
    assert_int_equal(zb_conf_node_load(path, &conf, &err), ZB_E_REFUSED);
    (void)snprintf(expected, sizeof expected, "%s: not owned by root", path);
    assert_string_equal(err.msg, expected);
    (void)snprintf(expected, sizeof expected, "chown root %s", path);
    assert_string_equal(err.hint, expected);
    assert_int_equal(chown(path, 0, 0), 0);
    assert_int_equal(chmod(path, 0600), 0);
}

static void
no_file_no_text(void **state)
{
    (void)state;
    struct zb_conf_node conf;
    struct zb_err err;
    FILE *file = fopen(path, "w");

    assert_int_equal(zb_conf_node_load("/nonexistent/zbatond.conf", &conf, &err), ZB_E_SYS);
    assert_string_equal(err.msg, "/nonexistent/zbatond.conf: No such file or directory");
    assert_int_equal(zb_conf_node_load("/", &conf, &err), ZB_E_SYS);
    assert_string_equal(err.msg, "/: read: Is a directory");
    assert_non_null(file);
    assert_int_equal(fwrite("node\0", 1, 5, file), 5);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(zb_conf_node_load(path, &conf, &err), ZB_E_FORMAT);
    assert_non_null(strstr(err.msg, ": not a text"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_and_defaults),
        cmocka_unit_test(unsafe_files),
        cmocka_unit_test(no_file_no_text),
    };
    if (geteuid() != 0) {
        return 77; /* the file must be root's: meson shows it as skipped */
    }
    return cmocka_run_group_tests(tests, setup, teardown);
}
