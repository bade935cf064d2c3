/* Two trees of files: what the one has that the other lacks, or has otherwise. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/compare.h"

struct trees {
    char dir[32];
    int one;
    int other;
    char told[4096];
};

static int
tree_open(const char *dir, const char *name)
{
    char path[64];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(mkdir(path, 0700), 0);
    int fd = open(path, O_RDONLY | O_DIRECTORY);
    assert_true(fd >= 0);
    return fd;
}

static int
setup(void **state)
{
    struct trees *t = calloc(1, sizeof *t);
    zb_strcopy(t->dir, sizeof t->dir, "/tmp/zbaton-compare-XXXXXX");
    assert_non_null(mkdtemp(t->dir));
    t->one = tree_open(t->dir, "one");
    t->other = tree_open(t->dir, "other");
    *state = t;
    return 0;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int
teardown(void **state)
{
    struct trees *t = *state;
    (void)close(t->one);
    (void)close(t->other);
    assert_int_equal(nftw(t->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    free(t);
    return 0;
}

static void
file_make(int dir, const char *name, const char *content)
{
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    (void)close(fd);
}

static void
dir_make(int dir, const char *name)
{
    assert_int_equal(mkdirat(dir, name, 0700), 0);
}

static void
on_change(void *ctx, char change, const char *path, uint64_t bytes)
{
    struct trees *t = ctx;
    size_t used = strlen(t->told);
    (void)snprintf(t->told + used, sizeof t->told - used, "%c %s %u\n", change, path,
                   (unsigned)bytes);
}

static void
assert_told(struct trees *t, const char *prefix, int other, const char *expected)
{
    struct zb_compare compare = {.on_change = on_change, .ctx = t};
    struct zb_err err;
    t->told[0] = '\0';
    assert_int_equal(zb_compare_trees(&compare, prefix, t->one, other, &err), ZB_OK);
    assert_string_equal(t->told, expected);
}

static void
equal_trees_say_nothing(void **state)
{
    struct trees *t = *state;
    for (int i = 0; i < 2; i++) {
        int dir = i == 0 ? t->one : t->other;
        file_make(dir, "a", "same");
        dir_make(dir, "d");
        file_make(dir, "d/b", "");
        assert_int_equal(symlinkat("a", dir, "l"), 0);
        assert_int_equal(mkfifoat(dir, "f", 0600), 0);
    }
    file_make(t->other, "only-there", "is not asked for");
    assert_told(t, "", t->other, "");
}

static void
what_is_new_or_other_is_told_in_order(void **state)
{
    struct trees *t = *state;
    file_make(t->one, "content", "left");
    file_make(t->other, "content", "righ");
    file_make(t->one, "size", "longer");
    file_make(t->other, "size", "long");
    file_make(t->one, "new", "123");
    dir_make(t->one, "dir");
    dir_make(t->one, "dir/below");
    file_make(t->one, "dir/below/file", "12");
    assert_int_equal(symlinkat("x", t->one, "link"), 0);
    assert_int_equal(symlinkat("y", t->other, "link"), 0);
    assert_told(t, "", t->other,
                "M content 4\n"
                "+ dir 0\n"
                "+ dir/below 0\n"
                "+ dir/below/file 2\n"
                "M link 0\n"
                "+ new 3\n"
                "M size 6\n");
    assert_told(t, "log", -1,
                "+ log/content 4\n"
                "+ log/dir 0\n"
                "+ log/dir/below 0\n"
                "+ log/dir/below/file 2\n"
                "+ log/link 0\n"
                "+ log/new 3\n"
                "+ log/size 6\n");
}

static void
another_kind_is_another_content(void **state)
{
    struct trees *t = *state;
    dir_make(t->one, "a");
    file_make(t->one, "a/b", "1");
    file_make(t->other, "a", "");
    file_make(t->one, "c", "");
    dir_make(t->other, "c");
    assert_told(t, "", t->other, "M a 0\n+ a/b 1\nM c 0\n");
}

/* A link in the other tree does not lead out of it. */
static void
links_are_not_followed(void **state)
{
    struct trees *t = *state;
    file_make(t->one, "a", "same");
    file_make(t->one, "target", "same");
    file_make(t->other, "target", "same");
    assert_int_equal(symlinkat("target", t->other, "a"), 0);
    dir_make(t->one, "d");
    file_make(t->one, "d/a", "1");
    assert_int_equal(symlinkat("/", t->other, "d"), 0);
    assert_told(t, "", t->other, "M a 4\nM d 0\n+ d/a 1\n");
}

static void
a_large_file_is_compared_to_its_end(void **state)
{
    struct trees *t = *state;
    static char content[300000];
    memset(content, 'x', sizeof content - 1);
    file_make(t->one, "a", content);
    file_make(t->other, "a", content);
    assert_told(t, "", t->other, "");
    content[sizeof content - 2] = 'y';
    file_make(t->other, "a", content);
    assert_told(t, "", t->other, "M a 299999\n");
}

static void
too_deep_is_an_error(void **state)
{
    struct trees *t = *state;
    struct zb_compare compare = {.on_change = on_change, .ctx = t};
    struct zb_err err;
    int at = dup(t->one);
    for (int i = 0; i <= ZB_COMPARE_DEPTH_MAX; i++) {
        dir_make(at, "d");
        int next = openat(at, "d", O_RDONLY | O_DIRECTORY);
        (void)close(at);
        at = next;
    }
    (void)close(at);
    assert_int_equal(zb_compare_trees(&compare, "", t->one, -1, &err), ZB_E_LIMIT);
}

int
main(void)
{
#define tree_test(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        tree_test(equal_trees_say_nothing),
        tree_test(what_is_new_or_other_is_told_in_order),
        tree_test(another_kind_is_another_content),
        tree_test(links_are_not_followed),
        tree_test(a_large_file_is_compared_to_its_end),
        tree_test(too_deep_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
