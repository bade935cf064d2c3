/* What init --recover finds of an earlier cluster, and which of its hosts it takes for gone. */
#include "unit.h"

#include <arpa/inet.h>
#include <ftw.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/config.h"
#include "cmd/recover.h"
#include "history/history.h"

/* --- hosts --- */

/* A port of this host that refuses connections, or accepts them. */
static int
port_take(bool listens, char *address)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof in;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &size), 0);
    if (listens) {
        assert_int_equal(listen(fd, 1), 0);
    }
    (void)snprintf(address, ZB_ADDRESS_SIZE, "127.0.0.1:%u", ntohs(in.sin_port));
    return fd;
}

static enum zb_rc
consent(const char *address, const char *fenced, struct zb_err *err)
{
    struct zb_cli cli = {.values = {[ZB_OPT_YES] = "", [ZB_OPT_FENCED] = fenced}};
    struct zb_setup setup = {.conf = {.node = "vm3"}};
    struct zb_recover recover = {.former.doc.nodes_count = 2};
    struct zb_config_node *nodes = recover.former.doc.nodes;

    zb_strcopy(nodes[0].name, sizeof nodes[0].name, "vm3");
    zb_strcopy(nodes[0].address, sizeof nodes[0].address, address); /* itself: not asked */
    zb_strcopy(nodes[1].name, sizeof nodes[1].name, "vm1");
    zb_strcopy(nodes[1].address, sizeof nodes[1].address, address);
    return zb_recover_consent(&cli, &setup, &recover, err);
}

/* A daemon that is down stops no service. */
static void
a_host_that_refuses_a_connection_is_not_gone(void **state)
{
    char address[ZB_ADDRESS_SIZE];
    struct zb_err err;
    (void)state;

    for (int listens = 0; listens <= 1; listens++) {
        int fd = port_take(listens != 0, address);
        assert_int_equal(consent(address, NULL, &err), ZB_E_REFUSED);
        assert_non_null(strstr(err.msg, "the address of vm1"));
        assert_non_null(strstr(err.hint, "--fenced vm1"));
        assert_int_equal(close(fd), 0);
    }
}

static void
one_that_cannot_be_reached_is_left_to_the_word_given(void **state)
{
    struct zb_err err;
    (void)state;

    /* No connection can be made to a group. */
    assert_int_equal(consent("224.0.0.1:7979", NULL, &err), ZB_OK);
}

static void
a_host_that_is_named_may_answer(void **state)
{
    char address[ZB_ADDRESS_SIZE];
    struct zb_err err;
    int fd = port_take(true, address);
    (void)state;

    assert_int_equal(consent(address, "vm1", &err), ZB_OK);
    assert_int_equal(consent(address, "vm2,vm1", &err), ZB_OK);
    assert_int_equal(consent(address, "vm2", &err), ZB_E_REFUSED);
    assert_int_equal(consent(address, "vm11,vm", &err), ZB_E_REFUSED);
    assert_int_equal(close(fd), 0);
}

/* --- state directories --- */

struct place {
    char base[64];
    char state[96];
    struct zb_cli cli;
    struct zb_recover recover;
};

static int
setup(void **state)
{
    struct place *p = calloc(1, sizeof *p);

    zb_strcopy(p->base, sizeof p->base, "/tmp/zb-recover-XXXXXX");
    assert_non_null(mkdtemp(p->base));
    (void)snprintf(p->state, sizeof p->state, "%s/state", p->base);
    *state = p;
    return 0;
}

static int
entry_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int
teardown(void **state)
{
    struct place *p = *state;

    zb_recover_close(&p->recover);
    assert_int_equal(nftw(p->base, entry_remove, 8, FTW_DEPTH | FTW_PHYS), 0);
    free(p);
    return 0;
}

/* A state directory; path gets that of its history. */
static void
state_make(const struct place *p, const char *suffix, char *path, size_t size)
{
    (void)snprintf(path, size, "%s%s", p->state, suffix);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(path, size, "%s%s/engine", p->state, suffix);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(path, size, "%s%s/engine/history.db", p->state, suffix);
}

static void
history_make(const struct place *p, const char *suffix, const char *cluster, uint64_t term)
{
    struct zb_config_doc doc = {.version = 2, .nodes_count = 1};
    struct zb_history *h = NULL;
    struct zb_history_record record = {.granted_term = term};
    struct zb_err err;
    char path[160];

    state_make(p, suffix, path, sizeof path);
    zb_strcopy(doc.cluster, sizeof doc.cluster, cluster);
    zb_strcopy(doc.nodes[0].name, sizeof doc.nodes[0].name, "vm1");
    zb_strcopy(doc.nodes[0].address, sizeof doc.nodes[0].address, "127.0.0.1:1");
    assert_int_equal(
        zb_config_doc_services_set(
            &doc, "service web {\n members = { vm1 }\n leader = vm1\n mountpoint = \"/web\"\n}\n",
            "services", &err),
        ZB_OK);
    assert_int_equal(zb_config_seed(path, &doc, &err), ZB_OK);
    zb_config_doc_close(&doc);
    assert_int_equal(zb_history_open(path, &h, &err), ZB_OK);
    zb_strcopy(record.node, sizeof record.node, "vm2");
    assert_int_equal(zb_history_record_put(h, "web", &record, &err), ZB_OK);
    zb_history_close(h);
}

/* As of a node that was set up to its end. */
static void
node_make(const struct place *p, const char *suffix, const char *cluster, uint64_t term)
{
    char path[160];

    history_make(p, suffix, cluster, term);
    (void)snprintf(path, sizeof path, "%s%s/cluster.json", p->state, suffix);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
}

static void
look(struct place *p, enum zb_rc rc, struct zb_err *err)
{
    zb_recover_close(&p->recover);
    assert_int_equal(zb_recover_state_look(&p->cli, p->state, &p->recover, err), rc);
}

static void
nothing_is_known_without_a_state_directory(void **state)
{
    struct place *p = *state;
    struct zb_err err;

    look(p, ZB_OK, &err);
    assert_int_equal(p->recover.former.doc.version, 0);
    assert_int_equal(p->recover.term, 0);
}

static void
what_an_attempt_set_aside_is_looked_at_too(void **state)
{
    struct place *p = *state;
    struct zb_err err;
    char path[160];

    node_make(p, ".before-20261122T064107Z", "older", 40);
    node_make(p, ".before-20261125T080000Z", "old", 15);
    look(p, ZB_OK, &err);
    assert_string_equal(p->recover.former.doc.cluster, "old");
    assert_non_null(strstr(p->recover.former_dir, ".before-20261125T080000Z"));
    assert_int_equal(p->recover.term, 40);
    state_make(p, ".before-20261126T080000Z", path, sizeof path); /* begun, and cut off */
    look(p, ZB_OK, &err);
    assert_string_equal(p->recover.former.doc.cluster, "old");
    history_make(p, "", "new", 60); /* ... later: it knows of this node alone */
    look(p, ZB_OK, &err);
    assert_string_equal(p->recover.former.doc.cluster, "old");
    assert_int_equal(p->recover.term, 60);
}

static void
what_cannot_be_read_is_not_passed_over_in_silence(void **state)
{
    struct place *p = *state;
    struct zb_err err;
    char path[160];

    state_make(p, "", path, sizeof path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs("this is no database, but it is long enough to be one; so it is looked at\n",
                      file) >= 0);
    assert_int_equal(fclose(file), 0);
    node_make(p, ".before-20261125T080000Z", "old", 15);
    look(p, ZB_E_FORMAT, &err);
    assert_non_null(strstr(err.hint, "--without-state"));
    p->cli.values[ZB_OPT_WITHOUT_STATE] = "";
    look(p, ZB_OK, &err);
    assert_int_equal(p->recover.term, 15);
}

static void
dataset_add(struct zb_survey_service *s, const char *dataset, const uint64_t guids[2])
{
    struct zb_zfs_snap items[2] = {0};
    struct zb_zfs_snaps snaps = {.count = 2, .snaps = items};
    struct zb_err err;

    for (uint64_t i = 0; i < 2; i++) {
        (void)snprintf(items[i].name, sizeof items[i].name,
                       "zbaton-000012-0000000%u-20261122T064100Z", (unsigned)i + 5);
        items[i].guid = guids[i];
    }
    assert_int_equal(zb_survey_dataset_add(s, dataset, &snaps, &err), ZB_OK);
}

static void
manifest_put(const struct place *p, uint64_t seq, uint32_t entries)
{
    struct zb_manifest m = {0};
    struct zb_history *h = NULL;
    struct zb_err err;
    char path[160];

    (void)snprintf(path, sizeof path, "%s/engine/history.db", p->state);
    assert_int_equal(zb_history_open(path, &h, &err), ZB_OK);
    assert_int_equal(zb_manifest_init(&m, entries, &err), ZB_OK);
    m.id = (struct zb_set_id){.term = 12, .seq = seq};
    for (uint32_t i = 0; i < entries; i++) {
        (void)snprintf(m.entries[i].uuid, sizeof m.entries[i].uuid,
                       "00000000-0000-4000-8000-00000000000%u", i);
        (void)snprintf(m.entries[i].rel, sizeof m.entries[i].rel, "%s", i == 0 ? "" : "db");
        m.entries[i].guid = 10 * seq + i;
    }
    assert_int_equal(zb_history_set_put(h, "web", &m, &err), ZB_OK);
    zb_manifest_close(&m);
    zb_history_close(h);
}

/* web@12/6 is here, and of web/db, which was new in that set, nothing. */
static void
a_set_that_came_half_is_none_where_the_old_history_tells(void **state)
{
    static const uint64_t guids[2] = {50, 60};
    struct place *p = *state;
    struct zb_survey *survey = &p->recover.survey;
    struct zb_err err;

    node_make(p, "", "old", 12);
    manifest_put(p, 5, 1);
    survey->services = calloc(1, sizeof *survey->services);
    survey->count = 1;
    zb_strcopy(survey->services[0].name, sizeof survey->services[0].name, "web");
    dataset_add(&survey->services[0], "tank/web", guids);
    assert_int_equal(zb_recover_state_look(&p->cli, p->state, &p->recover, &err), ZB_OK);
    assert_int_equal(zb_survey_newest(&survey->services[0]).id.seq, 6); /* nobody knows better */
    manifest_put(p, 6, 2);
    assert_int_equal(zb_recover_state_look(&p->cli, p->state, &p->recover, &err), ZB_OK);
    assert_int_equal(zb_survey_newest(&survey->services[0]).id.seq, 5);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_host_that_refuses_a_connection_is_not_gone),
        cmocka_unit_test(one_that_cannot_be_reached_is_left_to_the_word_given),
        cmocka_unit_test(a_host_that_is_named_may_answer),
        cmocka_unit_test_setup_teardown(nothing_is_known_without_a_state_directory, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_an_attempt_set_aside_is_looked_at_too, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_set_that_came_half_is_none_where_the_old_history_tells,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_read_is_not_passed_over_in_silence, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
