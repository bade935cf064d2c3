#include "core/witness.h"

#include <string.h>

void
zb_witness_record_init(struct zb_witness_record *record)
{
    *record =
        (struct zb_witness_record){.granted_to = ZB_NODE_NONE, .learned_leader = ZB_NODE_NONE};
}

static struct zb_core_seen
of_record(const struct zb_witness_record *r)
{
    return (struct zb_core_seen){.granted_term = r->granted_term,
                                 .granted_to = r->granted_to,
                                 .learned_term = r->learned_term,
                                 .learned_leader = r->learned_leader,
                                 .suspects = r->suspects};
}

/* An established leader, from whomever: what members have recorded was so. As a member does, it
 * learns of none from before what it granted since (M2); whom to suspect begins anew (M3). */
static void
learn(struct zb_witness_record *r, const struct zb_core_msg *m)
{
    if (m->learned_term <= r->learned_term || m->learned_term < r->granted_term ||
        m->learned_leader >= ZB_NODES_MAX) {
        return;
    }
    r->learned_term = m->learned_term;
    r->learned_leader = m->learned_leader;
    r->suspects = 1u << m->learned_leader;
    r->lineage = m->lineage;
}

/* What the sender remembers of this very record (M13): first the leader, which a report of whoever
 * knows it has taught before, then the grant. *told: all of it, also what cannot be known here
 * again yet. */
static void
remember(struct zb_witness_record *r, const struct zb_core_msg *m, struct zb_core_seen *told)
{
    *told = of_record(r);
    if (!zb_core_seen_add(told, &m->seen) || told->learned_term > r->learned_term) {
        return;
    }
    r->granted_term = told->granted_term;
    r->granted_to = told->granted_to;
    r->suspects = told->suspects;
}

/* The rules of any voter (may_grant in acquire.c), but for those about its own copy, mounts and
 * role: it has none. */
static enum zb_rc
may_grant(const struct zb_witness_record *r, uint8_t from, const struct zb_core_msg *ask,
          const struct zb_core_seen *told)
{
    bool planned = ask->released_term == ask->term && ask->released_to == from;
    bool forgot = told->learned_term > r->learned_term;

    if (forgot && !ask->allow_loss) { /* the history of that leader is not known here again */
        return ZB_E_BUSY;
    }
    if (ask->version < r->version) { /* M11; it has no other list than those it is asked by */
        return ZB_E_REFUSED;
    }
    if (ask->term < told->granted_term || ask->term <= told->learned_term ||
        (ask->term == told->granted_term && told->granted_to != from)) {
        return ZB_E_STALE;
    }
    if (!planned && !ask->failover && /* M6 */
        (r->learned_term > ask->established_term ||
         (r->learned_term != 0 && r->learned_term == ask->established_term &&
          r->learned_leader != from))) {
        return ZB_E_STALE;
    }
    return ZB_OK;
}

static void
answer_fill(const struct zb_witness_record *r, enum zb_msg_kind kind, struct zb_core_msg *answer)
{
    memset(answer, 0, sizeof(*answer));
    answer->kind = kind;
    answer->version = r->version;
    answer->granted_term = r->granted_term;
    answer->granted_to = r->granted_to;
    answer->learned_term = r->learned_term;
    answer->learned_leader = r->learned_leader;
    answer->released_to = ZB_NODE_NONE;
    answer->suspects = r->suspects;
    answer->lineage = r->lineage;
    answer->seen.granted_to = answer->seen.learned_leader = ZB_NODE_NONE;
}

static void
ask_decide(struct zb_witness_record *next, uint8_t from, const struct zb_core_msg *ask,
           const struct zb_core_seen *told, struct zb_core_msg *answer)
{
    enum zb_rc rc = may_grant(next, from, ask, told);

    if (rc == ZB_OK) {
        next->version = ask->version;
        next->granted_term = ask->term;
        next->granted_to = from;
        next->suspects |= told->suspects | 1u << from;
    }
    answer_fill(next, ZB_MSG_GRANT_ANSWER, answer);
    answer->term = ask->term;
    answer->nonce = ask->nonce;
    answer->rc = rc;
}

bool
zb_witness_is_same(const struct zb_witness_record *a, const struct zb_witness_record *b)
{
    return a->version == b->version && a->granted_term == b->granted_term &&
           a->granted_to == b->granted_to && a->learned_term == b->learned_term &&
           a->learned_leader == b->learned_leader && a->suspects == b->suspects;
}

bool
zb_witness_decide(const struct zb_witness_record *record, uint8_t from,
                  const struct zb_core_msg *msg, struct zb_witness_record *next,
                  struct zb_core_msg *answer)
{
    struct zb_core_seen told;

    *next = *record;
    answer->kind = 0;
    if (from >= ZB_NODES_MAX || (msg->kind != ZB_MSG_REPORT && msg->kind != ZB_MSG_GRANT_ASK)) {
        return false;
    }
    /* Who has not heard of the list may not have heard that the service was withdrawn either. */
    if (msg->kind == ZB_MSG_REPORT && msg->version >= record->version) {
        learn(next, msg);
    }
    remember(next, msg, &told);
    if (msg->kind == ZB_MSG_GRANT_ASK) {
        ask_decide(next, from, msg, &told, answer);
    } else {
        next->version = msg->version > next->version ? msg->version : next->version;
        answer_fill(next, ZB_MSG_REPORT, answer);
    }
    return !zb_witness_is_same(next, record);
}

void
zb_witness_report(const struct zb_witness_record *record, struct zb_core_msg *report)
{
    answer_fill(record, ZB_MSG_REPORT, report);
}

bool
zb_witness_withdraw(const struct zb_witness_record *record, uint64_t version,
                    struct zb_witness_record *next)
{
    if (record->version >= version) {
        return false;
    }
    zb_witness_record_init(next);
    next->version = version;
    return true;
}
