#include "unit.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

/* stderr goes into a file while a test runs. */
struct capture {
    FILE *file;
    int saved_fd;
};

static int
capture_begin(void **state)
{
    static struct capture capture;

    capture.file = tmpfile();
    capture.saved_fd = dup(STDERR_FILENO);
    if (capture.file == NULL || dup2(fileno(capture.file), STDERR_FILENO) < 0) {
        return -1;
    }
    *state = &capture;
    return 0;
}

static int
capture_end(void **state)
{
    struct capture *capture = *state;

    (void)dup2(capture->saved_fd, STDERR_FILENO);
    (void)close(capture->saved_fd);
    return fclose(capture->file);
}

static void
assert_captured(struct capture *capture, const char *expected)
{
    char text[8192];

    rewind(capture->file);
    size_t used = fread(text, 1, sizeof text - 1, capture->file);
    text[used] = '\0';
    assert_string_equal(text, expected);
}

static void
drops_lines_above_the_level(void **state)
{
    zb_log_init("zbatond: keeper", ZB_LOG_WARNING);
    zb_log_error("pool %s suspended", "tank");
    zb_log_warning("slow");
    zb_log_info("not shown");
    zb_log_debug("not shown");
    assert_captured(*state, "zbatond: keeper: error: pool tank suspended\n"
                            "zbatond: keeper: warning: slow\n");
}

static void
one_line_per_event(void **state)
{
    zb_log_init("t", ZB_LOG_DEBUG);
    zb_log_info("a\nb\x1b[31m\x7f");
    zb_log_debug("d");
    assert_captured(*state, "t: a b [31m \nt: debug: d\n");
}

static void
journal_gets_priorities(void **state)
{
    struct capture *capture = *state;
    struct stat st;
    char stream[64];

    assert_int_equal(fstat(fileno(capture->file), &st), 0);
    (void)snprintf(stream, sizeof stream, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    assert_int_equal(setenv("JOURNAL_STREAM", stream, 1), 0);
    zb_log_init("t", ZB_LOG_INFO);
    zb_log_error("x");
    zb_log_info("y");
    assert_int_equal(setenv("JOURNAL_STREAM", "1:1", 1), 0);
    zb_log_init("t", ZB_LOG_INFO);
    zb_log_info("z");
    assert_captured(capture, "<3>t: error: x\n<6>t: y\nt: z\n");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(drops_lines_above_the_level, capture_begin, capture_end),
        cmocka_unit_test_setup_teardown(one_line_per_event, capture_begin, capture_end),
        cmocka_unit_test_setup_teardown(journal_gets_priorities, capture_begin, capture_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
