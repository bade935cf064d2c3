/* What members say of a set, one after the other, split at a line of "--": read, and compared. */
#include "fuzz.h"

#include <jansson.h>

#include "agent/verify_sums.h"

#define MEMBERS 3

static void
compare(struct zb_verify_answer *const *answers, uint32_t count)
{
    static const char *const nodes[MEMBERS] = {"vm1", "vm2", "vm3"};
    uint32_t ranges[ZB_VERIFY_RANGES_MAX];
    uint32_t found = zb_verify_differing(answers, count, ranges, ZB_VERIFY_RANGES_MAX);
    char digest[33];

    for (uint32_t i = 0; i < found && i < ZB_VERIFY_RANGES_MAX; i++) {
        assert(ranges[i] < ZB_VERIFY_BUCKETS && (i == 0 || ranges[i] > ranges[i - 1]));
    }
    json_t *names = zb_verify_names_json(answers, nodes, count, 10);
    assert(json_array_size(names) <= 10);
    json_decref(names);
    zb_verify_digest(answers[0], digest);
    assert(strlen(digest) == 32);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct zb_verify_answer said[MEMBERS];
    struct zb_verify_answer *const answers[MEMBERS] = {&said[0], &said[1], &said[2]};
    struct zb_err err;
    uint32_t count = 0;
    char *text = fuzz_text(data, size);

    for (char *part = text, *next; part != NULL && count < MEMBERS; part = next) {
        next = strstr(part, "--\n");
        if (next != NULL) {
            *next = '\0';
            next += 3;
        }
        count += zb_verify_answer_parse(part, answers[count], &err) == ZB_OK ? 1 : 0;
    }
    if (count > 0) {
        compare(answers, count);
    }
    free(text);
    return 0;
}
