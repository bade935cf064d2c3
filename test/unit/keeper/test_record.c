/* The durable record: what is written is what is read, and a damaged file is refused. */
#include "unit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keeper/record.h"

static const struct zb_keeper_record full = {
    .rec = {.granted_term = 4,
            .granted_to = "vm2",
            .learned_term = 3,
            .learned_leader = "vm1",
            .established_term = 3,
            .released_term = 4,
            .released_to = "vm2",
            .released_set = {.id = {3, 9}, .digest = {0xab, 1, 2, 3, 0xff}},
            .suspects = {"vm1", "vm2"},
            .version = 18446744073709551615ull,
            .lineage = {.count = 2, .lines = {{2, {1, 4}}, {3, {2, 77}}}}},
    .granted_version = 7,
    .granted_nonce = 99,
    .established_boot = "5c5192c4-d747-4963-8186-4affb2b383a7",
    .pool_guid = 42,
};

static char *
text_of(const struct zb_keeper_record *r, size_t *size)
{
    static char text[ZB_KEEPER_RECORD_MAX];

    zb_keeper_record_format("web", r, text, size);
    return text;
}

static void
test_round_trip(void **state)
{
    const struct zb_keeper_record empty = {0};
    struct zb_keeper_record back;
    struct zb_err err;
    size_t size;
    char *text = text_of(&full, &size);
    (void)state;

    assert_int_equal(zb_keeper_record_parse("web", text, size, &back, &err), ZB_OK);
    assert_memory_equal(&back, &full, sizeof(full));
    text = text_of(&empty, &size);
    assert_int_equal(zb_keeper_record_parse("web", text, size, &back, &err), ZB_OK);
    assert_memory_equal(&back, &empty, sizeof(empty));
}

/* Every cut and every flipped bit is noticed. */
static void
test_damage(void **state)
{
    struct zb_keeper_record back;
    struct zb_err err;
    size_t size;
    char *text = text_of(&full, &size);
    (void)state;

    for (size_t i = 0; i < size; i++) {
        assert_int_equal(zb_keeper_record_parse("web", text, i, &back, &err), ZB_E_FORMAT);
    }
    for (size_t i = 0; i < size; i++) {
        for (int bit = 0; bit < 8; bit++) {
            text[i] = (char)(text[i] ^ (1 << bit));
            assert_int_equal(zb_keeper_record_parse("web", text, size, &back, &err), ZB_E_FORMAT);
            text[i] = (char)(text[i] ^ (1 << bit));
        }
    }
    assert_int_equal(zb_keeper_record_parse("web", text, size + 1, &back, &err), ZB_E_FORMAT);
    assert_int_equal(zb_keeper_record_parse("db", text, size, &back, &err), ZB_E_FORMAT);
}

static void
test_files(void **state)
{
    char dir[] = "/tmp/zb-record-XXXXXX";
    struct zb_keeper_record back;
    struct zb_err err = {0};
    bool in_doubt;
    int fd;
    (void)state;

    assert_non_null(mkdtemp(dir));
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(zb_keeper_record_load(fd, "web", &back, &err), ZB_E_NOTFOUND);
    assert_int_equal(zb_keeper_record_store(fd, "web", &full, &in_doubt, &err), ZB_OK);
    assert_int_equal(zb_keeper_record_load(fd, "web", &back, &err), ZB_OK);
    assert_memory_equal(&back, &full, sizeof(full));
    assert_int_equal(faccessat(fd, "web.record.tmp", F_OK, 0), -1);

    /* Emptied by a crash of a file system that does not keep its promises; a directory; a link. */
    assert_int_equal(zb_keeper_file_store(fd, "web.record", "", 0, &in_doubt, &err), ZB_OK);
    assert_int_equal(zb_keeper_record_load(fd, "web", &back, &err), ZB_E_FORMAT);
    assert_non_null(strstr(err.msg, "web.record"));
    assert_int_equal(zb_keeper_file_remove(fd, "web.record", &err), ZB_OK);
    assert_int_equal(zb_keeper_file_remove(fd, "web.record", &err), ZB_OK);
    assert_int_equal(mkdirat(fd, "web.record", 0700), 0);
    assert_int_equal(zb_keeper_record_load(fd, "web", &back, &err), ZB_E_FORMAT);
    assert_int_equal(zb_keeper_record_store(fd, "web", &full, &in_doubt, &err), ZB_E_SYS);
    assert_int_equal(unlinkat(fd, "web.record.tmp", 0), 0);
    assert_int_equal(unlinkat(fd, "web.record", AT_REMOVEDIR), 0);
    assert_int_equal(close(fd), 0);
    assert_int_equal(rmdir(dir), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
