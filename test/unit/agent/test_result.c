/* What another node's result is taken for. */
#include "unit.h"

#include <jansson.h>

#include "agent/request.h"

static void
expect(const char *text, bool data, enum zb_rc rc, const char *said)
{
    json_t *result = json_loads(text, 0, NULL);
    struct zb_err err = {.rc = ZB_OK};

    assert_non_null(result);
    assert_int_equal(zb_result_data(result, &err) != NULL, data);
    if (!data) {
        assert_int_equal(err.rc, rc);
        assert_string_equal(err.msg, said);
    }
    json_decref(result);
}

static void
test_results(void **state)
{
    const char *not_understood = "the answer is not understood";
    (void)state;

    expect("{\"rc\":0,\"data\":{}}", true, ZB_OK, "");
    expect("{\"rc\":0}", false, ZB_E_FORMAT, not_understood);
    expect("{\"rc\":0,\"data\":[]}", false, ZB_E_FORMAT, not_understood);
    expect("{\"data\":{}}", false, ZB_E_FORMAT, not_understood);
    expect("{\"rc\":3,\"error\":\"no\",\"data\":{}}", false, ZB_E_REFUSED, "no");
    expect("{}", false, ZB_E_FORMAT, not_understood);
}

/* A number that is cut off on its way into an enum is ZB_OK no less than 0 is. */
static void
test_no_error_is_success(void **state)
{
    const char *numbers[] = {"4294967296", "-4294967296", "9223372036854775807",
                             "-1",         "29",          "\"3\""};
    char text[96];
    (void)state;

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        (void)snprintf(text, sizeof(text), "{\"rc\":%s,\"error\":\"no\"}", numbers[i]);
        expect(text, false, ZB_E_FORMAT, "no");
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_results),
        cmocka_unit_test(test_no_error_is_success),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
