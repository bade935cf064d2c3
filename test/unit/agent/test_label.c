/* Labels of sets, and the configuration that has them. */
#include "unit.h"

#include "agent/config_doc.h"

#define SERVICE(name)                                                                              \
    "service " name " {\\n members = { vm1 }\\n leader = vm1\\n mountpoint = \\\"/" name           \
    "\\\"\\n}\\n"
#define DOC(labels)                                                                                \
    "{\"cluster\":\"test\"," labels                                                                \
    "\"nodes\":[{\"address\":\"127.0.0.1:1\",\"fingerprint\":\"\",\"name\":\"vm1\"}],"             \
    "\"services\":\"" SERVICE("db") SERVICE("web") "\",\"version\":\"2\"}"
#define LABEL(service, term, seq, text)                                                            \
    "{\"label\":\"" text "\",\"seq\":\"" seq "\",\"service\":\"" service "\",\"term\":\"" term     \
    "\",\"time\":1795329660,\"who\":\"root@vm1\"}"

static void
put(struct zb_labels *l, const char *service, struct zb_set_id set, const char *text)
{
    struct zb_label one = {.set = set};
    struct zb_err err;

    zb_strcopy(one.service, sizeof one.service, service);
    zb_strcopy(one.text, sizeof one.text, text);
    zb_strcopy(one.who, sizeof one.who, "root@vm1");
    assert_int_equal(zb_labels_put(l, &one, &err), ZB_OK);
}

static void
a_label_is_one_short_line(void **state)
{
    static const char *const bad[] = {"", "  ", "a\nb", "a\tb", "\x1b[2J", "\xff"};
    char text[ZB_LABEL_SIZE + 1];
    struct zb_err err;
    (void)state;

    assert_int_equal(zb_label_check("before the upgrade to 3.0", &err), ZB_OK);
    assert_int_equal(zb_label_check("\xc3\xa4", &err), ZB_OK);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(zb_label_check(bad[i], &err), ZB_E_USAGE);
    }
    memset(text, 'x', sizeof text);
    text[ZB_LABEL_SIZE] = '\0';
    assert_int_equal(zb_label_check(text, &err), ZB_E_USAGE);
    text[ZB_LABEL_SIZE - 1] = '\0';
    assert_int_equal(zb_label_check(text, &err), ZB_OK);
}

static void
a_set_has_one_label(void **state)
{
    struct zb_labels l = {0}, copy = {0};
    struct zb_set_id sets[ZB_LABELS_MAX];
    char *lines;
    (void)state;

    put(&l, "web", (struct zb_set_id){2, 7}, "two");
    put(&l, "web", (struct zb_set_id){1, 300}, "one");
    put(&l, "db", (struct zb_set_id){2, 7}, "other");
    put(&l, "web", (struct zb_set_id){2, 7}, "two, again");
    assert_int_equal(l.count, 3);
    assert_int_equal(zb_labels_sets(&l, "web", sets), 2);
    assert_int_equal(zb_set_id_cmp(sets[0], (struct zb_set_id){1, 300}), 0);
    assert_int_equal(zb_labels_sets(&l, "mail", sets), 0);
    lines = zb_labels_lines(&l, "web");
    assert_string_equal(lines, "1/300\tone\n2/7\ttwo, again\n");
    free(lines);
    assert_null(zb_labels_lines(&l, "mail"));
    zb_labels_copy(&copy, &l);
    assert_true(zb_labels_remove(&l, "web", (struct zb_set_id){2, 7}));
    assert_false(zb_labels_remove(&l, "web", (struct zb_set_id){2, 7}));
    assert_null(zb_labels_find(&l, "web", (struct zb_set_id){2, 7}));
    assert_non_null(zb_labels_find(&l, "db", (struct zb_set_id){2, 7}));
    assert_string_equal(zb_labels_find(&copy, "web", (struct zb_set_id){2, 7})->text, "two, again");
    zb_labels_close(&l);
    zb_labels_close(&copy);
}

static void
a_service_has_so_many(void **state)
{
    struct zb_labels l = {0};
    struct zb_label more = {.service = "web", .set = {2, 0}, .text = "x", .who = "root@vm1"};
    struct zb_err err;
    (void)state;

    for (uint64_t i = 0; i < ZB_LABELS_MAX; i++) {
        put(&l, "web", (struct zb_set_id){1, i}, "x");
    }
    assert_int_equal(zb_labels_put(&l, &more, &err), ZB_E_LIMIT);
    assert_int_equal(l.count, ZB_LABELS_MAX);
    put(&l, "web", (struct zb_set_id){1, 5}, "another");
    put(&l, "db", (struct zb_set_id){1, 5}, "x");
    assert_true(zb_labels_remove(&l, "web", (struct zb_set_id){1, 0}));
    assert_int_equal(zb_labels_put(&l, &more, &err), ZB_OK);
    zb_labels_close(&l);
}

/* Without any the text is what it always was. */
static void
the_configuration_has_them(void **state)
{
    static const char text[] = DOC("\"labels\":[" LABEL("db", "1", "9", "one") "," LABEL(
        "web", "1", "9", "two") "," LABEL("web", "1", "10", "three") "],");
    struct zb_config_doc doc = {0}, copy = {0};
    char hash[ZB_CONFIG_HASH_SIZE];
    char *formatted = NULL;
    struct zb_err err;
    (void)state;

    if (zb_config_doc_parse(text, &doc, &err) != ZB_OK) {
        fail_msg("%s", err.msg);
    }
    assert_int_equal(zb_config_doc_copy(&copy, &doc, &err), ZB_OK);
    zb_config_doc_close(&doc);
    assert_int_equal(zb_config_doc_format(&copy, &formatted, hash, &err), ZB_OK);
    assert_string_equal(formatted, text);
    free(formatted);
    /* What is withdrawn has none any more. */
    assert_int_equal(
        zb_config_doc_services_set(
            &copy, "service db {\n members = { vm1 }\n leader = vm1\n mountpoint = \"/w\"\n}\n",
            "test", &err),
        ZB_OK);
    assert_int_equal(copy.labels.count, 1);
    assert_string_equal(copy.labels.items[0].text, "one");
    zb_config_doc_close(&copy);
}

static void
what_is_no_list_of_labels_is_refused(void **state)
{
    static const char *const bad[] = {
        DOC("\"labels\":[],"), /* not canonical */
        DOC("\"labels\":{},"),
        DOC("\"labels\":[7],"),
        DOC("\"labels\":[" LABEL("mail", "1", "9", "one") "],"),
        DOC("\"labels\":[" LABEL("web", "1", "9", "one") "," LABEL("db", "1", "9", "two") "],"),
        DOC("\"labels\":[" LABEL("web", "1", "9", "one") "," LABEL("web", "1", "9", "two") "],"),
        DOC("\"labels\":[" LABEL("web", "1", "9", "") "],"),
        DOC("\"labels\":[" LABEL("web", "1", "9", "a\\nb") "],"),
        DOC("\"labels\":[" LABEL("web", "-1", "9", "one") "],"),
    };
    struct zb_err err;
    (void)state;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct zb_config_doc doc = {0};
        if (zb_config_doc_parse(bad[i], &doc, &err) != ZB_E_FORMAT) {
            fail_msg("accepted: %s", bad[i]);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_label_is_one_short_line),
        cmocka_unit_test(a_set_has_one_label),
        cmocka_unit_test(a_service_has_so_many),
        cmocka_unit_test(the_configuration_has_them),
        cmocka_unit_test(what_is_no_list_of_labels_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
