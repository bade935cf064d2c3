/*
 * The keeper's rules under an engine that asks anything: six bytes are a request, and whatever the
 * order, terms only grow, a term is granted once, and the record can be written and read.
 */
#include "fuzz.h"

#include "keeper/rules.h"

#define REQUEST_SIZE 6
#define REQUESTS_MAX 64
#define SELF "vm1"
#define BOOT_ID "5c5192c4-d747-4963-8186-4affb2b383a7"

static const char *const nodes[] = {"vm1", "vm2", "vm3", "vm4"};
enum { GRANT, LEARN, RELEASE, PROMOTE, STAGE, OPS_COUNT };

struct life {
    struct zb_keeper_record record;
    struct zb_keeper_facts facts;
    struct zb_manifest_entry entry;
    struct zb_manifest manifest;
    struct zb_kdataset dataset;
};

static void
grant(struct life *l, const struct zb_kreq *req)
{
    const struct zb_record before = l->record.rec;
    const struct zb_record *after = &l->record.rec;
    struct zb_err err;
    bool again = false;

    if (zb_rules_grant(&l->record, req, &l->facts, &again, &err) != ZB_OK) {
        return;
    }
    assert(again == (req->term == before.granted_term));
    assert(!again || strcmp(before.granted_to, req->node) == 0);
    if (!again && zb_rules_granted(&l->record, req, &err) == ZB_OK) {
        assert(after->granted_term > before.granted_term);
        assert(after->granted_term > before.learned_term);
        assert(l->facts.stage != ZB_STAGE_MOUNTED && !l->facts.running);
    }
}

static void
release(struct life *l, const struct zb_kreq *req)
{
    const struct zb_record before = l->record.rec;
    struct zb_err err;
    bool again = false;

    if (zb_rules_release(&l->record, req, &l->facts, &again, &err) != ZB_OK) {
        return;
    }
    if (!again && zb_rules_released(&l->record, req, &err) == ZB_OK) {
        assert(l->facts.stage == ZB_STAGE_SEALED);
        assert(l->record.rec.released_term > before.released_term);
        assert(l->record.rec.granted_term > before.granted_term);
        l->facts.stage = ZB_STAGE_REST;
    }
}

static void
promote(struct life *l, const struct zb_kreq *req)
{
    const struct zb_record before = l->record.rec;
    struct zb_err err;

    if (zb_rules_promote(&l->record, req, &l->facts, &err) == ZB_OK) {
        assert(strcmp(before.granted_to, SELF) == 0 && before.granted_term == req->term);
        assert(before.learned_term <= req->term);
        if ((req->flags & ZB_KF_REMOUNT) == 0) {
            zb_rules_promoted(&l->record, req, SELF, BOOT_ID, 42);
        }
        l->facts.stage = ZB_STAGE_MOUNTED;
    }
}

static void
learn(struct life *l, const struct zb_kreq *req)
{
    struct zb_err err;
    bool known = false;

    if (zb_rules_learn(&l->record, req, &known, &err) == ZB_OK && !known) {
        zb_rules_learned(&l->record, req);
        assert(l->record.rec.learned_term == req->term);
        l->facts.stage = ZB_STAGE_REST;
    }
}

/* Nothing goes back, and what the record says can be kept in a file. */
static void
record_check(const struct zb_record *before, const struct zb_keeper_record *after)
{
    char text[ZB_KEEPER_RECORD_MAX];
    struct zb_keeper_record again;
    struct zb_err err;
    size_t size = 0;

    assert(after->rec.granted_term >= before->granted_term);
    assert(after->rec.learned_term >= before->learned_term);
    assert(after->rec.established_term >= before->established_term);
    assert(after->rec.released_term >= before->released_term);
    assert(after->rec.granted_term != before->granted_term ||
           strcmp(after->rec.granted_to, before->granted_to) == 0);
    zb_keeper_record_format("web", after, text, &size);
    enum zb_rc rc = zb_keeper_record_parse("web", text, size, &again, &err);
    assert(rc == ZB_OK);
}

static void
request(struct life *l, const uint8_t *bytes)
{
    static void (*const rules[])(struct life * l, const struct zb_kreq *req) = {
        [GRANT] = grant, [LEARN] = learn, [RELEASE] = release, [PROMOTE] = promote};
    struct zb_kreq req = {.op = ZB_KOP_GRANT,
                          .term = bytes[1],
                          .nonce = bytes[3],
                          .version = bytes[4],
                          .flags = bytes[5]};
    const struct zb_record before = l->record.rec;
    unsigned op = bytes[0] % OPS_COUNT;

    zb_strcopy(req.service, sizeof req.service, "web");
    zb_strcopy(req.node, sizeof req.node, nodes[bytes[2] % 4]);
    req.manifest = l->manifest;
    if (op == STAGE) { /* SEAL, or the end of the service */
        l->facts.running = (bytes[2] & 1) != 0;
        l->facts.stage = l->facts.stage == ZB_STAGE_MOUNTED ? ZB_STAGE_SEALED : l->facts.stage;
        l->dataset.mount = ZB_MOUNT_NONE;
    } else {
        rules[op](l, &req);
    }
    record_check(&before, &l->record);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct life l = {
        .entry = {.uuid = "0f8fad5b-d9cb-469f-a165-70867728950e", .guid = 7},
        .manifest = {.id = {1, 1}, .entries_count = 1},
        .dataset = {.uuid = "0f8fad5b-d9cb-469f-a165-70867728950e",
                    .guid = 1,
                    .marked = 1,
                    .newest_guid = 7,
                    .newest = "zbaton-000001-00000001-20261122T064100Z"},
        .facts = {.self = SELF, .datasets_count = 1},
    };

    l.manifest.entries = &l.entry;
    l.facts.datasets = &l.dataset;
    l.facts.sealed = &l.manifest;
    for (size_t i = 0; i < REQUESTS_MAX && (i + 1) * REQUEST_SIZE <= size; i++) {
        request(&l, data + i * REQUEST_SIZE);
    }
    return 0;
}
