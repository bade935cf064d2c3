/*
 * The promise of a service (max-loss): what would be lost if its leader died now is not older than
 * that. Held is what enough followers have whole, backups too, for a failover is forwarded by them
 * as by members; up or not, for what is on their disks is not lost.
 *
 * Up to when everything is held is kept, as seen: the time of the newest held set, or the last look
 * at which nothing had been written after it. So an idle service promises no less than a busy one,
 * and its first write does not count as old as the set before it.
 */
#ifndef ZB_AGENT_PROMISE_H
#define ZB_AGENT_PROMISE_H

#include <jansson.h>

#include "agent/agent.h"

#define ZB_PROMISE_NEVER INT64_MIN
#define ZB_PROMISE_JUDGE_MS 10000 /* between two judgements, as between two reports */

/* --- pure --- */

/* What is seen at one moment; times are monotonic, of this host. */
struct zb_promise_seen {
    int64_t now_ms;
    int64_t held_ms;  /* when the newest held set was made; NEVER: none is, or it is not known */
    int64_t clean_ms; /* the leader's newest set was held then, and nothing was known to be written
                       * after it; NEVER: not so when it was last looked at */
    int64_t late_ms;  /* how old such a look may be and still be about now */
};

struct zb_promise {
    int64_t begun_ms; /* seen for the first time */
    int64_t safe_ms;  /* everything written until then is held; NEVER */
    int64_t loss_ms;  /* what would be lost is that old; 0: nothing; -1: nothing is held */
    int64_t judged_ms;
    bool broken;
    bool doubted; /* the last judgement said otherwise */
};

/* The newest set that `wanted` of the positions are not below; none: too few are there. Sorts them.
 */
struct zb_set_id zb_promise_held(struct zb_set_id *positions, uint32_t count, uint32_t wanted);
void zb_promise_begin(struct zb_promise *p, int64_t now_ms);
void zb_promise_look(struct zb_promise *p, const struct zb_promise_seen *seen);
/* Two judgements in a row change it, ZB_PROMISE_JUDGE_MS or the interval apart: at the border
 * nothing flaps. Nor is it broken before the leader had time for two sets under this watch. True
 * when it changed. */
bool zb_promise_judge(struct zb_promise *p, const struct zb_conf_service *conf, int64_t now_ms);

/* --- promise_watch.c: of the services that are declared here --- */

struct zb_promises;

struct zb_promises *zb_promises_new(struct zb_agent *a);
/* NULL is fine. */
void zb_promises_close(struct zb_agent *a);

/* act.c: the leader's own disk, as it was at that time: newest and whether something came after. */
void zb_promise_observed(struct zb_agent *a, uint16_t service, const struct zb_core_obs *obs,
                         int64_t at_ms);

/* {"max_loss_s","members","loss_s"|null,"kept","held_set"|null}; null where nothing is promised. */
json_t *zb_promise_json(struct zb_agent *a, uint16_t service);
/* Its sentence, with who lacks what and why; broken: false when it is kept. False: nothing is
 * promised. */
bool zb_promise_say(struct zb_agent *a, uint16_t service, bool *broken, char *buf, size_t size);

#endif
