#include "core/internal.h"

#include <string.h>

static void
fill(const struct step *x, struct zb_core_msg *m)
{
    const struct svc *s = x->s;

    memset(m, 0, sizeof(*m));
    m->kind = ZB_MSG_REPORT;
    m->nonce = x->core->opt.nonce;
    m->version = s->conf.version;
    m->role = s->role;
    m->set = s->obs.newest;
    m->suspects = s->obs.suspects;
    m->granted_term = s->obs.granted_term;
    m->granted_to = s->obs.granted_to;
    m->learned_term = s->obs.learned_term;
    m->learned_leader = s->obs.learned_leader;
    m->released_term = s->obs.released_term;
    m->released_to = s->obs.released_to;
    m->running = s->obs.running;
    m->modified = s->obs.modified;
    m->written_bytes = s->obs.modified ? s->obs.written_bytes : 0;
    m->exists = s->obs.exists;
    m->key = s->obs.key;
    m->lineage = s->obs.lineage;
    m->sees_leader = zb_core_sees_leader(x);
    if (zb_core_leads(s->role)) {
        m->established_term = s->obs.established_term;
        m->start_ms = s->start_ms;
    }
}

const char *
zb_core_key_lack(enum zb_key_state key)
{
    static const char *const lacks[] = {
        [ZB_KEY_GOOD] = NULL,
        [ZB_KEY_MISSING] = "the service's key is not there: no key-file or key-command",
        [ZB_KEY_UNFIT] = "the service's key is not there: key-file holds none, or others than root "
                         "can read it, or key-command gives none",
        [ZB_KEY_OTHER] = "the service's key is not there: key-file or key-command has another one",
    };
    return lacks[key];
}

void
zb_core_report_send(struct step *x, uint8_t node)
{
    struct zb_action *a;

    if (!x->s->obs_known || !x->s->member || (node == ZB_NODE_WITNESS && !x->s->conf.witness)) {
        return;
    }
    a = zb_core_act(x, ZB_ACT_MESSAGE);
    a->node = node;
    fill(x, &a->msg);
    a->msg.number = a->id;
    a->msg.seen = x->s->peers[node].seen;
    zb_core_bases_fill(x, node, &a->msg);
    a->msg.parted = x->s->rejoin.wanted; /* for people: the next refresh is soon enough */
}

/* On change (not of the bases, which change with every acknowledged set), and as a refresh. */
void
zb_core_report_settle(struct step *x)
{
    struct svc *s = x->s;
    struct zb_core_msg now;

    if (!s->obs_known) {
        return;
    }
    fill(x, &now);
    /* Both were zeroed first; a difference in padding would only cost one report more. */
    // NOLINTNEXTLINE(bugprone-suspicious-memory-comparison)
    if (memcmp(&now, &s->reported, sizeof(now)) != 0 ||
        x->now.ms - s->reported_at.ms >= ZB_REPORT_MS) {
        s->reported = now;
        s->reported_at = x->now;
        for (uint8_t n = 0; n < ZB_PEERS_MAX; n++) {
            if (n != x->core->opt.self && zb_core_peer_up(x, n)) {
                zb_core_report_send(x, n);
            }
        }
    }
    zb_core_wake_at(x, s->reported_at.ms + ZB_REPORT_MS);
}

/* Asks for a release that names this node, at most twice a second. */
static void
release_wanted(struct step *x, uint8_t node, const struct zb_core_msg *m)
{
    struct svc *s = x->s;
    struct zb_action *a;

    if (m->released_to != x->core->opt.self || m->released_term == 0 ||
        m->granted_term != m->released_term || m->released_term <= s->obs.learned_term ||
        m->released_term <= s->obs.established_term || s->role != ZB_ROLE_FOLLOWER ||
        x->now.ms - s->peers[node].asked_at.ms < ZB_ASK_MS) {
        return;
    }
    s->peers[node].asked_at = x->now;
    a = zb_core_act(x, ZB_ACT_MESSAGE);
    a->node = node;
    a->msg.kind = ZB_MSG_RELEASE_ASK;
    a->msg.nonce = x->core->opt.nonce;
}

/* One that was overtaken, or comes twice: what it says was so before, and its sender has said since
 * what is. With another nonce numbers begin anew. */
bool
zb_core_is_news(const struct zb_core *core, uint16_t service, uint8_t node,
                const struct zb_core_msg *m)
{
    const struct peer *p = &core->services[service].peers[node];

    return m->kind != ZB_MSG_REPORT || m->number == 0 || m->nonce != p->numbered_by ||
           m->number > p->report.number;
}

void
zb_core_msg_report(struct step *x, uint8_t node, const struct zb_core_msg *m)
{
    struct svc *s = x->s;
    struct peer *p = &s->peers[node];

    zb_core_back_learned(x, m->learned_term, m->learned_leader);
    if (p->known &&
        (!zb_set_ref_equal(&p->report.set, &m->set) || p->report.modified != m->modified)) {
        p->ship_retry_at = x->now; /* it is somewhere else: what failed may go now */
    }
    p->known = true;
    p->report = *m;
    p->numbered_by = m->nonce;
    p->report_at = x->now;
    /* What is told in the middle of a transfer may be half of what it brings. */
    if (p->ship_id == 0 || !p->position_known || zb_set_id_cmp(m->set.id, p->position.id) < 0) {
        p->position = m->set;
    }
    p->position_known = true;
    release_wanted(x, node, m);
}
