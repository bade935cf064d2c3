/* agent/verify_sums.h: what members say of a set is read strictly, and compared. */
#include "unit.h"

#include "agent/json.h"
#include "agent/verify_sums.h"

#define SUM_A "00000000000000010000000000000002"
#define SUM_B "00000000000000010000000000000003"

static struct zb_verify_answer answers[3];
static struct zb_verify_answer *const all[] = {&answers[0], &answers[1], &answers[2]};
static const char *const nodes[] = {"vm1", "vm2", "vm3"};

static void
said(size_t i, const char *text)
{
    struct zb_err err;

    if (zb_verify_answer_parse(text, &answers[i], &err) != ZB_OK) {
        fail_msg("%s", err.msg);
    }
}

static void
test_an_answer_is_read(void **state)
{
    char digest[33];
    (void)state;

    said(0, "total 5 4 3 1024 1\nerror 5 data/file\nsum 0 " SUM_A "\nsum 1023 " SUM_B "\n");
    assert_int_equal(answers[0].names, 5);
    assert_int_equal(answers[0].files, 4);
    assert_int_equal(answers[0].read_files, 3);
    assert_int_equal(answers[0].read_bytes, 1024);
    assert_int_equal(answers[0].unreadable, 1);
    assert_int_equal(answers[0].errors_count, 1);
    assert_int_equal(answers[0].errors[0].error, 5);
    assert_string_equal(answers[0].errors[0].path, "data/file");
    zb_verify_digest(&answers[0], digest);
    assert_string_equal(digest, "00000000000000020000000000000005");
    said(0, "total 1 0 0 0 0\nname 00000000000000ff " SUM_A " a file\nmore 7\n");
    assert_int_equal(answers[0].list_count, 1);
    assert_int_equal(answers[0].list[0].position, 255);
    assert_string_equal(answers[0].list[0].path, "a file");
    assert_int_equal(answers[0].list_more, 7);
}

static void
test_nothing_else_is_read(void **state)
{
    const char *const bad[] = {
        "",
        "sum 0 " SUM_A "\n",
        "total 1 1 1 1\n",
        "total 1 1 1 1 1",
        "total 1 1 1 1 -1\n",
        "total 1 1 1 1 9223372036854775808\n",
        "total 1 1 1 1 1\nsum 1024 " SUM_A "\n",
        "total 1 1 1 1 1\nsum 1 0000\n",
        "total 1 1 1 1 1\nsum 1 " SUM_A "0\n",
        "total 1 1 1 1 1\nname ff " SUM_A " a\n",
        "total 1 1 1 1 1\nname 00000000000000ff " SUM_A " \n",
        "total 1 1 1 1 1\nname 00000000000000ff " SUM_A " a\x1b\n",
        "total 1 1 1 1 1\nerror 5000 a\n",
        "total 1 1 1 1 1\nother\n",
        "total 1 1 1 1 1\n\n",
    };
    struct zb_err err;
    char many[ZB_VERIFY_ERRORS_MAX * 16 + 64] = "total 1 1 1 1 99\n";
    (void)state;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(zb_verify_answer_parse(bad[i], &answers[0], &err), ZB_E_FORMAT);
    }
    for (int i = 0; i < ZB_VERIFY_ERRORS_MAX; i++) {
        (void)snprintf(many + strlen(many), 16, "error 5 a\n");
    }
    assert_int_equal(zb_verify_answer_parse(many, &answers[0], &err), ZB_OK);
    (void)snprintf(many + strlen(many), 16, "error 5 a\n");
    assert_int_equal(zb_verify_answer_parse(many, &answers[0], &err), ZB_E_FORMAT);
}

static void
test_what_differs_is_found(void **state)
{
    uint32_t ranges[2] = {0};
    (void)state;

    for (size_t i = 0; i < 3; i++) {
        said(i, "total 2 2 2 2 0\nsum 3 " SUM_A "\nsum 5 " SUM_A "\n");
    }
    assert_int_equal(zb_verify_differing(all, 3, ranges, 2), 0);
    said(2, "total 2 2 2 2 0\nsum 3 " SUM_A "\nsum 5 " SUM_B "\n");
    assert_int_equal(zb_verify_differing(all, 3, ranges, 2), 1);
    assert_int_equal(ranges[0], 5);
    assert_int_equal(zb_verify_differing(all, 2, ranges, 2), 0);
    said(1, "total 3 2 2 2 0\nsum 3 " SUM_A "\nsum 1 " SUM_A "\nsum 5 " SUM_A "\n");
    said(0, "total 1 2 2 2 0\nsum 3 " SUM_A "\n");
    assert_int_equal(zb_verify_differing(all, 3, ranges, 1), 2);
    assert_int_equal(ranges[0], 1);
}

/* Names as "path: vm1 vm2 / vm3, missing vm2", one a line. */
static void
expect_names(uint32_t max, const char *wanted)
{
    json_t *names = zb_verify_names_json(all, nodes, 3, max);
    char text[1024] = "";
    size_t i, k, n;
    json_t *one, *kind, *node;

    json_array_foreach(names, i, one)
    {
        (void)snprintf(text + strlen(text), 400,
                       "%s:", json_string_value(json_object_get(one, "path")));
        json_array_foreach(json_object_get(one, "same"), k, kind)
        {
            (void)snprintf(text + strlen(text), 8, "%s", k > 0 ? " /" : "");
            json_array_foreach(kind, n, node)
            {
                (void)snprintf(text + strlen(text), 16, " %s", json_string_value(node));
            }
        }
        json_array_foreach(json_object_get(one, "missing"), n, node)
        {
            (void)snprintf(text + strlen(text), 24, ", missing %s", json_string_value(node));
        }
        (void)snprintf(text + strlen(text), 2, "\n");
    }
    json_decref(names);
    assert_string_equal(text, wanted);
}

static void
test_names_that_differ_are_told(void **state)
{
    (void)state;

    said(0, "total 3 3 3 3 0\nname 0000000000000001 " SUM_A " same\n"
            "name 0000000000000002 " SUM_A " other\nname 0000000000000003 " SUM_A " gone\n");
    said(1, "total 3 3 3 3 0\nname 0000000000000001 " SUM_A " same\n"
            "name 0000000000000002 " SUM_A " other\n");
    said(2, "total 3 3 3 3 0\nname 0000000000000003 " SUM_B " gone\n"
            "name 0000000000000002 " SUM_B " other\nname 0000000000000001 " SUM_A " same\n"
            "name 0000000000000004 " SUM_A " a new one\n");
    expect_names(10, "a new one: vm3, missing vm1, missing vm2\ngone: vm1 / vm3, missing vm2\n"
                     "other: vm1 vm2 / vm3\n");
    expect_names(1, "a new one: vm3, missing vm1, missing vm2\n");
}

/* What an answer had no room for may be there. */
static void
test_what_did_not_fit_is_not_missing(void **state)
{
    (void)state;

    said(0, "total 3 3 3 3 0\nname 0000000000000001 " SUM_A " one\n");
    said(1, "total 3 3 3 3 0\nname 0000000000000001 " SUM_A " one\n");
    said(2, "total 3 3 3 3 0\nname 0000000000000002 " SUM_A " two\nmore 2\n");
    expect_names(10, "two: vm3, missing vm1, missing vm2\n");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_answer_is_read),
        cmocka_unit_test(test_nothing_else_is_read),
        cmocka_unit_test(test_what_differs_is_found),
        cmocka_unit_test(test_names_that_differ_are_told),
        cmocka_unit_test(test_what_did_not_fit_is_not_missing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
