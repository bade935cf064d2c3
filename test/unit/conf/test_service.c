#include "unit.h"

#include "conf/service.h"

/* Of one service with extra keys. */
#define SERVICE(name, extra)                                                                       \
    "service " name " { members = { vm1, vm2 }\n leader = vm1\n mountpoint = \"/srv/" name         \
    "\"\n" extra "}\n"

static void
parse(const char *text, struct zb_conf_services *out)
{
    struct zb_err err;

    if (zb_conf_services_parse(text, "t", NULL, out, &err) != ZB_OK) {
        fail_msg("%s", err.msg);
    }
}

static void
assert_refused(const char *text, const struct zb_conf_nodes *known, enum zb_rc rc, const char *msg)
{
    struct zb_conf_services out = {.count = 77};
    struct zb_err err;

    assert_int_equal(zb_conf_services_parse(text, "t", known, &out, &err), rc);
    assert_string_equal(err.msg, msg);
    assert_int_equal(out.count, 77);
}

static void
fields_and_defaults(void **state)
{
    (void)state;
    struct zb_conf_services list = {0};

    parse(SERVICE("web", "backups = { b1 }; quota = 10G; stop-timeout = \"90s\"") SERVICE("db", ""),
          &list);
    assert_int_equal(list.count, 2);
    assert_string_equal(list.items[0].name, "db"); /* sorted */
    const struct zb_conf_service *s = zb_conf_services_find(&list, "web");
    assert_string_equal(s->name, "web");
    assert_int_equal(s->members.count, 2);
    assert_string_equal(s->members.items[1], "vm2");
    assert_int_equal(s->backups.count, 1);
    assert_string_equal(s->backups.items[0], "b1");
    assert_string_equal(s->leader, "vm1");
    assert_string_equal(s->mountpoint, "/srv/web");
    assert_int_equal(s->interval_ms, 30000);
    assert_int_equal(s->keep.last, 24);
    assert_true(s->quota_bytes == UINT64_C(10) << 30);
    assert_int_equal(s->runner, ZB_CONF_RUNNER_NONE);
    assert_int_equal(s->start_timeout_ms, 60000);
    assert_int_equal(s->stop_timeout_ms, 90000);
    assert_int_equal(s->drill_timeout_ms, 600000);
    assert_string_equal(s->start, "");
    /* Nothing of one section stays in the next. */
    assert_int_equal(list.items[0].backups.count, 0);
    assert_true(list.items[0].quota_bytes == 0);
    assert_null(zb_conf_services_find(&list, "we"));
    zb_conf_services_close(&list);
    assert_null(list.items);
}

static void
known_nodes(void **state)
{
    (void)state;
    static const char *const names[] = {"vm1", "vm2"};
    const struct zb_conf_nodes known = {.count = 2, .names = names};
    const struct zb_conf_nodes one = {.count = 1, .names = names};
    const struct zb_conf_nodes none = {0};
    struct zb_conf_services list = {0};
    struct zb_err err;

    assert_int_equal(zb_conf_services_parse(SERVICE("web", ""), "t", &known, &list, &err), ZB_OK);
    zb_conf_services_close(&list);
    assert_refused(SERVICE("web", ""), &one, ZB_E_FORMAT,
                   "t:4: service web: vm2 is not a node of the cluster; did you mean 'vm1'?");
    assert_refused(SERVICE("web", ""), &none, ZB_E_FORMAT,
                   "t:4: service web: vm1 is not a node of the cluster");
    assert_refused(SERVICE("web", "backups = { other }\n"), &known, ZB_E_FORMAT,
                   "t:5: service web: other is not a node of the cluster");
}

static void
sizes_of_texts(void **state)
{
    (void)state;
    struct zb_conf_services list = {0};
    char *text = calloc(1, ZB_CONF_TEXT_MAX + 2);

    assert_non_null(text);
    parse("", &list);
    assert_int_equal(list.count, 0);
    memset(text, ' ', ZB_CONF_TEXT_MAX);
    parse(text, &list);
    text[ZB_CONF_TEXT_MAX] = ' ';
    assert_refused(text, NULL, ZB_E_LIMIT, "t: longer than 524288 bytes");
    free(text);
}

static void
number_of_services(void **state)
{
    (void)state;
    size_t size = ZB_CONF_TEXT_MAX;
    char *text = calloc(1, size);
    struct zb_conf_services list = {0};
    struct zb_err err;
    size_t used = 0;
    size_t whole = 0;

    assert_non_null(text);
    for (int i = 0; i <= ZB_SERVICES_MAX; i++) {
        whole = used;
        used += (size_t)snprintf(text + used, size - used,
                                 "service s%04d { members = {a}\nleader = a\n"
                                 "mountpoint = \"/s/%d\" }\n",
                                 i, i);
    }
    assert_int_equal(zb_conf_services_parse(text, "t", NULL, &list, &err), ZB_E_LIMIT);
    assert_string_equal(err.msg, "t:3075: service s1024: more than 1024 services");
    text[whole] = '\0';
    parse(text, &list);
    assert_int_equal(list.count, ZB_SERVICES_MAX);
    assert_string_equal(list.items[1023].name, "s1023");
    zb_conf_services_close(&list);
    free(text);
}

static void
an_error_does_not_stay(void **state)
{
    (void)state;
    struct zb_conf_services list = {0};

    assert_refused("service web { leader = \"a", NULL, ZB_E_FORMAT, "t:1: string without its end");
    assert_refused("service web { leader = a\n}}", NULL, ZB_E_FORMAT,
                   "t:2: service web: members is missing");
    parse(SERVICE("web", ""), &list);
    assert_int_equal(list.count, 1);
    zb_conf_services_close(&list);
}

/* "line\nline\n" of the difference between two texts. */
static void
assert_diff(const char *old_text, const char *new_text, const char *expected)
{
    struct zb_conf_services old = {0};
    struct zb_conf_services new = {0};
    struct zb_conf_lines lines = {0};
    struct zb_err err;
    char text[1024] = "";

    parse(old_text, &old);
    parse(new_text, &new);
    assert_int_equal(zb_conf_services_diff(&old, &new, &lines, &err), ZB_OK);
    for (uint32_t i = 0; i < lines.count; i++) {
        size_t used = strlen(text);
        (void)snprintf(text + used, sizeof text - used, "%s\n", lines.items[i]);
    }
    assert_string_equal(text, expected);
    zb_conf_lines_close(&lines);
    assert_null(lines.items);
    zb_conf_services_close(&old);
    zb_conf_services_close(&new);
}

static void
differences(void **state)
{
    (void)state;
    assert_diff("", "", "");
    assert_diff(SERVICE("a", "") SERVICE("b", ""), SERVICE("b", "") SERVICE("a", ""), "");
    assert_diff(SERVICE("a", "") SERVICE("b", ""), SERVICE("b", "") SERVICE("c", ""),
                "- service a\n+ service c\n");
    assert_diff("", SERVICE("a", ""), "+ service a\n");
    assert_diff(SERVICE("db", ""),
                SERVICE("db", "interval = 10s; quota = 1G; backups = { b1, b2 }"),
                "~ service db: backups none -> {b1, b2}\n"
                "~ service db: interval 30s -> 10s\n"
                "~ service db: quota none -> 1G\n");
    assert_diff("service a { members = {x, y}\nleader = x\nmountpoint = /a }",
                "service a { members = {x, y}\nleader = y\nmountpoint = /b }",
                "~ service a: leader x -> y (ignored: only read for a new service)\n"
                "~ service a: mountpoint /a -> /b\n");
}

static enum zb_rc
change(const char *old_members, const char *new_members, struct zb_err *err)
{
    static const char form[] = "service db { members = {%s}\nleader = a\nmountpoint = /db }";
    struct zb_conf_services old = {0};
    struct zb_conf_services new = {0};
    char text[256];

    (void)snprintf(text, sizeof text, form, old_members);
    parse(text, &old);
    (void)snprintf(text, sizeof text, form, new_members);
    parse(text, &new);
    enum zb_rc rc = zb_conf_services_change_check(&old, &new, err);
    zb_conf_services_close(&old);
    zb_conf_services_close(&new);
    return rc;
}

static void
voters_change_one_at_a_time(void **state)
{
    (void)state;
    struct zb_err err;
    struct zb_conf_services none = {0};
    struct zb_conf_services one = {0};

    assert_int_equal(change("a, b", "b, a", &err), ZB_OK);
    assert_int_equal(change("a, b", "a, b, c", &err), ZB_OK);
    assert_int_equal(change("a, b, c", "a, c", &err), ZB_OK);
    assert_int_equal(change("a, b", "a, c", &err), ZB_E_REFUSED);
    assert_string_equal(err.msg, "service db: 1 members added and 1 removed, but voters change one "
                                 "at a time");
    assert_string_equal(err.hint, "apply one change of voters, then the next");
    assert_int_equal(change("a", "a, b, c", &err), ZB_E_REFUSED);
    assert_int_equal(change("a, b, c", "a", &err), ZB_E_REFUSED);
    /* etcd is a voter too. */
    assert_int_equal(change("a, b", "a, b}\nwitness = etcd\nbackups = {", &err), ZB_OK);
    assert_int_equal(change("a, b", "a, b, c}\nwitness = etcd\nbackups = {", &err), ZB_E_REFUSED);
    assert_string_equal(err.msg, "service db: 1 members added and 0 removed, and its witness "
                                 "changed, but voters change one at a time");
    parse(SERVICE("web", ""), &one);
    assert_int_equal(zb_conf_services_change_check(&none, &one, &err), ZB_OK);
    assert_int_equal(zb_conf_services_change_check(&one, &none, &err), ZB_OK);
    zb_conf_services_close(&one);
}

static void
flavour_stays(void **state)
{
    (void)state;
    struct zb_conf_services plain = {0};
    struct zb_conf_services other = {0};
    struct zb_err err;

    parse(SERVICE("web", ""), &plain);
    parse(SERVICE("web", "flavour = raw\nkey-file = \"/k/web\""), &other);
    assert_int_equal(other.items[0].flavour, ZB_CONF_FLAVOUR_RAW);
    assert_string_equal(other.items[0].key_file, "/k/web");
    assert_int_equal(other.items[0].key_format, ZB_CONF_KEY_NONE);
    assert_int_equal(zb_conf_services_change_check(&plain, &other, &err), ZB_E_REFUSED);
    assert_string_equal(err.msg,
                        "service web: its flavour is \"plain\", and stays so for its life: "
                        "its copies take no streams of the other");
    assert_string_equal(err.hint,
                        "declare another service with the other flavour, and copy the files");
    assert_int_equal(zb_conf_services_change_check(&other, &plain, &err), ZB_E_REFUSED);
    assert_int_equal(zb_conf_services_change_check(&other, &other, &err), ZB_OK);
    zb_conf_services_close(&plain);
    zb_conf_services_close(&other);
    parse(SERVICE("web", "flavour = raw\nkey-file = \"/k/web\""), &plain);
    parse(SERVICE("web", "flavour = raw\nkey-file = \"/k/other\"\nkey-format = hex"), &other);
    assert_int_equal(zb_conf_services_change_check(&plain, &other, &err), ZB_OK);
    zb_conf_services_close(&plain);
    zb_conf_services_close(&other);
}

/* Asked for of what is declared anew, or again; a stored one is read all the same. */
static void
no_more_is_kept_than_can_be_listed(void **state)
{
    (void)state;
    struct zb_conf_services none = {0};
    struct zb_conf_services list = {0};
    struct zb_err err;

    parse(SERVICE("web", "keep-for = \"300000s\"\nbackup-keep-for = \"300000s\""), &list);
    assert_int_equal(zb_conf_services_change_check(&none, &list, &err), ZB_OK);
    zb_conf_services_close(&list);
    parse(SERVICE("web", "keep-for = \"300001s\""), &list);
    assert_int_equal(zb_conf_services_change_check(&none, &list, &err), ZB_E_REFUSED);
    assert_string_equal(err.msg,
                        "service web: keep-for 300001s is more than 10000 sets at interval 30s");
    assert_string_equal(err.hint,
                        "keep-for = \"5000m\" or less, and daily, weekly, ... for longer");
    assert_int_equal(zb_conf_services_change_check(&list, &list, &err), ZB_E_REFUSED);
    zb_conf_services_close(&list);
    parse(SERVICE("web", "backup-keep-for = \"30d\""), &list);
    assert_int_equal(zb_conf_services_change_check(&none, &list, &err), ZB_E_REFUSED);
    assert_string_equal(err.hint, "backup-keep-for = \"5000m\" or less, and backup-daily, "
                                  "backup-weekly, ... for longer");
    zb_conf_services_close(&list);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_and_defaults),
        cmocka_unit_test(known_nodes),
        cmocka_unit_test(sizes_of_texts),
        cmocka_unit_test(number_of_services),
        cmocka_unit_test(an_error_does_not_stay),
        cmocka_unit_test(differences),
        cmocka_unit_test(voters_change_one_at_a_time),
        cmocka_unit_test(flavour_stays),
        cmocka_unit_test(no_more_is_kept_than_can_be_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
