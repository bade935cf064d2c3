#include "unit.h"

#include "wire/kmsg.h"

#define UUID_A "0f8fad5b-d9cb-469f-a165-70867728950e"
#define UUID_B "7c9e6679-7425-40de-944b-e07fc1f90ae7"
#define BUF_SIZE (1u << 20)

static uint8_t buf[BUF_SIZE];
static const char *corpus;

static void
manifest_fill(struct zb_manifest *m)
{
    struct zb_err err;

    assert_int_equal(zb_manifest_init(m, 2, &err), ZB_OK);
    m->id = (struct zb_set_id){12, 345};
    m->time.s = -1;
    zb_strcopy(m->entries[0].uuid, ZB_UUID_SIZE, UUID_A);
    m->entries[0].guid = UINT64_MAX;
    zb_strcopy(m->entries[1].uuid, ZB_UUID_SIZE, UUID_B);
    zb_strcopy(m->entries[1].rel, ZB_REL_SIZE, "child/x");
    m->entries[1].guid = 7;
}

/* Every field has a value of its own: one that the tables forget is seen by memcmp. Static, so that
 * padding is zero as it is in what was decoded. */
static void
request_fill(struct zb_kreq *req)
{
    static const struct zb_kreq sample = {
        .id = 0x0102030405060708,
        .op = ZB_KOP_RECEIVE,
        .flags = 0xf0000001,
        .timeout_ms = 60000,
        .count = 24,
        .term = 12,
        .seq = 345,
        .base_term = 11,
        .base_seq = 344,
        .time_s = -1795329660,
        .guid = UINT64_MAX,
        .from_guid = 0x8000000000000000,
        .nonce = 77,
        .version = 5,
        .target = 6,
        .service = "web_1",
        .node = "vm1",
        .rel = "child/x",
        .uuid = UUID_A,
        .snap = "daily 2026+1",
        .from_snap = "daily 2026+0",
        .token = "1-e59a3c3-110-789c",
        .protect_count = 2,
        .protect = {{1, 2}, {3, 4}},
        .lineage = {.count = 2, .lines = {{5, {4, 3}}, {9, {5, 7}}}},
    };
    memcpy(req, &sample, sizeof *req);
    req->text = strdup("{\"a\": 1}");
    manifest_fill(&req->manifest);
}

static size_t
request_encode(const struct zb_kreq *req)
{
    struct zb_err err;
    size_t used = 0;

    assert_int_equal(zb_kreq_encode(req, buf, sizeof buf, &used, &err), ZB_OK);
    return used;
}

static size_t
reply_encode(const struct zb_krep *rep)
{
    struct zb_err err;
    size_t used = 0;

    assert_int_equal(zb_krep_encode(rep, buf, sizeof buf, &used, &err), ZB_OK);
    return used;
}

/* Encodes req (and closes it), decodes it and asserts how that fails. */
static void
assert_request_refused(struct zb_kreq *req, enum zb_rc rc, const char *msg)
{
    struct zb_kreq out;
    struct zb_err err;
    size_t used = request_encode(req);

    zb_kreq_close(req);
    assert_int_equal(zb_kreq_decode(buf, used, &out, &err), rc);
    assert_string_equal(err.msg, msg);
    assert_null(out.text);
    assert_int_equal(out.id, 0);
}

static void
request_round_trip(void **state)
{
    (void)state;
    struct zb_kreq req;
    struct zb_kreq out;
    struct zb_err err;

    request_fill(&req);
    size_t used = request_encode(&req);
    assert_int_equal(zb_kreq_decode(buf, used, &out, &err), ZB_OK);
    assert_string_equal(out.text, req.text);
    assert_memory_equal(out.manifest.entries, req.manifest.entries,
                        2 * sizeof out.manifest.entries[0]);
    free(req.text);
    free(out.text);
    free(req.manifest.entries);
    free(out.manifest.entries);
    req.text = out.text = NULL;
    req.manifest.entries = out.manifest.entries = NULL;
    assert_memory_equal(&req, &out, sizeof req);
}

static void
reply_fill(struct zb_krep *rep)
{
    static const struct zb_krep sample = {
        .id = 9,
        .op = ZB_KOP_OBSERVE,
        .rc = ZB_E_HELD,
        .sys_errno = -16,
        .more = 1,
        .flags = ZB_KF_REMOUNTED,
        .running = 1,
        .mounted_here = 1,
        .sealed = 1,
        .foreign = 1,
        .key = ZB_KEY_OTHER,
        .count = 4000,
        .elapsed_ms = 1900,
        .bytes = 1ull << 40,
        .guid = 3,
        .pool_guid = 4,
        .nonce = 6,
        .node = "vm2",
        .boot_id = UUID_B,
        .root = "tank/svc",
        .msg = "held by 17 (sh)",
        .hint = "kill 17",
        .record = {.granted_term = 13,
                   .granted_to = "vm1",
                   .learned_term = 12,
                   .learned_leader = "vm2",
                   .established_term = 11,
                   .released_term = 10,
                   .released_to = "vm3",
                   .released_set = {.id = {12, 346}, .digest = {1, 2, [15] = 16}},
                   .suspects = {"vm2", [ZB_MEMBERS_MAX] = "vm9"},
                   .version = 8,
                   .lineage = {.count = 1, .lines = {{12, {10, 2}}}}},
        .datasets_count = 2,
        .snaps_count = 1,
    };
    memcpy(rep, &sample, sizeof *rep);
    rep->text = strdup("web\ndb\n");
    manifest_fill(&rep->manifest);
    rep->datasets = calloc(2, sizeof *rep->datasets);
    rep->snaps = calloc(1, sizeof *rep->snaps);
    assert_non_null(rep->datasets);
    assert_non_null(rep->snaps);
    rep->datasets[1] = (struct zb_kdataset){
        .uuid = UUID_B,
        .rel = "child",
        .guid = 1,
        .mount = ZB_MOUNT_RW,
        .readonly_on = 1,
        .marked = 1,
        .written_bytes = 2,
        .used_bytes = 3,
        .newest = "zbaton-000012-00000345-20261122T064100Z",
        .newest_guid = 4,
        .token = "1-a-b-c",
    };
    rep->snaps[0] = (struct zb_ksnap){.name = "daily", .guid = 5, .createtxg = 6};
}

/* Frees what is owned; the rest stays, to be compared byte by byte. */
static void
reply_owned_drop(struct zb_krep *rep)
{
    free(rep->text);
    free(rep->manifest.entries);
    free(rep->datasets);
    free(rep->snaps);
    rep->text = NULL;
    rep->manifest.entries = NULL;
    rep->datasets = NULL;
    rep->snaps = NULL;
}

static void
reply_round_trip(void **state)
{
    (void)state;
    struct zb_krep rep;
    struct zb_krep out;
    struct zb_err err;

    reply_fill(&rep);
    size_t used = reply_encode(&rep);
    assert_int_equal(zb_krep_decode(buf, used, &out, &err), ZB_OK);
    assert_string_equal(out.text, rep.text);
    assert_int_equal(out.manifest.entries_count, 2);
    assert_memory_equal(out.datasets, rep.datasets, 2 * sizeof *out.datasets);
    assert_memory_equal(out.snaps, rep.snaps, sizeof *out.snaps);
    reply_owned_drop(&rep);
    reply_owned_drop(&out);
    assert_memory_equal(&rep, &out, sizeof rep);
}

/* The seed of a fuzz target is what is encoded now: one of another time would not decode, and no
 * mutation of it either. ZB_GOLDEN_WRITE makes them anew. */
static void
assert_seed(const char *target, const uint8_t *wanted, size_t size)
{
    static uint8_t there[BUF_SIZE];
    char path[512];

    (void)snprintf(path, sizeof path, "%s/%s/whole", corpus, target);
    if (getenv("ZB_GOLDEN_WRITE") != NULL) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        assert_int_equal(fwrite(wanted, 1, size, file), size);
        assert_int_equal(fclose(file), 0);
    }
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fread(there, 1, sizeof there, file), size);
    assert_int_equal(fclose(file), 0);
    assert_memory_equal(there, wanted, size);
}

static void
whole_messages_are_seeds(void **state)
{
    (void)state;
    /* fuzz_keeper_client.c: how long the pieces are, then a frame: the answer to its OBSERVE. */
    static uint8_t framed[BUF_SIZE] = {200};
    struct zb_kreq req;
    struct zb_krep rep;

    request_fill(&req);
    assert_seed("kreq", buf, request_encode(&req));
    zb_kreq_close(&req);
    reply_fill(&rep);
    assert_seed("krep", buf, reply_encode(&rep));
    rep.id = 2;
    rep.more = 0;
    size_t size = reply_encode(&rep);
    framed[3] = (uint8_t)(size >> 8);
    framed[4] = (uint8_t)size;
    memcpy(framed + 5, buf, size);
    assert_seed("keeper_client", framed, size + 5);
    reply_owned_drop(&rep);
}

static void
largest_observe_fits(void **state)
{
    (void)state;
    struct zb_krep rep = {.id = 1, .op = ZB_KOP_OBSERVE, .datasets_count = ZB_DATASETS_MAX};
    struct zb_krep out;
    struct zb_err err;
    size_t used = 0;

    rep.datasets = calloc(ZB_DATASETS_MAX, sizeof *rep.datasets);
    assert_non_null(rep.datasets);
    for (size_t i = 0; i < ZB_DATASETS_MAX; i++) {
        memset(rep.datasets[i].rel, 'r', sizeof rep.datasets[i].rel - 1);
        memset(rep.datasets[i].newest, 'n', sizeof rep.datasets[i].newest - 1);
        memset(rep.datasets[i].token, 'a', sizeof rep.datasets[i].token - 1);
        zb_strcopy(rep.datasets[i].uuid, ZB_UUID_SIZE, UUID_A);
    }
    assert_int_equal(zb_krep_encode(&rep, buf, ZB_KMSG_MAX, &used, &err), ZB_OK);
    assert_int_equal(zb_krep_decode(buf, used, &out, &err), ZB_OK);
    zb_krep_close(&out);
    zb_krep_close(&rep);
}

static void
every_truncation_is_refused(void **state)
{
    (void)state;
    struct zb_kreq req;
    struct zb_kreq out;
    struct zb_err err;

    request_fill(&req);
    size_t used = request_encode(&req);
    zb_kreq_close(&req);
    for (size_t size = 0; size < used; size++) {
        /* Of exactly that size, so that reading past it is seen. */
        uint8_t *part = malloc(size + (size == 0));
        assert_non_null(part);
        memcpy(part, buf, size);
        assert_int_equal(zb_kreq_decode(part, size, &out, &err), ZB_E_FORMAT);
        free(part);
    }
    buf[used] = 0;
    assert_int_equal(zb_kreq_decode(buf, used + 1, &out, &err), ZB_E_FORMAT);
    assert_string_equal(err.msg, "keeper request: 1 bytes too many");
}

static void
flipped_bytes_do_no_harm(void **state)
{
    (void)state;
    struct zb_krep rep;
    struct zb_krep out;
    struct zb_err err;
    static const uint8_t masks[] = {0x01, 0x80, 0xff};

    reply_fill(&rep);
    size_t used = reply_encode(&rep);
    zb_krep_close(&rep);
    for (size_t i = 0; i < used; i++) {
        for (size_t m = 0; m < sizeof masks; m++) {
            buf[i] ^= masks[m];
            (void)!zb_krep_decode(buf, used, &out, &err);
            zb_krep_close(&out);
            buf[i] ^= masks[m];
        }
    }
    assert_int_equal(zb_krep_decode(buf, used, &out, &err), ZB_OK);
    zb_krep_close(&out);
}

static void
bad_names_are_refused(void **state)
{
    (void)state;
    struct zb_kreq req = {.id = 1, .op = ZB_KOP_SEND};

    zb_strcopy(req.service, sizeof req.service, "../web");
    assert_request_refused(&req, ZB_E_FORMAT, "keeper request: service: not a valid value");
    req = (struct zb_kreq){.id = 1, .op = ZB_KOP_SEND, .node = "VM1"};
    assert_request_refused(&req, ZB_E_FORMAT, "keeper request: node: not a valid value");
    req = (struct zb_kreq){.id = 1, .op = ZB_KOP_SEND, .rel = "a/../b"};
    assert_request_refused(&req, ZB_E_FORMAT, "keeper request: rel: not a valid value");
    req = (struct zb_kreq){.id = 1, .op = ZB_KOP_SEND, .from_snap = "a@b"};
    assert_request_refused(&req, ZB_E_FORMAT, "keeper request: from_snap: not a valid value");
    req = (struct zb_kreq){.id = 1, .op = ZB_KOP_SEND, .snap = "a@b"};
    assert_request_refused(&req, ZB_E_FORMAT, "keeper request: snap: not a valid value");
    req = (struct zb_kreq){.id = 1, .op = ZB_KOP_SEND, .token = "1-a;"};
    assert_request_refused(&req, ZB_E_FORMAT, "keeper request: token: not a valid value");
    req = (struct zb_kreq){.id = 1, .op = ZB_KOP_SEND, .uuid = "x"};
    assert_request_refused(&req, ZB_E_FORMAT, "keeper request: uuid: not a valid value");
}

static void
bad_envelopes_are_refused(void **state)
{
    (void)state;
    struct zb_kreq req = {.id = 0, .op = ZB_KOP_SEND};
    struct zb_kreq out;
    struct zb_err err;
    char above[64];

    assert_request_refused(&req, ZB_E_FORMAT, "keeper request: id: is 0");
    req = (struct zb_kreq){.id = 1, .op = 0};
    assert_request_refused(&req, ZB_E_FORMAT, "keeper request: op: is 0");
    req = (struct zb_kreq){.id = 1, .op = ZB_KOP_LAST + 1};
    (void)snprintf(above, sizeof above, "keeper request: op: %d is above %d", ZB_KOP_LAST + 1,
                   ZB_KOP_LAST);
    assert_request_refused(&req, ZB_E_FORMAT, above);
    assert_int_equal(zb_kreq_decode(buf, ZB_KMSG_MAX + 1, &out, &err), ZB_E_LIMIT);
    assert_string_equal(err.msg, "keeper request: 524289 bytes, at most 524288 (ZB_KMSG_MAX)");
}

static void
bad_manifests_are_refused(void **state)
{
    (void)state;
    struct zb_kreq req;

    request_fill(&req);
    req.manifest.entries[1].rel[0] = '\0';
    assert_request_refused(&req, ZB_E_FORMAT, "keeper request: manifest: not a valid value");
}

static void
lengths_are_bounded(void **state)
{
    (void)state;
    struct zb_kreq req = {.id = 1, .op = ZB_KOP_DEFINE};
    struct zb_kreq out;
    struct zb_err err;
    size_t used = request_encode(&req);
    size_t size = 0;

    /* The message ends: text length, manifest (2 x 8, 8, count), lineage count, protect count. */
    size_t text_at = used - 4 - 4 - 28 - 4;
    size_t entries_at = used - 4 - 4 - 4;
    memset(buf + text_at, 0xff, 4);
    assert_int_equal(zb_kreq_decode(buf, used, &out, &err), ZB_E_LIMIT);
    assert_string_equal(err.msg, "keeper request: text: 4294967295 bytes, at most 65536");
    memset(buf + text_at, 0, 4);
    buf[entries_at + 3] = 200;
    assert_int_equal(zb_kreq_decode(buf, used, &out, &err), ZB_E_FORMAT);
    assert_string_equal(err.msg, "keeper request: manifest: entries: 200 elements in 8 bytes");
    buf[entries_at + 3] = 0;
    buf[used - 1] = ZB_MEMBERS_MAX + 2;
    assert_int_equal(zb_kreq_decode(buf, used, &out, &err), ZB_E_LIMIT);
    assert_string_equal(err.msg, "keeper request: protect: 11 elements, at most 10");

    assert_int_equal(zb_kreq_encode(&req, buf, used - 1, &size, &err), ZB_E_LIMIT);
    assert_int_equal(size, 0);
    req.protect_count = ZB_MEMBERS_MAX + 2;
    assert_int_equal(zb_kreq_encode(&req, buf, sizeof buf, &size, &err), ZB_E_LIMIT);
    assert_string_equal(err.msg, "keeper request define: protect: 11 elements, at most 10");
}

static void
texts_are_bounded(void **state)
{
    (void)state;
    struct zb_kreq req = {.id = 1, .op = ZB_KOP_DEFINE};
    struct zb_kreq out;
    struct zb_err err;
    size_t used = 0;

    req.text = calloc(1, 65538);
    assert_non_null(req.text);
    memset(req.text, 'x', 65536);
    used = request_encode(&req);
    assert_int_equal(zb_kreq_decode(buf, used, &out, &err), ZB_OK);
    assert_int_equal(strlen(out.text), 65536);
    zb_kreq_close(&out);
    req.text[65536] = 'x';
    assert_int_equal(zb_kreq_encode(&req, buf, sizeof buf, &used, &err), ZB_E_LIMIT);
    assert_string_equal(err.msg, "keeper request define: text: longer than 65536 bytes");
    req.text[0] = '\0';
    used = request_encode(&req);
    assert_int_equal(zb_kreq_decode(buf, used, &out, &err), ZB_OK);
    assert_null(out.text);
    zb_kreq_close(&req);
}

static void
words(void **state)
{
    (void)state;
    assert_string_equal(zb_kop_word(ZB_KOP_SNAPSHOT), "snapshot");
    assert_string_equal(zb_kop_word(0), "unknown");
    assert_string_equal(zb_kop_word(ZB_KOP_LAST + 1), "unknown");
    for (uint32_t op = 1; op <= ZB_KOP_LAST; op++) {
        assert_non_null(zb_kop_word(op));
    }
}

int
main(int argc, char **argv)
{
    corpus = argc == 2 ? argv[1] : ".";

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request_round_trip),          cmocka_unit_test(reply_round_trip),
        cmocka_unit_test(whole_messages_are_seeds),    cmocka_unit_test(largest_observe_fits),
        cmocka_unit_test(every_truncation_is_refused), cmocka_unit_test(flipped_bytes_do_no_harm),
        cmocka_unit_test(bad_names_are_refused),       cmocka_unit_test(bad_envelopes_are_refused),
        cmocka_unit_test(bad_manifests_are_refused),   cmocka_unit_test(lengths_are_bounded),
        cmocka_unit_test(texts_are_bounded),           cmocka_unit_test(words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
