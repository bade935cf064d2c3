/* The record of the witness, as a key of etcd has it. */
#include "fuzz.h"

#include "agent/peer_json.h"

static const struct zb_agent_node nodes[] = {
    {.present = true, .name = "vm1"},
    {.present = true, .name = "vm2"},
    {.present = true, .name = "vm3"},
};
static const struct zb_peer_names names = {.nodes = nodes, .count = 3};

/* The record as text, for free(), or NULL when it is refused. */
static char *
decode_encode(const json_t *json)
{
    struct zb_witness_record record;
    struct zb_err err;

    if (zb_peer_vote_decode(&names, json, &record, &err) != ZB_OK) {
        return NULL;
    }
    json_t *again = zb_peer_vote_encode(&names, &record);
    char *text = json_dumps(again, JSON_COMPACT);
    assert(text != NULL);
    json_decref(again);
    return text;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *json = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
    char *first = decode_encode(json);

    if (first != NULL) {
        json_t *told = json_loads(first, JSON_REJECT_DUPLICATES, NULL);
        char *second = decode_encode(told);
        assert(second != NULL && strcmp(first, second) == 0);
        json_decref(told);
        free(second);
        free(first);
    }
    json_decref(json);
    return 0;
}
