#include "base/lineage.h"

#include <string.h>

void
zb_lineage_add(struct zb_lineage *l, uint64_t term, struct zb_set_id fork)
{
    if (l->count > 0 && term <= l->lines[l->count - 1].term) {
        return;
    }
    if (l->count == ZB_LINEAGE_MAX) {
        memmove(&l->lines[0], &l->lines[1], (ZB_LINEAGE_MAX - 1) * sizeof(l->lines[0]));
        l->count--;
    }
    l->lines[l->count++] = (struct zb_line){.term = term, .fork = fork};
}

/* Walks from the newest term down: what came after the fork of a term is not of it, whatever terms
 * lie in between. */
struct zb_set_id
zb_lineage_clamp(const struct zb_lineage *l, struct zb_set_id id)
{
    for (uint32_t i = l->count; i-- > 0;) {
        const struct zb_line *line = &l->lines[i];
        if (id.term > line->term && i == l->count - 1) {
            return (struct zb_set_id){line->term, UINT64_MAX}; /* a term that nobody led */
        }
        if (id.term >= line->term) {
            return id;
        }
        if (zb_set_id_cmp(id, line->fork) > 0) {
            id = line->fork;
        }
    }
    return id;
}

bool
zb_lineage_has(const struct zb_lineage *l, struct zb_set_id id)
{
    return zb_set_id_cmp(zb_lineage_clamp(l, id), id) == 0;
}

bool
zb_lineage_reaches(const struct zb_lineage *l, struct zb_set_id id)
{
    return l->count < ZB_LINEAGE_MAX || id.term >= l->lines[0].term;
}

bool
zb_lineage_valid(const struct zb_lineage *l)
{
    if (l->count > ZB_LINEAGE_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < l->count; i++) {
        if (l->lines[i].term == 0 || l->lines[i].fork.term >= l->lines[i].term ||
            (i > 0 && l->lines[i].term <= l->lines[i - 1].term)) {
            return false;
        }
    }
    return true;
}
