#include "unit.h"

#include "etcd/internal.h"

static const struct zb_etcd_op put_a = {.kind = ZB_ETCD_PUT, .key = "a", .value = "1"};

static void
test_txn(void **state)
{
    struct zb_etcd_txn txn = {
        .compares = {{.key = "a", .revision = 7}, {.key = "b"}},
        .compares_count = 2,
        .success = {put_a, {.kind = ZB_ETCD_RANGE, .key = "s/", .range_end = "s0"}},
        .success_count = 2,
        .failure = {{.kind = ZB_ETCD_RANGE, .key = "a"}},
        .failure_count = 1,
    };
    struct zb_etcd_asked asked = {0};
    struct zb_err err;
    char *body;

    (void)state;
    assert_int_equal(zb_etcd_txn_encode(&txn, &body, &asked, &err), ZB_OK);
    assert_string_equal(
        body, "{\"compare\":["
              "{\"key\":\"YQ==\",\"result\":\"EQUAL\",\"target\":\"MOD\",\"mod_revision\":\"7\"},"
              "{\"key\":\"Yg==\",\"result\":\"EQUAL\",\"target\":\"MOD\",\"mod_revision\":\"0\"}],"
              "\"success\":[{\"request_put\":{\"key\":\"YQ==\",\"value\":\"MQ==\"}},"
              "{\"request_range\":{\"key\":\"cy8=\",\"range_end\":\"czA=\"}}],"
              "\"failure\":[{\"request_range\":{\"key\":\"YQ==\"}}]}");
    assert_int_equal(asked.branches[true].count, 2);
    assert_string_equal(asked.branches[true].ops[1].range_end, "s0");
    assert_null(asked.branches[false].ops[0].range_end);
    free(body);
    zb_etcd_asked_close(&asked);
}

static enum zb_rc
rc_of(const struct zb_etcd_txn *txn)
{
    struct zb_etcd_asked asked = {0};
    struct zb_err err;
    char *body = NULL;
    enum zb_rc rc = zb_etcd_txn_encode(txn, &body, &asked, &err);

    assert_true(rc == ZB_OK || body == NULL);
    free(body);
    zb_etcd_asked_close(&asked);
    return rc;
}

static void
test_without_put(void **state)
{
    const struct zb_etcd_op range = {.kind = ZB_ETCD_RANGE, .key = "a"};

    (void)state;
    assert_int_equal(rc_of(&(struct zb_etcd_txn){0}), ZB_E_USAGE);
    assert_int_equal(rc_of(&(struct zb_etcd_txn){.success = {range}, .success_count = 1}),
                     ZB_E_USAGE);
    assert_int_equal(rc_of(&(struct zb_etcd_txn){.failure = {put_a}, .failure_count = 1}),
                     ZB_E_USAGE);
    assert_int_equal(rc_of(&(struct zb_etcd_txn){.success = {range, put_a}, .success_count = 2}),
                     ZB_OK);
}

static void
test_bad(void **state)
{
    static const struct zb_etcd_op bad[] = {
        {.kind = ZB_ETCD_PUT, .key = "a"},
        {.kind = ZB_ETCD_PUT, .key = "", .value = "1"},
        {.kind = ZB_ETCD_PUT, .value = "1"},
        {.kind = ZB_ETCD_RANGE, .key = NULL},
        {.kind = ZB_ETCD_RANGE, .key = "b", .range_end = "a"},
        {.kind = ZB_ETCD_RANGE, .key = "b", .range_end = ""},
        {.kind = (enum zb_etcd_kind)9, .key = "b"},
    };
    static const struct zb_etcd_compare worse[] = {
        {.revision = 1},
        {.key = "", .revision = 1},
        {.key = "a", .revision = -1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(
            rc_of(&(struct zb_etcd_txn){.success = {put_a, bad[i]}, .success_count = 2}),
            ZB_E_USAGE);
        assert_int_equal(
            rc_of(&(struct zb_etcd_txn){
                .success = {put_a}, .success_count = 1, .failure = {bad[i]}, .failure_count = 1}),
            ZB_E_USAGE);
    }
    for (size_t i = 0; i < sizeof worse / sizeof worse[0]; i++) {
        assert_int_equal(rc_of(&(struct zb_etcd_txn){.compares = {worse[i]},
                                                     .compares_count = 1,
                                                     .success = {put_a},
                                                     .success_count = 1}),
                         ZB_E_USAGE);
    }
    assert_int_equal(
        rc_of(&(struct zb_etcd_txn){.success = {put_a}, .success_count = ZB_ETCD_OPS_MAX + 1}),
        ZB_E_USAGE);
}

static void
test_too_long(void **state)
{
    char *value = malloc(ZB_ETCD_BODY_MAX);

    (void)state;
    assert_non_null(value);
    memset(value, 'x', ZB_ETCD_BODY_MAX - 1);
    value[ZB_ETCD_BODY_MAX - 1] = '\0';
    const struct zb_etcd_op put = {.kind = ZB_ETCD_PUT, .key = "a", .value = value};
    assert_int_equal(rc_of(&(struct zb_etcd_txn){.success = {put}, .success_count = 1}),
                     ZB_E_LIMIT);
    free(value);
}

static void
test_compact(void **state)
{
    struct zb_err err;
    char *body;

    (void)state;
    assert_int_equal(zb_etcd_compact_encode(INT64_MAX, &body, &err), ZB_OK);
    assert_string_equal(body, "{\"revision\":\"9223372036854775807\"}");
    free(body);
    assert_int_equal(zb_etcd_compact_encode(0, &body, &err), ZB_E_USAGE);
}

static void
test_prefix_end(void **state)
{
    char end[8];

    (void)state;
    assert_true(zb_etcd_prefix_end("/z/", end, sizeof end));
    assert_string_equal(end, "/z0");
    assert_true(zb_etcd_prefix_end("a\xff\xff", end, sizeof end));
    assert_string_equal(end, "b");
    assert_true(zb_etcd_prefix_end("1234567", end, sizeof end));
    assert_false(zb_etcd_prefix_end("12345678", end, sizeof end));
    assert_false(zb_etcd_prefix_end("", end, sizeof end));
    assert_false(zb_etcd_prefix_end("\xff", end, sizeof end));
}

static void
test_endpoints(void **state)
{
    static const char *const good[] = {"http://127.0.0.1:2379", "https://10.0.0.1:1",
                                       "https://[2001:db8::1]:65535"};
    static const char *const bad[] = {"",
                                      "127.0.0.1:2379",
                                      "ftp://127.0.0.1:2379",
                                      "http://127.0.0.1",
                                      "http://127.0.0.1:",
                                      "http://127.0.0.1:0",
                                      "http://127.0.0.1:65536",
                                      "http://127.0.0.1:23x",
                                      "http://etcd:2379",
                                      "http://127.0.0.1:2379/",
                                      "http://a@127.0.0.1:2379",
                                      "http://[::1:2379",
                                      "http://::1:2379",
                                      "http://[127.0.0.1]:2379",
                                      "http://127.1:2379",
                                      "https://[::1%lo]:2379",
                                      "http://127.0.0.1:99999999999999999999",
                                      "HTTP://127.0.0.1:2379"};
    struct zb_err err;
    bool tls;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(zb_etcd_endpoint_check(good[i], &tls, &err), ZB_OK);
        assert_int_equal(tls, i > 0);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(zb_etcd_endpoint_check(bad[i], &tls, &err), ZB_E_USAGE);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_txn),       cmocka_unit_test(test_without_put),
        cmocka_unit_test(test_bad),       cmocka_unit_test(test_too_long),
        cmocka_unit_test(test_compact),   cmocka_unit_test(test_prefix_end),
        cmocka_unit_test(test_endpoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
