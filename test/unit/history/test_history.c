#include "fixture.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void
meta_values(void **state)
{
    struct fixture *f = *state;
    char *value = NULL;
    char longest[65];

    assert_int_equal(zb_history_meta_get(f->h, "version", &value, &f->err), ZB_E_NOTFOUND);
    assert_null(value);
    assert_ok(f, zb_history_meta_set(f->h, "version", "7", &f->err));
    assert_ok(f, zb_history_meta_set(f->h, "version", "8", &f->err));
    assert_ok(f, zb_history_meta_set(f->h, "empty", "", &f->err));
    fixture_reopen(f);
    assert_ok(f, zb_history_meta_get(f->h, "version", &value, &f->err));
    assert_string_equal(value, "8");
    free(value);
    assert_ok(f, zb_history_meta_get(f->h, "empty", &value, &f->err));
    assert_string_equal(value, "");
    free(value);
    memset(longest, 'n', sizeof longest - 1);
    longest[64] = '\0';
    assert_int_equal(zb_history_meta_set(f->h, longest, "1", &f->err), ZB_E_LIMIT);
    longest[63] = '\0';
    assert_ok(f, zb_history_meta_set(f->h, longest, "1", &f->err));
}

static void
committed_together(void **state)
{
    struct fixture *f = *state;
    char *value = NULL;

    assert_ok(f, zb_history_begin(f->h, &f->err));
    assert_ok(f, zb_history_meta_set(f->h, "a", "1", &f->err));
    assert_ok(f, zb_history_meta_set(f->h, "b", "2", &f->err));
    assert_ok(f, zb_history_commit(f->h, &f->err));
    assert_ok(f, zb_history_begin(f->h, &f->err));
    assert_ok(f, zb_history_meta_set(f->h, "a", "9", &f->err));
    zb_history_rollback(f->h);
    assert_ok(f, zb_history_meta_get(f->h, "a", &value, &f->err));
    assert_string_equal(value, "1");
    free(value);
    /* What a crash leaves open is not there afterwards. */
    assert_ok(f, zb_history_begin(f->h, &f->err));
    assert_ok(f, zb_history_meta_set(f->h, "b", "9", &f->err));
    fixture_reopen(f);
    assert_ok(f, zb_history_meta_get(f->h, "b", &value, &f->err));
    assert_string_equal(value, "2");
    free(value);
}

static void
write_ahead_log(void **state)
{
    struct fixture *f = *state;
    char path[160];
    struct stat st;

    (void)snprintf(path, sizeof path, "%s-wal", f->path);
    assert_int_equal(stat(path, &st), 0);
}

static void
newer_schema_is_refused(void **state)
{
    struct fixture *f = *state;
    char expected[256];

    fixture_meddle(f, "PRAGMA user_version = 2");
    assert_int_equal(zb_history_open(f->path, &f->h, &f->err), ZB_E_VERSION);
    (void)snprintf(expected, sizeof expected,
                   "history %s: made by another version of zbaton (schema 2, this one is 1)",
                   f->path);
    assert_string_equal(f->err.msg, expected);
    assert_null(f->h);
}

static void
a_table_too_many_is_left_alone(void **state)
{
    struct fixture *f = *state;

    fixture_meddle(f,
                   "CREATE TABLE journal (id INTEGER PRIMARY KEY, service TEXT NOT NULL) STRICT");
    assert_ok(f, zb_history_open(f->path, &f->h, &f->err));
    assert_ok(f, zb_history_meta_set(f->h, "a", "1", &f->err));
}

static void
database_of_something_else(void **state)
{
    struct fixture *f = *state;

    fixture_meddle(f, "PRAGMA user_version = 0");
    assert_int_equal(zb_history_open(f->path, &f->h, &f->err), ZB_E_FORMAT);
    assert_non_null(strstr(f->err.msg, f->path));
    assert_non_null(strstr(f->err.msg, "a database of something else"));
}

static void
file_overwrite(struct fixture *f, long offset, size_t size)
{
    FILE *file = fopen(f->path, "r+");

    assert_non_null(file);
    assert_int_equal(fseek(file, offset, SEEK_SET), 0);
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(fputc('x', file), 'x');
    }
    assert_int_equal(fclose(file), 0);
}

static void
corrupt_files(void **state)
{
    struct fixture *f = *state;

    fixture_meddle(f, "PRAGMA journal_mode = DELETE");
    file_overwrite(f, 4096, 4096); /* the root page of a table */
    assert_int_equal(zb_history_open(f->path, &f->h, &f->err), ZB_E_FORMAT);
    assert_non_null(strstr(f->err.msg, f->path));
    assert_non_null(strstr(f->err.hint, "move the file away"));
    file_overwrite(f, 0, 100); /* the header */
    assert_int_equal(zb_history_open(f->path, &f->h, &f->err), ZB_E_FORMAT);
    assert_non_null(strstr(f->err.msg, f->path));
    assert_non_null(strstr(f->err.msg, "not a database"));
}

static void
no_directory(void **state)
{
    struct fixture *f = *state;
    struct zb_history *h = NULL;

    assert_int_equal(zb_history_open("/nonexistent/history.db", &h, &f->err), ZB_E_SYS);
    assert_string_equal(f->err.msg,
                        "history /nonexistent/history.db: unable to open database file: "
                        "No such file or directory");
    assert_null(h);
}

/* In a child: changes of identity and root cannot be undone. Returns its exit code. */
static int
child(struct fixture *f, int (*run)(struct fixture *f))
{
    int status = 0;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(run(f));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int
open_as_nobody(struct fixture *f)
{
    struct zb_history *h = NULL;

    if (setgid(65534) != 0 || setuid(65534) != 0) {
        return 2;
    }
    if (zb_history_open(f->path, &h, &f->err) != ZB_E_REFUSED) {
        return 3;
    }
    return strstr(f->err.msg, f->path) != NULL && strstr(f->err.msg, "read-only") != NULL ? 0 : 4;
}

static void
read_only_file(void **state)
{
    struct fixture *f = *state;

    if (geteuid() != 0) {
        skip();
    }
    zb_history_close(f->h);
    f->h = NULL;
    assert_int_equal(chmod(f->directory, 0755), 0);
    assert_int_equal(chmod(f->path, 0444), 0);
    assert_int_equal(child(f, open_as_nobody), 0);
}

static int
write_in_chroot(struct fixture *f)
{
    /* The parent's connection is closed: SQLite must not be carried over fork. */
    if (zb_history_open(f->path, &f->h, &f->err) != ZB_OK) {
        return 2;
    }
    if (chroot(f->directory) != 0 || chdir("/") != 0) {
        return 3;
    }
    for (int i = 0; i < 3; i++) {
        if (zb_history_begin(f->h, &f->err) != ZB_OK ||
            zb_history_meta_set(f->h, "chroot", "yes", &f->err) != ZB_OK ||
            zb_history_commit(f->h, &f->err) != ZB_OK) {
            return 4;
        }
    }
    zb_history_close(f->h);
    return 0;
}

static void
works_after_chroot(void **state)
{
    struct fixture *f = *state;
    char *value = NULL;

    if (geteuid() != 0) {
        skip();
    }
    zb_history_close(f->h);
    f->h = NULL;
    assert_int_equal(child(f, write_in_chroot), 0);
    assert_ok(f, zb_history_open(f->path, &f->h, &f->err));
    assert_ok(f, zb_history_meta_get(f->h, "chroot", &value, &f->err));
    assert_string_equal(value, "yes");
    free(value);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(meta_values),
        fixture_test(committed_together),
        fixture_test(write_ahead_log),
        fixture_test(newer_schema_is_refused),
        fixture_test(a_table_too_many_is_left_alone),
        fixture_test(database_of_something_else),
        fixture_test(corrupt_files),
        fixture_test(no_directory),
        fixture_test(read_only_file),
        fixture_test(works_after_chroot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
