/* keeper/sum.h over a directory of this host: what counts, what does not, and what cannot be read.
 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keeper/sum.h"

static char top[] = "/tmp/zbaton-sum-XXXXXX";
static char place[64];
static dev_t place_dev;

static struct zb_sum_options every = {.seed = 7, .share = ZB_SUM_ALL};

static void
say(const char *name, const char *text)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(close(fd), 0);
}

/* What the walk tells of the tree; to be freed. */
static char *
sums(const struct zb_sum_options *options)
{
    struct zb_sum s;
    struct zb_err err = {0};

    assert_int_equal(zb_sum_open(&s, options, &err), ZB_OK);
    if (zb_sum_tree(&s, "", place, place_dev, &err) != ZB_OK) {
        fail_msg("%s", err.msg);
    }
    char *text = zb_sum_text_new(&s);
    assert_non_null(text);
    zb_sum_close(&s);
    return text;
}

/* Whether a change shows; `total` (may be NULL) is the first line afterwards. */
static bool
differs(char **before)
{
    char *now = sums(&every);
    bool differ = strcmp(*before, now) != 0;

    free(*before);
    *before = now;
    return differ;
}

static void
expect_total(const char *text, unsigned names, unsigned files, unsigned read, unsigned bytes,
             unsigned unreadable)
{
    char total[96];

    (void)snprintf(total, sizeof(total), "total %u %u %u %u %u\n", names, files, read, bytes,
                   unreadable);
    if (strncmp(text, total, strlen(total)) != 0) {
        fail_msg("%.60s instead of %s", text, total);
    }
}

static int
setup(void **state)
{
    static int number;
    (void)state;

    struct stat st;

    (void)snprintf(place, sizeof(place), "%s/%d", top, number++);
    if (mkdir(place, 0755) != 0 || chdir(place) != 0 || stat(place, &st) != 0) {
        return 1;
    }
    place_dev = st.st_dev;
    return 0;
}

static void
test_what_counts(void **state)
{
    struct timespec then[2] = {{.tv_sec = 1000}, {.tv_sec = 2000}};
    char *text = sums(&every);
    (void)state;

    expect_total(text, 1, 0, 0, 0, 0);
    say("file", "one");
    assert_true(differs(&text));
    expect_total(text, 2, 1, 1, 3, 0);
    assert_false(differs(&text));
    say("file", "two");
    assert_true(differs(&text));
    assert_int_equal(utimensat(AT_FDCWD, "file", then, 0), 0);
    assert_false(differs(&text)); /* times do not */
    assert_int_equal(chmod("file", 0600), 0);
    assert_true(differs(&text));
    assert_int_equal(truncate("file", 4), 0);
    assert_true(differs(&text));
    assert_int_equal(rename("file", "other"), 0);
    assert_true(differs(&text));
    assert_int_equal(mkdir("dir", 0755), 0);
    assert_true(differs(&text));
    assert_int_equal(rename("other", "dir/other"), 0);
    assert_true(differs(&text));
    assert_int_equal(chmod("dir", 0700), 0);
    assert_true(differs(&text));
    if (geteuid() == 0) {
        assert_int_equal(chown("dir/other", 12, 0), 0);
        assert_true(differs(&text));
        assert_int_equal(chown("dir/other", 12, 13), 0);
        assert_true(differs(&text));
    }
    free(text);
}

static void
test_links_and_fifos(void **state)
{
    char *text = sums(&every);
    (void)state;

    assert_int_equal(symlink("nowhere", "link"), 0);
    assert_true(differs(&text));
    assert_int_equal(unlink("link"), 0);
    assert_int_equal(symlink("anywhere", "link"), 0);
    assert_true(differs(&text));
    assert_int_equal(symlink("/", "all"), 0); /* is not followed */
    assert_true(differs(&text));
    expect_total(text, 3, 0, 0, 0, 0);
    assert_int_equal(mkfifo("pipe", 0644), 0); /* is not opened */
    assert_true(differs(&text));
    say("file", "text");
    assert_true(differs(&text));
    assert_int_equal(link("file", "again"), 0);
    assert_true(differs(&text));
    expect_total(text, 6, 2, 2, 8, 0);
    /* A copy in its place is not the same. */
    assert_int_equal(unlink("again"), 0);
    say("again", "text");
    assert_true(differs(&text));
    free(text);
}

static void
test_any_name(void **state)
{
    struct zb_sum_options list = every;
    (void)state;

    list.list = true;
    say("a\nb", "x");
    say("\xc3\xa4\\", "x");
    char *text = sums(&list);
    assert_non_null(strstr(text, " a\\x0ab\n"));
    assert_non_null(strstr(text, " \\xc3\\xa4\\x5c\n"));
    assert_non_null(strstr(text, " .\n"));
    free(text);
}

static void
test_the_order_of_names_does_not_matter(void **state)
{
    char name[32];
    (void)state;

    for (int i = 0; i < 300; i++) {
        (void)snprintf(name, sizeof(name), "%d", i);
        say(name, name);
    }
    char *text = sums(&every);
    for (int i = 299; i >= 0; i--) { /* made anew the other way round */
        (void)snprintf(name, sizeof(name), "%d", i);
        assert_int_equal(unlink(name), 0);
        say(name, name);
    }
    assert_false(differs(&text));
    free(text);
}

/* Deeper than a path can be named, and than directories are kept open; names on both sides of the
 * one that leads down are found whatever the order. */
static void
test_a_very_deep_tree(void **state)
{
    const unsigned depth = 600;
    struct zb_sum_options other = every;
    char name[] = "a-name-of-some-length";
    (void)state;

    for (unsigned i = 0; i < depth; i++) {
        assert_int_equal(mkdir(name, 0755), 0);
        say("before", "1");
        say("zz-after", "2");
        assert_int_equal(chdir(name), 0);
    }
    char *text = sums(&every);
    expect_total(text, 3 * depth + 1, 2 * depth, 2 * depth, 2 * depth, 0);
    say("at the end", "3");
    assert_true(differs(&text));
    expect_total(text, 3 * depth + 2, 2 * depth + 1, 2 * depth + 1, 2 * depth + 1, 0);
    free(text);
    other.share = 0;
    text = sums(&other);
    expect_total(text, 3 * depth + 2, 2 * depth + 1, 0, 0, 0);
    free(text);
    assert_int_equal(chdir(top), 0);
}

static void
test_what_cannot_be_read_is_told(void **state)
{
    const bool root = geteuid() == 0;
    (void)state;

    say("closed", "text");
    assert_int_equal(chmod("closed", 0), 0);
    assert_int_equal(mkdir("shut", 0755), 0);
    say("shut/inside", "text");
    assert_int_equal(chmod("shut", 0), 0);
    assert_int_equal(chmod(top, 0755), 0);
    if (root) {
        assert_int_equal(seteuid(65534), 0);
    }
    char *text = sums(&every);
    if (root) {
        assert_int_equal(seteuid(0), 0);
    }
    expect_total(text, 3, 1, 0, 0, 2);
    assert_non_null(strstr(text, "error 13 closed\n"));
    assert_non_null(strstr(text, "error 13 shut\n"));
    if (root) {
        assert_true(differs(&text)); /* where it can be read it is not the same */
    }
    free(text);
    assert_int_equal(chmod("shut", 0755), 0);
}

/* Of a set that is large the names of a bucket are told, and all buckets have all names. */
static void
test_ranges(void **state)
{
    struct zb_sum_options one = every;
    char name[32];
    unsigned found = 0;
    (void)state;

    for (int i = 0; i < 500; i++) {
        (void)snprintf(name, sizeof(name), "%d", i);
        say(name, "x");
    }
    one.list = true;
    for (uint32_t i = 0; i < 16; i++) {
        one.bits = 4;
        one.prefixes_count = 1;
        one.prefixes[0] = i;
        char *text = sums(&one);
        for (const char *p = text; (p = strstr(p, "\nname ")) != NULL; p++) {
            assert_int_equal(strtoull((char[2]){p[6], '\0'}, NULL, 16), i);
            found++;
        }
        free(text);
    }
    assert_int_equal(found, 501);

    /* Sums of a range are of the bits that follow. */
    struct zb_sum_options all = every;
    unsigned long long position;
    char digest[33], sum[64];
    all.list = true;
    char *text = sums(&all);
    assert_int_equal(sscanf(strstr(text, "\nname "), "\nname %llx %32s", &position, digest), 2);
    free(text);
    one.list = false;
    one.bits = 10;
    one.prefixes[0] = (uint32_t)(position >> 54);
    text = sums(&one);
    (void)snprintf(sum, sizeof(sum), "\nsum %llu %s\n", position >> 44 & 1023, digest);
    assert_non_null(strstr(text, sum));
    free(text);

    one.prefixes_count = 2;
    one.prefixes[0] = 3;
    one.list = false;
    struct zb_sum s;
    struct zb_err err;
    assert_int_equal(zb_sum_open(&s, &one, &err), ZB_E_USAGE);
    zb_sum_close(&s);
}

/* Which files are read depends on the seed and the names alone, so it is the same on every host. */
static void
test_a_sample(void **state)
{
    struct zb_sum_options some = {.seed = 7, .share = ZB_SUM_ALL / 5};
    char name[32];
    unsigned files = 0, read_files = 0;
    (void)state;

    for (int i = 0; i < 500; i++) {
        (void)snprintf(name, sizeof(name), "%d", i);
        say(name, "x");
    }
    char *first = sums(&some);
    char *again = sums(&some);
    assert_string_equal(first, again);
    assert_int_equal(sscanf(first, "total %*u %u %u", &files, &read_files), 2);
    assert_int_equal(files, 500);
    assert_in_range(read_files, 60, 140);
    free(again);
    some.seed = 8;
    again = sums(&some);
    assert_string_not_equal(first, again);
    free(again);
    free(first);
}

/* More names than fit are counted. */
static void
test_a_long_list(void **state)
{
    struct zb_sum_options list = every;
    char name[256];
    unsigned told = 0, more = 0;
    (void)state;

    list.list = true;
    for (int i = 0; i < 400; i++) {
        (void)snprintf(name, sizeof(name), "%0200d", i);
        say(name, "");
    }
    char *text = sums(&list);
    for (const char *p = text; (p = strstr(p, "\nname ")) != NULL; p++) {
        told++;
    }
    assert_int_equal(sscanf(strstr(text, "\nmore "), "\nmore %u", &more), 1);
    assert_int_equal(told + more, 401);
    free(text);
}

static enum zb_rc
stop(void *ctx, struct zb_err *err)
{
    unsigned *left = ctx;

    return *left > 0 ? ((*left)--, ZB_OK) : zb_err_set(err, ZB_E_CANCELED, "enough");
}

/* Wherever it is ended, between names or in the middle of one, nothing is left open. */
static void
test_it_ends_when_told(void **state)
{
    struct zb_sum_options ending = every;
    struct zb_err err;
    enum zb_rc rc = ZB_E_CANCELED;
    unsigned count = 0;
    int before = dup(0);
    (void)state;

    assert_int_equal(close(before), 0);
    assert_int_equal(mkdir("a", 0755), 0);
    say("a/file", "text");
    say("b", "text");
    ending.go_on = stop;
    while (rc == ZB_E_CANCELED) {
        unsigned left = count;
        struct zb_sum s;
        ending.ctx = &left;
        assert_int_equal(zb_sum_open(&s, &ending, &err), ZB_OK);
        rc = zb_sum_tree(&s, "", place, place_dev, &err);
        zb_sum_close(&s);
        int now = dup(0);
        assert_int_equal(now, before);
        assert_int_equal(close(now), 0);
        count++;
    }
    assert_int_equal(rc, ZB_OK);
    assert_in_range(count, 8, 40);
}

static enum zb_rc
hurry(void *ctx, struct zb_err *err)
{
    unsigned *left = ctx;

    return *left > 0 ? ((*left)--, ZB_OK) : zb_err_set(err, ZB_E_TIMEOUT, "too late");
}

/* Nobody waits for what is not there. */
static void
test_holes(void **state)
{
    struct zb_sum_options options = every;
    const off_t at = (off_t)1 << 38;
    unsigned left = 100;
    int fd = open("file", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    (void)state;

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)1 << 40), 0);
    options.go_on = hurry;
    options.ctx = &left;
    char *text = sums(&options);
    expect_total(text, 2, 1, 1, 0, 0);
    assert_int_equal(pwrite(fd, "x", 1, at + 5), 1);
    char *now = sums(&options);
    assert_string_not_equal(now, text);
    free(text);
    text = now;
    assert_int_equal(pwrite(fd, "xx", 2, at + 4), 2); /* as much, elsewhere */
    assert_int_equal(pwrite(fd, "", 1, at + 5), 1);
    now = sums(&options);
    assert_string_not_equal(now, text);
    free(text);
    free(now);
    assert_int_equal(close(fd), 0);
}

/* Which zeros are holes is not content: it may differ between hosts. */
static void
test_zeros_are_as_good_as_holes(void **state)
{
    const off_t size = 3 << 20;
    char *zeros = calloc(1, (size_t)size);
    int fd = open("file", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    (void)state;

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "x", 1, 2 << 20), 1);
    assert_int_equal(ftruncate(fd, size), 0);
    char *text = sums(&every);
    zeros[2 << 20] = 'x';
    assert_int_equal(pwrite(fd, zeros, (size_t)size, 0), (ssize_t)size);
    char *now = sums(&every);
    assert_string_equal(strchr(now, '\n'), strchr(text, '\n')); /* but for what was read */
    free(now);
    free(text);
    free(zeros);
    assert_int_equal(close(fd), 0);
}

static void
test_the_time_is_over_in_a_file(void **state)
{
    struct zb_sum_options options = every;
    enum zb_rc rc = ZB_E_TIMEOUT;
    unsigned count = 0, told = 0;
    struct zb_err err;
    (void)state;

    say("a-file", "text");
    options.go_on = hurry;
    while (rc == ZB_E_TIMEOUT) {
        unsigned left = count++;
        struct zb_sum s;
        options.ctx = &left;
        assert_int_equal(zb_sum_open(&s, &options, &err), ZB_OK);
        rc = zb_sum_tree(&s, "", place, place_dev, &err);
        zb_sum_close(&s);
        told += rc != ZB_OK && strcmp(err.msg, "in a-file: too late") == 0;
    }
    assert_int_equal(rc, ZB_OK);
    assert_int_equal(told, 1);
}

static enum zb_rc
unmount(void *ctx, struct zb_err *err)
{
    bool *mounted = ctx;
    char aside[80];

    (void)err;
    (void)snprintf(aside, sizeof(aside), "%s.aside", place);
    if (*mounted) {
        *mounted = false;
        assert_int_equal(rename(place, aside), 0);
        assert_int_equal(mkdir(place, 0755), 0);
    }
    return ZB_OK;
}

/* The bare directory below a mount that is gone is not what was mounted there. */
static void
test_what_is_not_mounted_there(void **state)
{
    struct zb_sum_options options = every;
    bool mounted = true;
    struct zb_err err;
    struct zb_sum s;
    (void)state;

    say("file", "text");
    assert_int_equal(zb_sum_open(&s, &options, &err), ZB_OK);
    assert_int_equal(zb_sum_tree(&s, "", place, place_dev + 1, &err), ZB_E_MISMATCH);
    assert_non_null(strstr(err.msg, "is not mounted any more"));
    zb_sum_close(&s);

    options.go_on = unmount;
    options.ctx = &mounted;
    assert_int_equal(zb_sum_open(&s, &options, &err), ZB_OK);
    assert_int_equal(zb_sum_tree(&s, "", place, place_dev, &err), ZB_E_MISMATCH);
    zb_sum_close(&s);
}

static void
test_ranges_as_text(void **state)
{
    struct zb_sum_options o = {0};
    (void)state;

    assert_true(zb_sum_range_parse("", &o) && o.bits == 0 && o.prefixes_count == 0);
    assert_true(zb_sum_range_parse("10 0 1023", &o));
    assert_int_equal(o.bits, 10);
    assert_int_equal(o.prefixes_count, 2);
    assert_int_equal(o.prefixes[1], 1023);
    assert_true(zb_sum_range_parse(NULL, &o) && o.bits == 0);
    const char *bad[] = {"10",    "0 1",   "10 1024", "21 1",   "10 x",
                         "10 1 ", "10  1", "-1 1",    "10 1\n", "10 1 2 3 4 5 6 7 8 9",
                         " 10 1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(zb_sum_range_parse(bad[i], &o));
    }
}

static int
entry_remove(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

/* nftw(3) cannot name what is deepest: that is taken apart from below. */
static void
deep_remove(void)
{
    char path[96];

    (void)snprintf(path, sizeof(path), "%s/4", top);
    while (chdir(path) == 0 && access("a-name-of-some-length", F_OK) == 0 &&
           rename("a-name-of-some-length", "../next") == 0) {
        char next[96];
        (void)snprintf(next, sizeof(next), "%s/next", top);
        (void)chdir(top);
        (void)nftw(path, entry_remove, 8, FTW_DEPTH | FTW_PHYS);
        (void)rename(next, path);
    }
    (void)chdir("/");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_what_counts, setup),
        cmocka_unit_test_setup(test_links_and_fifos, setup),
        cmocka_unit_test_setup(test_any_name, setup),
        cmocka_unit_test_setup(test_the_order_of_names_does_not_matter, setup),
        cmocka_unit_test_setup(test_a_very_deep_tree, setup),
        cmocka_unit_test_setup(test_what_cannot_be_read_is_told, setup),
        cmocka_unit_test_setup(test_ranges, setup),
        cmocka_unit_test_setup(test_a_sample, setup),
        cmocka_unit_test_setup(test_a_long_list, setup),
        cmocka_unit_test_setup(test_it_ends_when_told, setup),
        cmocka_unit_test_setup(test_holes, setup),
        cmocka_unit_test_setup(test_zeros_are_as_good_as_holes, setup),
        cmocka_unit_test_setup(test_the_time_is_over_in_a_file, setup),
        cmocka_unit_test_setup(test_what_is_not_mounted_there, setup),
        cmocka_unit_test(test_ranges_as_text),
    };
    int failed;

    if (mkdtemp(top) == NULL) {
        return 1;
    }
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    deep_remove();
    (void)nftw(top, entry_remove, 8, FTW_DEPTH | FTW_PHYS);
    return failed;
}
