#include "agent/voters.h"

uint32_t
zb_voter_suspects(const struct zb_core_view *view)
{
    uint32_t suspects = view->obs.suspects;

    for (uint32_t n = 0; n < ZB_PEERS_MAX; n++) {
        suspects |= view->peers[n].report.suspects;
    }
    return suspects;
}

static uint64_t
granted_max(const struct zb_core_view *view)
{
    uint64_t max = view->obs.granted_term;

    for (uint32_t n = 0; n < ZB_PEERS_MAX; n++) {
        uint64_t granted = view->peers[n].report.granted_term;
        max = granted > max ? granted : max;
    }
    return max;
}

enum zb_voter_out
zb_voter_out(const struct zb_core_view *view, uint8_t self, uint32_t members, uint8_t node)
{
    if (view->leader == node) {
        return ZB_VOTER_OUT_LEADS;
    }
    if (view->leader != ZB_NODE_NONE && view->term >= granted_max(view)) {
        return ZB_VOTER_OUT_MAY; /* whoever led before is over (M3) */
    }
    if ((zb_voter_suspects(view) & UINT32_C(1) << node) != 0) {
        return ZB_VOTER_OUT_SUSPECT;
    }
    for (uint8_t n = 0; n < ZB_NODES_MAX; n++) {
        if (n != self && (members & UINT32_C(1) << n) != 0 && view->peers[n].up &&
            !view->peers[n].known) {
            return ZB_VOTER_OUT_UNHEARD;
        }
    }
    return ZB_VOTER_OUT_MAY;
}

bool
zb_voters_know(const struct zb_core_view *view, uint8_t self, uint32_t voters, uint64_t version)
{
    int know = 0;

    for (uint8_t n = 0; n < ZB_PEERS_MAX; n++) {
        const struct zb_core_peer_view *p = &view->peers[n];
        bool knows =
            n == self ? view->version >= version : p->known && p->report.version >= version;
        know += knows && (voters & UINT32_C(1) << n) != 0;
    }
    return 2 * know > __builtin_popcount(voters);
}
