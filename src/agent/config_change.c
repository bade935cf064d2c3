/*
 * The proposer: one change at a time, rounds until it is decided or the time is over.
 */
#include <inttypes.h>

#include "agent/config_internal.h"
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/must.h"
#include "agent/peer.h"
#include "base/log.h"

#define TICK_MS 250u

static struct zb_config_proposal *
proposal_of(struct zb_agent *a)
{
    return &a->config->proposal;
}

/* The text of this round: what a promiser had accepted goes first. */
static const struct zb_config_doc *
value_of(const struct zb_config_proposal *p)
{
    return p->best.version != 0 ? &p->best : &p->own;
}

static void
finish(struct zb_agent *a, enum zb_rc rc, const struct zb_err *err)
{
    struct zb_config_proposal *p = proposal_of(a);
    struct zb_config_proposal done = *p;
    struct zb_config_outcome outcome = {
        .rc = rc, .err = err, .version = done.own.version, .accepted = done.round.accepted};

    memset(p, 0, sizeof *p);
    uv_timer_stop(&a->config->tick);
    done.on_done(done.ctx, &outcome);
    zb_config_doc_close(&done.own);
    zb_config_doc_close(&done.best);
}

static void
finish_error(struct zb_agent *a, struct zb_err *err)
{
    zb_err_wrap(err, "configuration %" PRIu64, proposal_of(a)->own.version);
    finish(a, err->rc, err);
}

static void
finish_stale(struct zb_agent *a)
{
    struct zb_err err;

    zb_err_set(&err, ZB_E_STALE, "another change came first: version %" PRIu64 " is in force now",
               a->config->committed.version);
    zb_err_hint(&err, "look at the differences again, then repeat the change");
    finish(a, err.rc, &err);
}

/* Decided: durable here first, then told to the others. */
static void
decided(struct zb_agent *a)
{
    struct zb_err err;

    if (zb_config_commit_here(a, value_of(proposal_of(a)), &err) != ZB_OK) {
        finish_error(a, &err);
        return;
    }
    for (uint32_t i = 0; i < a->nodes_count; i++) {
        if (i != a->self && a->nodes[i].present) {
            zb_peer_send(a, (uint8_t)i, zb_config_commit_message(a));
        }
    }
    zb_config_change_overtaken(a);
}

static void
propose_send(struct zb_agent *a, uint8_t node)
{
    struct zb_config_proposal *p = proposal_of(a);
    char hash[ZB_CONFIG_HASH_SIZE];
    char *text = NULL;
    struct zb_err err;

    if (zb_config_doc_format(value_of(p), &text, hash, &err) != ZB_OK) {
        return; /* cannot be: it was formatted before */
    }
    json_t *msg = zb_json_new("config.propose");
    zb_json_put(msg, "version", zb_json_u64(p->round.version));
    zb_json_put(msg, "round", zb_json_u64(p->round.ballot.round));
    zb_json_put(msg, "doc", zb_config_doc_json(text));
    free(text);
    zb_peer_send(a, node, msg);
}

static void
ask_send(struct zb_agent *a, uint8_t node)
{
    struct zb_config_proposal *p = proposal_of(a);
    json_t *msg = zb_json_new("config.ask");

    zb_json_put(msg, "version", zb_json_u64(p->round.version));
    zb_json_put(msg, "round", zb_json_u64(p->round.ballot.round));
    zb_peer_send(a, node, msg);
}

/* To every elector that has not answered this phase. */
static void
phase_send(struct zb_agent *a)
{
    struct zb_config_proposal *p = proposal_of(a);
    bool asking = p->round.phase == ZB_CONFIG_ASKING;
    uint32_t answered = asking ? p->round.promised : p->round.accepted;

    for (uint32_t i = 0; i < a->nodes_count; i++) {
        uint32_t bit = 1u << i;
        if (i == a->self || (p->round.electors & bit) == 0 || (answered & bit) != 0 ||
            !a->nodes[i].up) {
            continue;
        }
        if (asking) {
            ask_send(a, (uint8_t)i);
        } else {
            propose_send(a, (uint8_t)i);
        }
    }
}

/* A majority promised: this node accepts first, then the others. */
static void
propose(struct zb_agent *a)
{
    struct zb_config_proposal *p = proposal_of(a);
    enum zb_config_answer answer;
    struct zb_err err;

    p->proposed = true;
    if (zb_config_store_propose(a->history, &a->config->store, &p->round.ballot, value_of(p),
                                &answer, &err) != ZB_OK) {
        finish_error(a, &err);
        return;
    }
    if (answer != ZB_CONFIG_YES) {
        p->asked_back = true; /* this node promised more to another meanwhile */
        return;
    }
    if (zb_config_round_accept(&p->round, a->self)) {
        decided(a);
    } else {
        phase_send(a);
    }
}

/* A promise with what the promiser had accepted (doc NULL: nothing; taken otherwise). */
static void
promise_take(struct zb_agent *a, uint8_t node, const struct zb_config_ballot *accepted,
             struct zb_config_doc *doc)
{
    struct zb_config_proposal *p = proposal_of(a);
    struct zb_config_ballot before = p->round.best;
    bool majority = zb_config_round_promise(&p->round, node, accepted);

    if (doc != NULL && zb_config_ballot_cmp(&p->round.best, &before) > 0) {
        zb_config_doc_close(&p->best);
        p->best = *doc;
        *doc = (struct zb_config_doc){0};
    }
    if (majority) {
        propose(a);
    }
}

static uint32_t
electors_of(const struct zb_agent *a)
{
    const struct zb_config_doc *doc = &a->config->committed;
    uint32_t bits = 0;

    for (uint32_t i = 0; i < doc->nodes_count; i++) {
        uint8_t node = zb_agent_node_find(a, doc->nodes[i].name);
        if (node != ZB_NODE_NONE) {
            bits |= 1u << node;
        }
    }
    return bits;
}

/* A new round above everything heard of; this node promises first. */
static void
round_begin(struct zb_agent *a)
{
    struct zb_config_state *c = a->config;
    struct zb_config_proposal *p = &c->proposal;
    struct zb_config_ballot ballot = {.round = c->store.acceptor.promised.round};
    enum zb_config_answer answer;
    struct zb_config_doc accepted = {0};
    struct zb_err err;

    if (ballot.round < c->round_seen) {
        ballot.round = c->round_seen;
    }
    ballot.round++;
    zb_strcopy(ballot.node, sizeof ballot.node, a->nodes[a->self].name);
    p->asked_back = false;
    zb_config_doc_close(&p->best);
    zb_config_round_begin(&p->round, p->own.version, &ballot, electors_of(a));
    enum zb_rc rc =
        zb_config_store_ask(a->history, &c->store, p->own.version, &ballot, &answer, &err);
    if (rc == ZB_OK && c->store.acceptor.accepted.round != 0) {
        rc = zb_config_doc_parse(c->store.accepted_text, &accepted, &err);
    }
    if (rc != ZB_OK) {
        finish_error(a, &err);
        return;
    }
    phase_send(a);
    promise_take(a, a->self, &c->store.acceptor.accepted, accepted.version != 0 ? &accepted : NULL);
    zb_config_doc_close(&accepted);
}

/* --- answers --- */

/* Reads version, round and answer. True: it is of the round under way, in this phase, and YES.
 * Everything else that an answer can mean is done here. */
static bool
answer_read(struct zb_agent *a, uint8_t node, const json_t *msg, enum zb_config_phase phase)
{
    struct zb_config_proposal *p = proposal_of(a);
    struct zb_json_reader r = zb_json_read(msg);
    char answer[16];
    uint64_t version = zb_json_read_u64(&r, "version");
    uint64_t round = zb_json_read_u64(&r, "round");
    uint64_t promised = zb_json_read_u64(&r, "promised");

    zb_json_read_text(&r, "answer", answer, sizeof answer);
    if (r.bad != NULL || !p->active || version != p->round.version ||
        round != p->round.ballot.round || p->round.phase != phase) {
        return false;
    }
    if (strcmp(answer, "yes") == 0) {
        return true;
    }
    if (strcmp(answer, "outbid") == 0 && promised < UINT32_MAX) {
        a->config->round_seen = promised > a->config->round_seen ? promised : a->config->round_seen;
        p->asked_back = true;
    } else if (strcmp(answer, "behind") == 0) {
        zb_peer_send(a, node, zb_config_commit_message(a));
        if (phase == ZB_CONFIG_ASKING) {
            ask_send(a, node);
        }
    } else if (strcmp(answer, "ahead") == 0) {
        zb_peer_send(a, node, zb_json_new("config.get")); /* its commit ends this change */
    }
    return false;
}

void
zb_config_change_promise(struct zb_agent *a, uint8_t node, const json_t *msg)
{
    const json_t *had = json_object_get(msg, "accepted");
    struct zb_config_ballot ballot = {0};
    struct zb_config_doc doc = {0};
    struct zb_err err;

    if (!answer_read(a, node, msg, ZB_CONFIG_ASKING)) {
        return;
    }
    if (had == NULL) {
        promise_take(a, node, &ballot, NULL);
        return;
    }
    struct zb_json_reader r = zb_json_read(had);
    ballot.round = zb_json_read_u64(&r, "round");
    zb_json_read_name(&r, "node", ballot.node, sizeof ballot.node, zb_node_name_valid);
    if (zb_json_read_end(&r, &err) != ZB_OK ||
        zb_config_doc_read(had, "doc", &doc, &err) != ZB_OK ||
        doc.version != proposal_of(a)->round.version) {
        zb_log_warning("config.promise of %s is not understood", a->nodes[node].name);
    } else {
        promise_take(a, node, &ballot, &doc);
    }
    zb_config_doc_close(&doc);
}

void
zb_config_change_accepted(struct zb_agent *a, uint8_t node, const json_t *msg)
{
    if (answer_read(a, node, msg, ZB_CONFIG_PROPOSING) &&
        zb_config_round_accept(&proposal_of(a)->round, node)) {
        decided(a);
    }
}

void
zb_config_change_peer_up(struct zb_agent *a, uint8_t node)
{
    (void)node;
    if (proposal_of(a)->active) {
        phase_send(a);
    }
}

void
zb_config_change_overtaken(struct zb_agent *a)
{
    struct zb_config_proposal *p = proposal_of(a);
    char own[ZB_CONFIG_HASH_SIZE];
    char *text = NULL;
    struct zb_err err;

    if (!p->active || a->config->committed.version < p->own.version) {
        return;
    }
    if (zb_config_doc_format(&p->own, &text, own, &err) == ZB_OK &&
        strcmp(own, a->config->store.acceptor.committed_hash) == 0) {
        finish(a, ZB_OK, NULL); /* another node completed this very change */
    } else {
        finish_stale(a);
    }
    free(text);
}

/* --- time --- */

static void
finish_noquorum(struct zb_agent *a)
{
    struct zb_config_proposal *p = proposal_of(a);
    struct zb_err err;
    unsigned electors = (unsigned)__builtin_popcount(p->round.electors);
    unsigned answered = (unsigned)__builtin_popcount(
        p->round.phase == ZB_CONFIG_ASKING ? p->round.promised : p->round.accepted);

    zb_err_set(&err, ZB_E_NOQUORUM, "%u of %u nodes answered within %d s, %u are needed; %s",
               answered, electors, ZB_CONFIG_TIMEOUT_MS / 1000,
               zb_config_majority(p->round.electors),
               p->proposed ? "the change is not in force, but the next change may complete it "
                             "first, since some nodes have accepted it"
                           : "nothing was changed");
    zb_err_hint(&err, "zbaton node list shows who does not answer");
    finish(a, err.rc, &err);
}

static void
on_tick(uv_timer_t *timer)
{
    struct zb_config_state *c = timer->data;
    struct zb_config_proposal *p = &c->proposal;

    if (zb_mono_now().ms >= p->deadline.ms) {
        finish_noquorum(c->a);
    } else if (p->asked_back) {
        if (zb_random_u64() % 3 == 0) { /* two proposers that outbid each other drift apart */
            round_begin(c->a);
        }
    } else {
        phase_send(c->a);
    }
}

/* --- begin and end --- */

static enum zb_rc
change_check(const struct zb_agent *a, const struct zb_config_doc *doc, struct zb_err *err)
{
    const struct zb_config_doc *now = zb_config_current(a);
    char hash[ZB_CONFIG_HASH_SIZE];
    char *text = NULL;

    if (a->config->proposal.active) {
        zb_err_set(err, ZB_E_BUSY, "another change of the configuration is under way");
        return zb_err_hint(err, "zbaton events tells of it; repeat the command after it");
    }
    if (now->version == 0) {
        zb_err_set(err, ZB_E_BUSY, "this node has just joined and has no configuration yet");
        return zb_err_hint(err, "zbaton node list shows which nodes it reaches");
    }
    if (doc->version != now->version + 1) {
        zb_err_set(err, ZB_E_STALE, "version %" PRIu64 " is in force meanwhile", now->version);
        return zb_err_hint(err, "zbaton config show; then repeat the command");
    }
    if (zb_config_doc_node_find(now, a->nodes[a->self].name) < 0) {
        return zb_err_set(err, ZB_E_REFUSED, "this node is no longer in the configuration");
    }
    enum zb_rc rc = zb_config_doc_format(doc, &text, hash, err);
    free(text);
    return rc;
}

void
zb_config_change(struct zb_agent *a, const struct zb_config_change *change)
{
    struct zb_config_proposal *p = proposal_of(a);
    struct zb_config_doc own = {0};
    struct zb_err err;
    enum zb_rc rc = change_check(a, change->doc, &err);

    if (rc == ZB_OK) {
        rc = zb_config_doc_copy(&own, change->doc, &err);
    }
    if (rc != ZB_OK) {
        struct zb_config_outcome outcome = {.rc = rc, .err = &err};
        change->on_done(change->ctx, &outcome);
        return;
    }
    *p = (struct zb_config_proposal){
        .active = true, .own = own, .on_done = change->on_done, .ctx = change->ctx};
    p->deadline.ms = zb_mono_now().ms + ZB_CONFIG_TIMEOUT_MS;
    uv_timer_start(&a->config->tick, on_tick, TICK_MS, TICK_MS);
    round_begin(a);
}

void
zb_config_change_close(struct zb_agent *a)
{
    struct zb_err err;

    if (proposal_of(a)->active) {
        zb_err_set(&err, ZB_E_CLOSED, "zbatond is ending");
        finish(a, err.rc, &err);
    }
}
