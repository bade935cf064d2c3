/* Command lines without a shell, and which programs and units are acceptable. */
#include "unit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner/runner.h"

static void
words_are(const char *line, size_t count, const char *const *wanted)
{
    char buf[ZB_RUNNER_LINE_MAX];
    char *words[ZB_RUNNER_WORDS_MAX + 1];
    struct zb_err err;

    assert_int_equal(zb_runner_words_split(line, buf, words, &err), ZB_OK);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(words[i], wanted[i]);
    }
    assert_null(words[count]);
}

static void
test_words(void **state)
{
    char buf[ZB_RUNNER_LINE_MAX];
    char *words[ZB_RUNNER_WORDS_MAX + 1];
    char many[ZB_RUNNER_WORDS_MAX * 2 + 3];
    char *too_long = calloc(1, ZB_RUNNER_LINE_MAX + 1);
    struct zb_err err;
    (void)state;

    words_are("start", 1, (const char *const[]){"start"});
    words_are("  a\tb  c ", 3, (const char *const[]){"a", "b", "c"});
    words_are("a 'b c' \"d \\\" e\" f\\ g ''", 5,
              (const char *const[]){"a", "b c", "d \" e", "f g", ""});
    words_are("a $HOME;rm *|x>y `z`", 4, (const char *const[]){"a", "$HOME;rm", "*|x>y", "`z`"});
    assert_int_equal(zb_runner_words_split("", buf, words, &err), ZB_E_USAGE);
    assert_int_equal(zb_runner_words_split(" \t", buf, words, &err), ZB_E_USAGE);
    assert_int_equal(zb_runner_words_split("a 'b", buf, words, &err), ZB_E_USAGE);
    assert_int_equal(zb_runner_words_split("a \\", buf, words, &err), ZB_E_USAGE);
    for (size_t i = 0; i < sizeof(many) - 1; i++) {
        many[i] = i % 2 == 0 ? 'a' : ' ';
    }
    many[sizeof(many) - 1] = '\0';
    assert_int_equal(zb_runner_words_split(many, buf, words, &err), ZB_E_LIMIT);
    memset(too_long, 'a', ZB_RUNNER_LINE_MAX);
    assert_int_equal(zb_runner_words_split(too_long, buf, words, &err), ZB_E_LIMIT);
    free(too_long);
}

static void
file_make(const char *dir, const char *name, mode_t mode)
{
    char path[256];
    int fd;

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
    assert_true(fd >= 0);
    assert_int_equal(fchmod(fd, mode), 0);
    assert_int_equal(close(fd), 0);
}

static void
find(const char *dir, const char *name, enum zb_rc wanted)
{
    char path[ZB_PATH_SIZE];
    struct zb_err err;

    assert_int_equal(zb_runner_program_find(dir, name, path, &err), wanted);
}

static void
test_program(void **state)
{
    char dir[] = "/tmp/zb-commands-XXXXXX";
    char path[256];
    (void)state;

    if (geteuid() != 0) {
        skip();
    }
    assert_non_null(mkdtemp(dir));
    file_make(dir, "good", 0755);
    file_make(dir, "group-writable", 0775);
    file_make(dir, "plain", 0644);
    file_make(dir, "other", 0755);
    (void)snprintf(path, sizeof(path), "%s/other", dir);
    assert_int_equal(chown(path, 65534, 65534), 0);
    (void)snprintf(path, sizeof(path), "%s/link", dir);
    assert_int_equal(symlink("good", path), 0);
    find(dir, "good", ZB_OK);
    find(dir, "missing", ZB_E_NOTFOUND);
    find(dir, "group-writable", ZB_E_REFUSED);
    find(dir, "plain", ZB_E_REFUSED);
    find(dir, "other", ZB_E_REFUSED);
    find(dir, "link", ZB_E_REFUSED);
    find(dir, "../bin/sh", ZB_E_REFUSED);
    find(dir, "/bin/sh", ZB_E_REFUSED);
    find(dir, ".", ZB_E_REFUSED);
    find(dir, "-rf", ZB_E_REFUSED);
    find(dir, "", ZB_E_REFUSED);
    assert_int_equal(chmod(dir, 0777), 0);
    find(dir, "good", ZB_E_REFUSED);
    for (size_t i = 0; i < 5; i++) {
        static const char *const names[] = {"good", "group-writable", "plain", "other", "link"};
        (void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(dir), 0);
}

static void
test_unit(void **state)
{
    (void)state;
    assert_true(zb_runner_unit_valid("web.service"));
    assert_true(zb_runner_unit_valid("postgresql@15-main.service"));
    assert_true(zb_runner_unit_valid("dev-disk\\x2d.service"));
    assert_false(zb_runner_unit_valid("web"));
    assert_false(zb_runner_unit_valid(".service"));
    assert_false(zb_runner_unit_valid("-H.service"));
    assert_false(zb_runner_unit_valid("a/b.service"));
    assert_false(zb_runner_unit_valid("a b.service"));
    assert_false(zb_runner_unit_valid("web.timer"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_program),
        cmocka_unit_test(test_unit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
