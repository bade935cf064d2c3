#include "agent/config_rules.h"

#include <assert.h>

int
zb_config_ballot_cmp(const struct zb_config_ballot *a, const struct zb_config_ballot *b)
{
    if (a->round != b->round) {
        return a->round < b->round ? -1 : 1;
    }
    return strcmp(a->node, b->node);
}

/* Whether this node can speak about `version` at all. */
static enum zb_config_answer
version_check(const struct zb_config_acceptor *a, uint64_t version)
{
    if (version <= a->committed) {
        return ZB_CONFIG_AHEAD;
    }
    return version == a->committed + 1 ? ZB_CONFIG_YES : ZB_CONFIG_BEHIND;
}

enum zb_config_answer
zb_config_rules_ask(struct zb_config_acceptor *a, uint64_t version,
                    const struct zb_config_ballot *ballot)
{
    enum zb_config_answer answer = version_check(a, version);

    if (answer != ZB_CONFIG_YES) {
        return answer;
    }
    if (zb_config_ballot_cmp(ballot, &a->promised) < 0) {
        return ZB_CONFIG_OUTBID;
    }
    a->promised = *ballot;
    return ZB_CONFIG_YES;
}

enum zb_config_answer
zb_config_rules_propose(struct zb_config_acceptor *a, uint64_t version,
                        const struct zb_config_ballot *ballot, const char *hash)
{
    enum zb_config_answer answer = zb_config_rules_ask(a, version, ballot); /* promises it too */

    if (answer == ZB_CONFIG_YES) {
        a->accepted = *ballot;
        zb_strcopy(a->accepted_hash, sizeof a->accepted_hash, hash);
    }
    return answer;
}

bool
zb_config_rules_commit(struct zb_config_acceptor *a, uint64_t version, const char *hash,
                       bool *mismatch)
{
    *mismatch = version != 0 && version == a->committed && strcmp(hash, a->committed_hash) != 0;
    if (version <= a->committed) {
        return false;
    }
    memset(a, 0, sizeof *a);
    a->committed = version;
    zb_strcopy(a->committed_hash, sizeof a->committed_hash, hash);
    return true;
}

unsigned
zb_config_majority(uint32_t electors)
{
    return (unsigned)__builtin_popcount(electors) / 2 + 1;
}

static bool
majority_reached(const struct zb_config_round *r, uint32_t bits)
{
    return (unsigned)__builtin_popcount(bits & r->electors) >= zb_config_majority(r->electors);
}

void
zb_config_round_begin(struct zb_config_round *r, uint64_t version,
                      const struct zb_config_ballot *ballot, uint32_t electors)
{
    assert(electors != 0 && ballot->round != 0);
    *r = (struct zb_config_round){
        .phase = ZB_CONFIG_ASKING, .version = version, .ballot = *ballot, .electors = electors};
}

bool
zb_config_round_promise(struct zb_config_round *r, uint8_t node,
                        const struct zb_config_ballot *accepted)
{
    if (r->phase != ZB_CONFIG_ASKING || (r->electors & 1u << node) == 0) {
        return false;
    }
    if (zb_config_ballot_cmp(accepted, &r->best) > 0) {
        r->best = *accepted;
        r->best_node = node;
    }
    r->promised |= 1u << node;
    if (!majority_reached(r, r->promised)) {
        return false;
    }
    r->phase = ZB_CONFIG_PROPOSING;
    return true;
}

bool
zb_config_round_accept(struct zb_config_round *r, uint8_t node)
{
    if (r->phase != ZB_CONFIG_PROPOSING || (r->electors & 1u << node) == 0) {
        return false;
    }
    r->accepted |= 1u << node;
    if (!majority_reached(r, r->accepted)) {
        return false;
    }
    r->phase = ZB_CONFIG_DECIDED;
    return true;
}
