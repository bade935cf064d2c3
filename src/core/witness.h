/*
 * What etcd decides where it has a vote (protocol.md, E9): one more voter of a service, with a
 * record as any voter has, and without a copy. It leads nobody, sees nobody and holds no set. Its
 * record is a key of etcd that is changed by compare-and-swap alone; whoever asks it decides here
 * what becomes of the record, and tells the answer only when etcd is known to have that.
 *
 * Pure: no I/O, no clock, no allocation.
 */
#ifndef ZB_CORE_WITNESS_H
#define ZB_CORE_WITNESS_H

#include "core/core.h"

/* Zero, with nobody as the nodes, is a service that it never heard of. */
struct zb_witness_record {
    uint64_t version; /* of the voters' list: the highest one that it heard of (M11) */
    uint64_t granted_term;
    uint8_t granted_to;
    uint64_t learned_term;
    uint8_t learned_leader;
    uint32_t suspects;         /* node bits (M3) */
    struct zb_lineage lineage; /* of learned_term */
};

void zb_witness_record_init(struct zb_witness_record *record);

/* What it would report of itself. */
void zb_witness_report(const struct zb_witness_record *record, struct zb_core_msg *report);

/* What becomes of the record by a message of `from`, and what that one is answered: to a report
 * with a report, to a question for a grant; kind 0: nothing. True: the record changes, and the
 * answer holds only once `next` is known to be recorded instead of `record`. */
bool zb_witness_decide(const struct zb_witness_record *record, uint8_t from,
                       const struct zb_core_msg *msg, struct zb_witness_record *next,
                       struct zb_core_msg *answer);

/* The lineage goes with learned_term. */
bool zb_witness_is_same(const struct zb_witness_record *a, const struct zb_witness_record *b);

/* The service was withdrawn by that version of the configuration: what was granted is over, as with
 * the members' own records. Only the version stays, so that who has not heard of it is refused, and
 * a service that is declared under the name later begins anew. False: the record is of later. */
bool zb_witness_withdraw(const struct zb_witness_record *record, uint64_t version,
                         struct zb_witness_record *next);

#endif
