/*
 * Configuration files and what they give: NAME.conf with NAME.expect, which is the canonical text
 * that is printed, or the error. node-*.conf are zbatond.conf files, services-*.conf service files.
 * Argument: their directory. With ZB_GOLDEN_WRITE in the environment the .expect files are written.
 */
#include "unit.h"

#include <glob.h>
#include <libgen.h>
#include <unistd.h>

#include "conf/node.h"
#include "conf/service.h"

#define TEXT_SIZE 16384

static void
file_read(const char *path, char *text)
{
    FILE *file = fopen(path, "r");

    if (file == NULL) {
        fail_msg("cannot read %s", path);
    }
    size_t used = fread(text, 1, TEXT_SIZE - 1, file);
    text[used] = '\0';
    assert_int_equal(fclose(file), 0);
}

static void
file_write(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* zb_conf_node_load wants a file of root's: one in the directory of the test's own. */
static enum zb_rc
node_print(const char *name, const char *text, FILE *out, struct zb_err *err)
{
    struct zb_conf_node conf;

    file_write(name, text);
    enum zb_rc rc = zb_conf_node_load(name, &conf, err);
    if (rc == ZB_OK) {
        zb_conf_node_print(&conf, out);
    }
    assert_int_equal(unlink(name), 0);
    return rc;
}

static enum zb_rc
services_print(const char *name, const char *text, FILE *out, struct zb_err *err)
{
    struct zb_conf_services services = {0};
    enum zb_rc rc = zb_conf_services_parse(text, name, NULL, &services, err);

    if (rc == ZB_OK) {
        zb_conf_services_print(&services, out);
    }
    zb_conf_services_close(&services);
    return rc;
}

/* What the text gives: printed, or the error and its newline. */
static enum zb_rc
result(const char *name, const char *text, char *printed)
{
    struct zb_err err;
    FILE *out = fmemopen(printed, TEXT_SIZE, "w");

    assert_non_null(out);
    printed[0] = '\0';
    enum zb_rc rc = strncmp(name, "node-", 5) == 0 ? node_print(name, text, out, &err)
                                                   : services_print(name, text, out, &err);
    if (rc != ZB_OK) {
        (void)fprintf(out, "%s\n", err.msg);
    }
    assert_int_equal(fclose(out), 0);
    return rc;
}

static void
golden_file(void **state)
{
    static char text[TEXT_SIZE];
    static char expected[TEXT_SIZE];
    static char printed[TEXT_SIZE];
    static char again[TEXT_SIZE];
    char *path = *state;
    char *copy = strdup(path);
    const char *name = basename(copy);
    char expect_path[1024];

    (void)snprintf(expect_path, sizeof expect_path, "%.*s.expect", (int)(strlen(path) - 5), path);
    file_read(path, text);
    enum zb_rc rc = result(name, text, printed);
    if (getenv("ZB_GOLDEN_WRITE") != NULL) {
        file_write(expect_path, printed);
    }
    file_read(expect_path, expected);
    assert_string_equal(printed, expected);
    if (rc == ZB_OK) {
        assert_int_equal(result(name, printed, again), ZB_OK);
        assert_string_equal(again, printed);
    }
    free(copy);
}

#define FILES_MAX 200

int
main(int argc, char **argv)
{
    static struct CMUnitTest tests[FILES_MAX];
    char pattern[1024];
    char directory[] = "/tmp/zbaton-golden-XXXXXX";
    glob_t files = {0};

    if (geteuid() != 0) {
        return 77; /* see node_print; meson shows it as skipped */
    }
    (void)snprintf(pattern, sizeof pattern, "%s/*.conf", argc == 2 ? argv[1] : "");
    if (glob(pattern, 0, NULL, &files) != 0 || files.gl_pathc > FILES_MAX ||
        mkdtemp(directory) == NULL || chdir(directory) != 0) {
        return 1;
    }
    for (size_t i = 0; i < files.gl_pathc; i++) {
        tests[i] = (struct CMUnitTest){.name = files.gl_pathv[i],
                                       .test_func = golden_file,
                                       .initial_state = files.gl_pathv[i]};
    }
    int failed = _cmocka_run_group_tests("golden", tests, files.gl_pathc, NULL, NULL);
    globfree(&files);
    return rmdir(directory) == 0 ? failed : 1;
}
