#include "fixture.h"

#include <unistd.h>

int
fixture_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    (void)snprintf(f->directory, sizeof f->directory, "/tmp/zbaton-history-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    (void)snprintf(f->path, sizeof f->path, "%s/history.db", f->directory);
    assert_ok(f, zb_history_open(f->path, &f->h, &f->err));
    *state = f;
    return 0;
}

int
fixture_teardown(void **state)
{
    struct fixture *f = *state;
    static const char *const suffixes[] = {"", "-wal", "-shm"};

    zb_history_close(f->h);
    for (size_t i = 0; i < 3; i++) {
        char path[160];
        (void)snprintf(path, sizeof path, "%s%s", f->path, suffixes[i]);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(f->directory), 0);
    free(f);
    return 0;
}

void
fixture_reopen(struct fixture *f)
{
    zb_history_close(f->h);
    f->h = NULL;
    assert_ok(f, zb_history_open(f->path, &f->h, &f->err));
}

void
fixture_meddle(struct fixture *f, const char *sql)
{
    sqlite3 *db = NULL;

    zb_history_close(f->h);
    f->h = NULL;
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}
