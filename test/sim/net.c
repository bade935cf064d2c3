#include "sim.h"

/* A connection stands when both engines are there and nothing between them is cut. */
bool
sim_connected(const struct sim *w, uint8_t a, uint8_t b)
{
    uint32_t session = w->nodes[a].session[b];

    return session != 0 && w->nodes[b].session[a] == session && !w->cut[a][b] && !w->cut[b][a] &&
           w->nodes[a].engine && w->nodes[b].engine;
}

static void
peer_event(struct sim *w, uint8_t node, uint8_t peer, bool up)
{
    struct zb_event ev = {.kind = up ? ZB_EV_PEER_UP : ZB_EV_PEER_DOWN, .node = peer};

    sim_tell(w, node, "%s n%u", up ? "connected with" : "lost", peer + 1);
    sim_step(w, node, &ev);
}

/* Who notices that a connection is gone tells its core; then a new one is made if it can be. */
void
sim_link_check(struct sim *w, uint8_t a, uint8_t b)
{
    const uint8_t ends[2][2] = {{a, b}, {b, a}};
    bool possible = w->nodes[a].engine && w->nodes[b].engine && !w->cut[a][b] && !w->cut[b][a] &&
                    !w->nodes[a].paused && !w->nodes[b].paused;

    if (possible && sim_connected(w, a, b)) {
        return;
    }
    for (unsigned i = 0; i < 2; i++) {
        struct sim_node *n = &w->nodes[ends[i][0]];
        if (n->engine && !n->paused && n->session[ends[i][1]] != 0) {
            n->session[ends[i][1]] = 0;
            peer_event(w, ends[i][0], ends[i][1], false);
        }
    }
    if (possible && w->nodes[a].session[b] == 0 && w->nodes[b].session[a] == 0) {
        uint32_t session = ++w->next_session;
        w->nodes[a].session[b] = w->nodes[b].session[a] = session;
        peer_event(w, a, b, true);
        peer_event(w, b, a, true);
    }
}

/* Every connection of a node is looked at soon: an end of a process shows at once, a cut or a
 * frozen host after the keepalive's time. */
void
sim_links_check(struct sim *w, uint8_t node)
{
    for (uint8_t i = 0; i < w->opt.nodes; i++) {
        struct sim_item *item;
        bool silent;
        if (i == node) {
            continue;
        }
        if (w->manual) { /* noticed at once: what is between is the core's to bear elsewhere */
            sim_link_check(w, node, i);
            continue;
        }
        silent = w->cut[node][i] || w->cut[i][node] || w->nodes[node].paused || w->nodes[i].paused;
        item = sim_item_add(w, SIM_LINK, node,
                            silent ? 500 + (int64_t)sim_random(w, 12000)
                                   : 2 + (int64_t)sim_random(w, 400));
        item->peer = i;
    }
}

static void
message_queue(struct sim *w, const struct sim_item *like, int64_t delay_ms)
{
    struct sim_item *item = sim_item_add(w, SIM_MESSAGE, like->node, delay_ms);

    item->peer = like->peer;
    item->service = like->service;
    item->session = like->session;
    item->life = like->life;
    item->u.msg = like->u.msg;
}

void
sim_message_send(struct sim *w, uint8_t from, uint8_t service, uint8_t to,
                 const struct zb_core_msg *msg)
{
    struct sim_item item = {.node = to, .peer = from, .service = service};
    int64_t delay_ms;

    if (to == ZB_NODE_WITNESS) {
        sim_witness_send(w, from, service, msg);
        return;
    }
    delay_ms = 1 + (int64_t)sim_random(w, 8);
    item.session = w->nodes[from].session[to];
    item.u.msg = *msg;
    sim_check_message(w, from, service, msg);
    if (item.session == 0 || w->cut[from][to]) {
        return;
    }
    if (sim_chance(w, w->opt.loss)) {
        return;
    }
    if (sim_chance(w, w->opt.reorder)) {
        delay_ms += (int64_t)sim_random(w, 3000);
    }
    message_queue(w, &item, delay_ms);
    if (sim_chance(w, w->opt.duplicates)) {
        item.session = 0; /* a late one, which may meet another life */
        message_queue(w, &item, delay_ms + (int64_t)sim_random(w, 8000));
    }
}

/* What a check goes by, whatever the core believes. */
static void
told_note(struct sim *w, const struct sim_item *item)
{
    const struct zb_core_msg *m = &item->u.msg;
    struct sim_told *told = &w->told[item->node][item->peer][item->service];

    if (m->number == 0 || m->nonce != told->nonce || m->number > told->number) {
        *told = (struct sim_told){m->nonce, m->number, m->set.id};
    }
}

void
sim_message_arrive(struct sim *w, const struct sim_item *item)
{
    struct zb_event ev = {.kind = ZB_EV_MESSAGE, .node = item->peer, .service = item->service};
    const struct sim_node *n = &w->nodes[item->node];
    bool news;

    if (!n->engine || w->cut[item->peer][item->node] ||
        (item->session != 0 && item->session != n->session[item->peer])) {
        return;
    }
    ev.u.msg = item->u.msg;
    news = zb_core_is_news(w->cores[item->node], item->service, item->peer, &ev.u.msg);
    if (ev.u.msg.kind == ZB_MSG_GRANT_ASK) {
        w->asked_version[item->node][item->peer][item->service] = ev.u.msg.version;
    }
    if (ev.u.msg.kind == ZB_MSG_REPORT) {
        told_note(w, item);
    }
    if (ev.u.msg.kind == ZB_MSG_REPORT && news) {
        w->nodes[item->node].services[item->service].told_version[item->peer] = ev.u.msg.version;
        if (!w->manual && !zb_set_id_is_none(ev.u.msg.set.id)) {
            w->nodes[item->node].services[item->service].positions[item->peer] = ev.u.msg.set;
        }
    }
    sim_tell(w, item->node, "message of n%u: kind %d term %lu rc %d set %lu/%lu granted %lu%s",
             item->peer + 1, (int)ev.u.msg.kind, (unsigned long)ev.u.msg.term, (int)ev.u.msg.rc,
             (unsigned long)ev.u.msg.set.id.term, (unsigned long)ev.u.msg.set.id.seq,
             (unsigned long)ev.u.msg.granted_term, news ? "" : ": late");
    if ((ev.u.msg.kind == ZB_MSG_REPORT && news) || ev.u.msg.kind == ZB_MSG_GRANT_ANSWER) {
        const struct zb_core_seen told = {.granted_term = ev.u.msg.granted_term,
                                          .granted_to = ev.u.msg.granted_to,
                                          .learned_term = ev.u.msg.learned_term,
                                          .learned_leader = ev.u.msg.learned_leader,
                                          .suspects = ev.u.msg.suspects};
        (void)zb_core_seen_add(&w->nodes[item->node].services[item->service].seen[item->peer],
                               &told);
    }
    sim_step(w, item->node, &ev);
}
