/* A follower's datasets get the names that they have in the set. */
#include "unit.h"

#include "keeper/rules.h"

#define PLACES_MAX 8

/* A follower's tree; uuids are "<digit>...". Applies what is planned until nothing is. */
struct names {
    struct zb_rules_place places[PLACES_MAX];
    char rels[PLACES_MAX][ZB_REL_SIZE];
    char uuids[PLACES_MAX][ZB_UUID_SIZE];
    size_t count;
    struct zb_manifest m;
    struct zb_manifest_entry entries[PLACES_MAX];
    struct zb_err err;
};

static void
uuid_set(char *uuid, char digit)
{
    (void)snprintf(uuid, ZB_UUID_SIZE, "%c%c%c%c%c%c%c%c-0000-4000-8000-000000000000", digit, digit,
                   digit, digit, digit, digit, digit, digit);
}

/* "1:a" is uuid 1 at a; a missing digit is none of zbaton's. */
static void
names_init(struct names *n, const char *const *here, const char *const *set)
{
    *n = (struct names){.m = {.id = {3, 9}, .entries = n->entries}};
    for (; *here != NULL; here++, n->count++) {
        size_t i = n->count;
        bool own = (*here)[0] != ':';
        if (own) {
            uuid_set(n->uuids[i], (*here)[0]);
        }
        zb_strcopy(n->rels[i], ZB_REL_SIZE, *here + (own ? 2 : 1));
        n->places[i] = (struct zb_rules_place){n->rels[i], n->uuids[i], .own = own};
    }
    for (; *set != NULL; set++) {
        struct zb_manifest_entry *e = &n->entries[n->m.entries_count++];
        uuid_set(e->uuid, (*set)[0]);
        zb_strcopy(e->rel, ZB_REL_SIZE, *set + 2);
    }
}

/* A rename takes along what is below. */
static void
names_rename(struct names *n, size_t at, const char *to)
{
    char from[ZB_REL_SIZE];
    char below[ZB_REL_SIZE];
    size_t length;

    zb_strcopy(from, sizeof(from), n->rels[at]);
    length = strlen(from);
    for (size_t i = 0; i < n->count; i++) {
        assert_string_not_equal(n->rels[i], to);
        if (strncmp(n->rels[i], from, length) == 0 &&
            (n->rels[i][length] == '\0' || n->rels[i][length] == '/')) {
            zb_strcopy(below, sizeof(below), n->rels[i] + length);
            assert_true((size_t)snprintf(n->rels[i], ZB_REL_SIZE, "%s%s", to, below) < ZB_REL_SIZE);
        }
    }
}

static enum zb_rc
names_settle(struct names *n)
{
    struct zb_rules_arrangement next;

    for (unsigned left = 3 * PLACES_MAX; left > 0; left--) {
        enum zb_rc rc = zb_rules_arrange_next(&n->m, n->places, n->count, &next, &n->err);
        if (rc != ZB_OK || next.kind == ZB_ARRANGE_NOTHING) {
            return rc;
        }
        if (next.kind == ZB_ARRANGE_UNMARK) {
            n->places[next.place].orphan = false;
            continue;
        }
        n->places[next.place].orphan = n->places[next.place].orphan || next.orphan;
        names_rename(n, next.place, next.to);
    }
    fail_msg("the names do not settle");
    return ZB_E_FAILED;
}

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

static void
arranged(const char *const *here, const char *const *set, const char *const *want)
{
    struct names n;

    names_init(&n, here, set);
    assert_int_equal(names_settle(&n), ZB_OK);
    for (size_t i = 0; i < n.count; i++) {
        bool orphan = want[i][0] == '!';
        assert_string_equal(n.rels[i], want[i] + orphan);
        assert_int_equal(n.places[i].orphan, orphan);
    }
}

static void
test_arrange(void **state)
{
    (void)state;
    /* Nothing to do; what is missing is received, what the set does not have is left alone. */
    arranged(NAMES("1:", "2:a"), NAMES("1:", "2:a"), NAMES("", "a"));
    arranged(NAMES("1:", "2:a"), NAMES("1:", "3:b"), NAMES("", "a"));
    /* Renamed; with what is below it; into a parent that is not here yet. */
    arranged(NAMES("1:", "2:a"), NAMES("1:", "2:b"), NAMES("", "b"));
    arranged(NAMES("1:", "2:a", "3:a/x"), NAMES("1:", "2:b", "3:b/y"), NAMES("", "b", "b/y"));
    arranged(NAMES("1:", "2:a"), NAMES("1:", "3:p", "2:p/a"), NAMES("", "a"));
    /* Destroyed and made anew, with what is below. */
    arranged(NAMES("1:", "2:a"), NAMES("1:", "3:a"), NAMES("", "!a.aside-22222222"));
    arranged(NAMES("1:", "2:a", "3:a/x"), NAMES("1:", "4:a", "5:a/x"),
             NAMES("", "!a.aside-22222222", "a.aside-22222222/x"));
    /* Renamed, with another made under the old name; swapped; in a ring. */
    arranged(NAMES("1:", "2:a"), NAMES("1:", "3:a", "2:b"), NAMES("", "b"));
    arranged(NAMES("1:", "2:a", "3:b"), NAMES("1:", "3:a", "2:b"), NAMES("", "b", "a"));
    arranged(NAMES("1:", "2:a", "3:b", "4:c"), NAMES("1:", "4:a", "2:b", "3:c"),
             NAMES("", "b", "c", "a"));
    arranged(NAMES("1:", "2:a", "3:a/x"), NAMES("1:", "3:a", "2:a/x"), NAMES("", "a/x", "a"));
    /* The tree itself is never set aside. */
    arranged(NAMES("1:", "2:a"), NAMES("3:", "2:a"), NAMES("", "a"));
}

static void
test_arrange_foreign(void **state)
{
    struct names n;
    (void)state;

    /* Somebody's own in the place of what would be received: the receive says so, or adopts it. */
    arranged(NAMES("1:", ":a"), NAMES("1:", "2:a"), NAMES("", "a"));
    /* S9: it is not renamed to make way. */
    names_init(&n, NAMES("1:", ":a", "2:b"), NAMES("1:", "2:a"));
    assert_int_equal(names_settle(&n), ZB_E_EXISTS);
    assert_non_null(strstr(n.err.msg, "a of the set is b here"));
    /* An orphan comes back with the set that has it. */
    names_init(&n, NAMES("1:", "2:a"), NAMES("1:", "2:a"));
    n.places[1].orphan = true;
    assert_int_equal(names_settle(&n), ZB_OK);
    assert_false(n.places[1].orphan);
    /* A name without room for the addition. */
    names_init(&n, NAMES("1:", "2:a"), NAMES("1:", "3:a"));
    memset(n.rels[1], 'a', ZB_REL_SIZE - 5);
    memset(n.entries[1].rel, 'a', ZB_REL_SIZE - 5);
    assert_int_equal(names_settle(&n), ZB_E_LIMIT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arrange),
        cmocka_unit_test(test_arrange_foreign),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
