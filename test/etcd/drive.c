/*
 * The etcd client as a program: reads lines of JSON, answers each with a line of JSON.
 *
 * The first line is the options of struct zb_etcd_options, and "chroot": the folder to live in from
 * then on. Each more is a list of calls, made at
 * once:
 *   [{"compare": [[key, revision], ...],
 *     "success": [["put", key, value], ["range", key, range_end or null], ...],
 *     "failure": [...]}]   or   [{"compact": revision}]
 * and is answered with the list of the answers, as they came, when all are there.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "etcd/etcd.h"

static struct {
    uv_loop_t loop;
    struct zb_etcd *etcd;
    json_t *answers;
} world;

static const char *
text(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static void
options_take(const char *line)
{
    json_t *o = json_loads(line, 0, NULL);
    const json_t *endpoints = json_object_get(o, "endpoints");
    struct zb_etcd_options options = {
        .loop = &world.loop,
        .endpoints_count = (uint32_t)json_array_size(endpoints),
        .ca = text(o, "ca"),
        .cert = text(o, "cert"),
        .key = text(o, "key"),
        .user = text(o, "user"),
        .password = text(o, "password"),
        .request_ms = (uint32_t)json_integer_value(json_object_get(o, "request_ms"))};
    struct zb_err err;

    for (size_t i = 0; i < json_array_size(endpoints); i++) {
        options.endpoints[i] = json_string_value(json_array_get(endpoints, i));
    }
    if (text(o, "chroot") != NULL && (chroot(text(o, "chroot")) != 0 || chdir("/") != 0)) {
        perror("chroot");
        exit(2);
    }
    if (zb_etcd_new(&options, &world.etcd, &err) != ZB_OK) {
        fprintf(stderr, "%s\n", err.msg);
        exit(2);
    }
    json_decref(o);
}

static void
on_answer(void *ctx, const struct zb_etcd_answer *a)
{
    uint64_t begun = *(uint64_t *)ctx;
    json_t *kvs = json_array();

    for (uint32_t i = 0; i < a->kvs_count; i++) {
        const struct zb_etcd_kv *kv = &a->kvs[i];
        json_array_append_new(kvs, json_pack("{s:s%, s:s%, s:I}", "key", kv->key, kv->key_size,
                                             "value", kv->value, kv->value_size, "mod_revision",
                                             (json_int_t)kv->mod_revision));
    }
    uv_update_time(&world.loop);
    json_t *o =
        json_pack("{s:s, s:s, s:s, s:b, s:I, s:I, s:o, s:I}", "rc", zb_rc_word(a->rc), "text",
                  a->text, "endpoint", a->endpoint, "succeeded", a->succeeded, "revision",
                  (json_int_t)a->revision, "raft_term", (json_int_t)a->raft_term, "kvs", kvs, "ms",
                  (json_int_t)(uv_now(&world.loop) - begun));
    assert(o != NULL);
    json_array_append_new(world.answers, o);
}

static void
compares_take(const json_t *list, struct zb_etcd_txn *txn)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *from = json_array_get(list, i);
        struct zb_etcd_compare *c = &txn->compares[txn->compares_count++];
        c->key = json_string_value(json_array_get(from, 0));
        c->revision = json_integer_value(json_array_get(from, 1));
    }
}

static uint32_t
ops_take(const json_t *list, struct zb_etcd_op *ops)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *from = json_array_get(list, i);
        const char *kind = json_string_value(json_array_get(from, 0));
        const char *more = json_string_value(json_array_get(from, 2));
        ops[i].key = json_string_value(json_array_get(from, 1));
        if (strcmp(kind, "put") == 0) {
            ops[i].kind = ZB_ETCD_PUT;
            ops[i].value = more;
        } else {
            ops[i].kind = ZB_ETCD_RANGE;
            ops[i].range_end = more;
        }
    }
    return (uint32_t)json_array_size(list);
}

static void
call(const json_t *o, uint64_t *begun)
{
    json_int_t revision = json_integer_value(json_object_get(o, "compact"));
    struct zb_etcd_txn txn = {0};

    if (revision > 0) {
        zb_etcd_compact(world.etcd, revision, on_answer, begun);
        return;
    }
    compares_take(json_object_get(o, "compare"), &txn);
    txn.success_count = ops_take(json_object_get(o, "success"), txn.success);
    txn.failure_count = ops_take(json_object_get(o, "failure"), txn.failure);
    zb_etcd_txn(world.etcd, &txn, on_answer, begun);
}

static void
calls_run(const char *line)
{
    json_t *calls = json_loads(line, 0, NULL);
    uint64_t begun;

    world.answers = json_array();
    uv_update_time(&world.loop);
    begun = uv_now(&world.loop);
    for (size_t i = 0; i < json_array_size(calls); i++) {
        call(json_array_get(calls, i), &begun);
    }
    while (json_array_size(world.answers) < json_array_size(calls)) {
        (void)uv_run(&world.loop, UV_RUN_ONCE);
    }
    json_dumpf(world.answers, stdout, JSON_COMPACT);
    putchar('\n');
    (void)fflush(stdout);
    json_decref(world.answers);
    json_decref(calls);
}

int
main(void)
{
    char *line = NULL;
    size_t size = 0;

    (void)uv_loop_init(&world.loop);
    if (getline(&line, &size, stdin) < 0) {
        return 2;
    }
    options_take(line);
    while (getline(&line, &size, stdin) > 0) {
        calls_run(line);
    }
    free(line);
    zb_etcd_free(world.etcd);
    (void)uv_run(&world.loop, UV_RUN_DEFAULT);
    return uv_loop_close(&world.loop) == 0 ? 0 : 1;
}
