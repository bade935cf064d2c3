/*
 * The history and the configuration's store while SQLite's files or memory fail: what was
 * acknowledged is there, what belongs together is there or not there together, and the same work
 * succeeds afterwards. With a power cut instead of a failure: the same.
 */
#include "fault.h"

#include <sqlite3.h>
#include <unistd.h>

#include "agent/config_store.h"
#include "agent/internal.h"
#include "agent/memo.h"
#include "history/history.h"
#include "vfs.h"

#define UUID_A "00000000-0000-4000-8000-00000000000a"

/* What a run has been told is durable. */
enum acked {
    ACKED_META = 1,
    ACKED_BATCH = 2, /* set, term, step and position of 2/0, in one transaction */
    ACKED_EVENT = 4,
    ACKED_CONFIG = 8,
    ACKED_PRUNE = 16, /* set 1/0 is gone */
    ACKED_PROMISED = 32,
    ACKED_ACCEPTED = 64,
    ACKED_COMMITTED = 128,
};

struct world {
    char dir[64];
    char path[96];
    bool power;
    unsigned acked;
    unsigned batch; /* how many of the batch succeeded in its last transaction */
    int64_t event_id;
    struct zb_history *open; /* of the memo: what fails is what it writes */
};

static void
set_fill(struct zb_manifest *m, struct zb_set_id id)
{
    static struct zb_manifest_entry entries[] = {{UUID_A, "", 1}};
    *m = (struct zb_manifest){.id = id, .time = {1}, .entries_count = 1, .entries = entries};
}

/* --- before --- */

static struct world *
world_new(bool power)
{
    struct world *w = calloc(1, sizeof *w);

    assert_non_null(w);
    fault_dir_make(w->dir);
    (void)snprintf(w->path, sizeof w->path, "%s/history.db", w->dir);
    w->power = power;
    return w;
}

/* A history in which web has led in term 1. */
static void
world_fill(struct world *w)
{
    struct zb_history *h = NULL;
    struct zb_manifest set;
    struct zb_err err;

    assert_int_equal(zb_history_open(w->path, &h, &err), ZB_OK);
    assert_int_equal(zb_history_meta_set(h, "name", "before", &err), ZB_OK);
    set_fill(&set, (struct zb_set_id){1, 0});
    assert_int_equal(zb_history_set_put(h, "web", &set, &err), ZB_OK);
    zb_history_close(h);
    fault_vfs_power_on();
}

static void *
fresh_setup(void)
{
    struct world *w = world_new(false);

    fault_vfs_power_on();
    return w;
}

static void *
fresh_power_setup(void)
{
    struct world *w = world_new(true);

    fault_vfs_power_on();
    return w;
}

static void *
filled_setup(void)
{
    struct world *w = world_new(false);

    world_fill(w);
    return w;
}

static void *
filled_power_setup(void)
{
    struct world *w = world_new(true);

    world_fill(w);
    return w;
}

static void
teardown(void *ctx)
{
    struct world *w = ctx;

    zb_history_close(w->open);
    fault_vfs_power_on();
    fault_dir_remove(w->dir);
    free(w);
}

/* --- the history --- */

/* A part that fails goes alone, as for the memo (agent/memo.c). */
static enum zb_rc
batch_write(struct world *w, struct zb_history *h, struct zb_err *err)
{
    const struct zb_history_term term = {.term = 2, .leader = "vm2", .reason = ZB_HISTORY_MOVE};
    const struct zb_history_position position = {.node = "vm2", .set = {.id = {2, 0}}};
    struct zb_manifest set;
    enum zb_rc rc = zb_history_begin(h, err);

    if (rc != ZB_OK) {
        return rc;
    }
    set_fill(&set, (struct zb_set_id){2, 0});
    w->batch = zb_history_set_put(h, "web", &set, err) == ZB_OK;
    w->batch += zb_history_term_put(h, "web", &term, err) == ZB_OK;
    w->batch += zb_history_position_put(h, "web", &position, err) == ZB_OK;
    rc = zb_history_commit(h, err);
    if (rc == ZB_OK) {
        w->acked |= ACKED_BATCH;
    }
    return w->batch == 3 ? rc : err->rc;
}

static enum zb_rc
history_work(struct world *w, struct zb_history *h, struct zb_err *err)
{
    const struct zb_history_event event = {.level = 6, .node = "vm1", .rule = "R", .text = "moved"};
    enum zb_rc rc = zb_history_meta_set(h, "name", "after", err);

    if (rc == ZB_OK) {
        w->acked |= ACKED_META;
        rc = batch_write(w, h, err);
    }
    if (rc == ZB_OK) {
        rc = zb_history_event_append(h, &event, &w->event_id, err);
    }
    if (rc == ZB_OK) {
        w->acked |= ACKED_EVENT;
        rc = zb_history_config_put(h, 7, ZB_HISTORY_COMMITTED, "{\"version\":7}", err);
    }
    if (rc == ZB_OK) {
        w->acked |= ACKED_CONFIG;
        rc = zb_history_sets_prune(h, "web", (struct zb_set_id){2, 0}, NULL, 0, err);
    }
    if (rc == ZB_OK) {
        w->acked |= ACKED_PRUNE;
    }
    return rc;
}

/* Ends a run: in a world whose power is cut, the disk is then what was synced. */
static void
history_end(struct world *w, struct zb_history *h)
{
    zb_history_close(h);
    if (w->power) {
        (void)fault_disarm();
        fault_vfs_power_cut();
    }
}

static enum zb_rc
history_run(void *ctx, struct zb_err *err)
{
    struct world *w = ctx;
    struct zb_history *h = NULL;
    enum zb_rc rc = zb_history_open(w->path, &h, err);

    if (rc == ZB_OK) {
        rc = history_work(w, h, err);
    }
    history_end(w, h);
    return rc;
}

/* What of the batch is there: 0 to 3. */
static unsigned
batch_count(struct zb_history *h)
{
    struct zb_manifest set = {0};
    struct zb_history_term term;
    struct zb_history_position *positions = NULL;
    uint32_t positions_count = 0;
    struct zb_err err;
    unsigned count = 0;

    count += zb_history_set_get(h, "web", (struct zb_set_id){2, 0}, &set, &err) == ZB_OK;
    count += zb_history_term_get(h, "web", 2, &term, &err) == ZB_OK;
    assert_int_equal(zb_history_positions_list(h, "web", 10, &positions, &positions_count, &err),
                     ZB_OK);
    count += positions_count;
    zb_manifest_close(&set);
    free(positions);
    return count;
}

static void
history_check(void *ctx, enum zb_rc rc)
{
    struct world *w = ctx;
    struct zb_history *h = NULL;
    struct zb_history_config config = {0};
    struct zb_manifest set = {0};
    char *name = NULL;
    int64_t last = 0;
    struct zb_err err;

    if (zb_history_open(w->path, &h, &err) != ZB_OK) {
        fail_msg("not to be opened again: %s", err.msg);
    }
    bool known = zb_history_meta_get(h, "name", &name, &err) == ZB_OK;
    assert_true(known || (w->acked & ACKED_META) == 0);
    assert_true(!known || strcmp(name, "after") == 0 ||
                (strcmp(name, "before") == 0 && (w->acked & ACKED_META) == 0));
    unsigned batch = batch_count(h);
    assert_true(batch == w->batch || (batch == 0 && (w->acked & ACKED_BATCH) == 0));
    assert_int_equal(zb_history_events_last(h, &last, &err), ZB_OK);
    assert_true(last > 0 || (w->acked & ACKED_EVENT) == 0);
    assert_true(last >= w->event_id);
    known = zb_history_config_get(h, ZB_HISTORY_COMMITTED, &config, &err) == ZB_OK;
    assert_true(known || (w->acked & ACKED_CONFIG) == 0);
    known = zb_history_set_get(h, "web", (struct zb_set_id){1, 0}, &set, &err) == ZB_OK;
    assert_true(!known || (w->acked & ACKED_PRUNE) == 0);
    assert_true(rc != ZB_OK || (w->acked & ACKED_PRUNE) != 0);
    zb_manifest_close(&set);
    zb_history_config_close(&config);
    free(name);
    zb_history_close(h);
    if (w->power) {
        fault_vfs_power_on();
    }
}

/* --- the configuration's store --- */

static void
doc_fill(struct zb_config_doc *doc, uint64_t version, const char *address)
{
    static const char text[] =
        "service web {\n members = {vm1}\n leader = vm1\n mountpoint = \"/srv/web\"\n}\n";
    struct zb_err err;

    *doc = (struct zb_config_doc){.version = version, .cluster = "c", .nodes_count = 1};
    zb_strcopy(doc->nodes[0].name, sizeof doc->nodes[0].name, "vm1");
    zb_strcopy(doc->nodes[0].address, sizeof doc->nodes[0].address, address);
    assert_int_equal(zb_config_doc_services_set(doc, text, "text", &err), ZB_OK);
}

static const struct zb_config_ballot ballot = {.round = 3, .node = "vm1"};

static void
store_fill(struct world *w)
{
    struct zb_history *h = NULL;
    struct zb_config_store s = {0};
    struct zb_config_doc doc;
    struct zb_err err;
    bool news;

    doc_fill(&doc, 1, "10.0.0.1:7979");
    assert_int_equal(zb_history_open(w->path, &h, &err), ZB_OK);
    assert_int_equal(zb_config_store_load(h, &s, &err), ZB_OK);
    assert_int_equal(zb_config_store_commit(h, &s, &doc, &news, &err), ZB_OK);
    zb_config_store_close(&s);
    zb_config_doc_close(&doc);
    zb_history_close(h);
    fault_vfs_power_on();
}

static void *
store_setup(void)
{
    struct world *w = world_new(false);

    store_fill(w);
    return w;
}

static void *
store_power_setup(void)
{
    struct world *w = world_new(true);

    store_fill(w);
    return w;
}

/* Version 2 is asked for, proposed and committed; what was done before is not done again. */
static enum zb_rc
store_work(struct world *w, struct zb_history *h, struct zb_config_store *s, struct zb_err *err)
{
    struct zb_config_doc doc;
    enum zb_config_answer answer = ZB_CONFIG_YES;
    enum zb_rc rc = ZB_OK;
    bool news = false;

    doc_fill(&doc, 2, "10.0.0.2:7979");
    if (s->acceptor.committed < 2) {
        rc = zb_config_store_ask(h, s, 2, &ballot, &answer, err);
        w->acked |= rc == ZB_OK ? ACKED_PROMISED : 0;
        if (rc == ZB_OK) {
            rc = zb_config_store_propose(h, s, &ballot, &doc, &answer, err);
            w->acked |= rc == ZB_OK ? ACKED_ACCEPTED : 0;
        }
    }
    assert_int_equal(answer, ZB_CONFIG_YES);
    if (rc == ZB_OK) {
        rc = zb_config_store_commit(h, s, &doc, &news, err);
    }
    if (rc == ZB_OK) {
        w->acked |= ACKED_COMMITTED;
    }
    zb_config_doc_close(&doc);
    return rc;
}

static enum zb_rc
store_run(void *ctx, struct zb_err *err)
{
    struct world *w = ctx;
    struct zb_history *h = NULL;
    struct zb_config_store s = {0};
    enum zb_rc rc = zb_history_open(w->path, &h, err);

    if (rc == ZB_OK) {
        rc = zb_config_store_load(h, &s, err);
    }
    if (rc == ZB_OK) {
        rc = store_work(w, h, &s, err);
    }
    zb_config_store_close(&s);
    history_end(w, h);
    return rc;
}

static void
store_check(void *ctx, enum zb_rc rc)
{
    struct world *w = ctx;
    struct zb_history *h = NULL;
    struct zb_config_store s = {0};
    struct zb_err err;

    (void)rc;
    assert_int_equal(zb_history_open(w->path, &h, &err), ZB_OK);
    if (zb_config_store_load(h, &s, &err) != ZB_OK) {
        fail_msg("not to be loaded again: %s", err.msg);
    }
    const struct zb_config_acceptor *a = &s.acceptor;
    assert_true(a->committed == 1 || a->committed == 2);
    assert_true(a->committed == 2 || (w->acked & ACKED_COMMITTED) == 0);
    assert_non_null(strstr(s.committed_text, a->committed == 2 ? "10.0.0.2" : "10.0.0.1"));
    if (a->committed == 1) {
        assert_true(a->promised.round == 3 || (w->acked & ACKED_PROMISED) == 0);
        assert_true(a->accepted.round == 3 || (w->acked & ACKED_ACCEPTED) == 0);
        /* Never a ballot without its text, nor an acceptance that was not promised. */
        assert_int_equal(a->accepted.round == 3, s.accepted_text != NULL);
        assert_true(a->accepted.round == 0 || a->promised.round == 3);
    }
    zb_config_store_close(&s);
    zb_history_close(h);
    if (w->power) {
        fault_vfs_power_on();
    }
}

/* --- the memo --- */

static void *
memo_setup(void)
{
    struct world *w = filled_setup();
    struct zb_err err;

    assert_int_equal(zb_history_open(w->path, &w->open, &err), ZB_OK);
    return w;
}

/* What the engine gathers is kept although a write failed once. */
static enum zb_rc
memo_run(void *ctx, struct zb_err *err)
{
    struct world *w = ctx;
    struct zb_agent a = {0};
    struct zb_manifest set;
    const struct zb_history_term term = {.term = 2, .leader = "vm2", .reason = ZB_HISTORY_MOVE};
    const struct zb_history_position position = {.node = "vm2", .set = {.id = {2, 0}}};
    const struct zb_history_event event = {.level = 6, .node = "vm1", .rule = "R", .text = "moved"};

    (void)err;
    set_fill(&set, (struct zb_set_id){2, 0});
    a.history = w->open;
    assert_int_equal(uv_loop_init(&a.loop), 0);
    a.memo = zb_memo_new(&a);
    zb_memo_set(&a, "web", &set);
    zb_memo_term(&a, "web", &term);
    zb_memo_position(&a, "web", &position);
    zb_memo_event(&a, &event);
    zb_memo_free(a.memo);
    w->batch = 3;
    w->acked |= ACKED_BATCH | ACKED_EVENT;
    (void)uv_run(&a.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&a.loop), 0);
    return ZB_OK;
}

static void
memo_check(void *ctx, enum zb_rc rc)
{
    struct world *w = ctx;
    struct zb_history *h = NULL;
    int64_t last = 0;
    struct zb_err err;

    assert_int_equal(zb_history_open(w->path, &h, &err), ZB_OK);
    unsigned batch = batch_count(h);
    assert_int_equal(zb_history_events_last(h, &last, &err), ZB_OK);
    assert_int_equal(rc, ZB_OK);
    if (batch != 3 || last == 0) {
        fail_msg("%u of 3 entries are kept, newest event %d", batch, (int)last);
    }
    zb_history_close(h);
}

/* --- loops --- */

static void
disk(const char *name, void *(*setup)(void), enum zb_rc (*run)(void *, struct zb_err *),
     void (*check)(void *, enum zb_rc))
{
    static const struct {
        const char *word;
        int rc;
        enum fault_mode mode;
    } kinds[] = {
        {"I/O error", SQLITE_IOERR, FAULT_ONCE},
        {"disk full", SQLITE_FULL, FAULT_ONCE},
        {"disk that died", SQLITE_IOERR, FAULT_ONWARD},
        {"disk that stays full", SQLITE_FULL, FAULT_ONWARD},
    };

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        char title[128];
        (void)snprintf(title, sizeof title, "%s, %s", name, kinds[i].word);
        fault_vfs_use(kinds[i].rc);
        fault_loop(&(struct fault_case){.name = title,
                                        .mode = kinds[i].mode,
                                        .absorbs = true,
                                        .place = "history.db",
                                        .setup = setup,
                                        .run = run,
                                        .check = check,
                                        .teardown = teardown});
    }
}

static void
power(const char *name, void *(*setup)(void), enum zb_rc (*run)(void *, struct zb_err *),
      void (*check)(void *, enum zb_rc))
{
    fault_vfs_use(SQLITE_IOERR);
    fault_loop(&(struct fault_case){.name = name,
                                    .mode = FAULT_ONWARD,
                                    .absorbs = true,
                                    .setup = setup,
                                    .run = run,
                                    .check = check,
                                    .teardown = teardown});
}

static void
history_on_a_bad_disk(void **state)
{
    (void)state;
    disk("new history", fresh_setup, history_run, history_check);
    disk("history", filled_setup, history_run, history_check);
}

static void
history_without_power(void **state)
{
    (void)state;
    power("new history, power cut", fresh_power_setup, history_run, history_check);
    power("history, power cut", filled_power_setup, history_run, history_check);
}

static void
history_without_memory(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){.name = "history, no memory",
                                    .rc = ZB_E_NOMEM,
                                    .absorbs = true,
                                    .place = "history.db",
                                    .setup = filled_setup,
                                    .run = history_run,
                                    .check = history_check,
                                    .teardown = teardown});
}

static void
configuration_on_a_bad_disk(void **state)
{
    (void)state;
    disk("configuration", store_setup, store_run, store_check);
    power("configuration, power cut", store_power_setup, store_run, store_check);
}

static void
memo_loop(const char *name)
{
    fault_loop(&(struct fault_case){.name = name,
                                    .absorbs = true,
                                    .setup = memo_setup,
                                    .run = memo_run,
                                    .check = memo_check,
                                    .teardown = teardown});
}

static void
memo_on_a_bad_disk(void **state)
{
    (void)state;
    fault_vfs_use(SQLITE_IOERR);
    memo_loop("memo, I/O error");
    fault_vfs_use(SQLITE_FULL);
    memo_loop("memo, disk full");
}

static void
memo_without_memory(void **state)
{
    (void)state;
    memo_loop("memo, SQLite without memory");
}

int
main(int argc, char **argv)
{
    /* What fails is the disk, SQLite's memory ("sqlite"), or that and ours ("memory", linked so).
     */
    const struct CMUnitTest disks[] = {
        cmocka_unit_test(history_on_a_bad_disk),
        cmocka_unit_test(history_without_power),
        cmocka_unit_test(configuration_on_a_bad_disk),
        cmocka_unit_test(memo_on_a_bad_disk),
    };
    const struct CMUnitTest memories[] = {cmocka_unit_test(history_without_memory)};
    const struct CMUnitTest engine_memories[] = {cmocka_unit_test(memo_without_memory)};

    uv_loop_t loop;

    /* The first loop of a process opens descriptors that stay open. */
    if (uv_loop_init(&loop) != 0 || uv_loop_close(&loop) != 0) {
        return 1;
    }
    zb_log_init("test_history", ZB_LOG_ERROR);
    if (argc > 1) {
        fault_sqlite_memory_use();
    }
    if (argc > 1 && strcmp(argv[1], "memory") == 0) {
        return cmocka_run_group_tests(memories, NULL, NULL);
    }
    if (argc > 1 && strcmp(argv[1], "sqlite") == 0) {
        return cmocka_run_group_tests(engine_memories, NULL, NULL);
    }
    return cmocka_run_group_tests(disks, NULL, NULL);
}
