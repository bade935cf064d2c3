#include "net/shaper.h"

#define MILLI 1000       /* of a byte */
#define BURST_PER_S 10   /* a bucket holds what flows in a tenth of a second ... */
#define QUANTUM_PER_S 20 /* ... and a turn takes half of that */
#define FULL_MS 10000u   /* any debt is paid off and any bucket full after that */

static void
fill(struct zb_bucket *bucket, uint64_t now_ms)
{
    uint64_t since_ms = now_ms > bucket->at_ms ? now_ms - bucket->at_ms : 0;
    int64_t full = (int64_t)(bucket->rate * (MILLI / BURST_PER_S));

    bucket->level += (int64_t)(bucket->rate * (since_ms < FULL_MS ? since_ms : FULL_MS));
    bucket->level = bucket->level < full ? bucket->level : full;
    bucket->at_ms = now_ms;
}

void
zb_bucket_rate_set(struct zb_bucket *bucket, uint64_t rate, uint64_t now_ms)
{
    if (bucket->rate != rate) {
        fill(bucket, now_ms);
        bucket->rate = rate;
        fill(bucket, now_ms);
    }
}

void
zb_shaper_init(struct zb_shaper *shaper, void (*on_turn)(struct zb_turn *turn))
{
    *shaper = (struct zb_shaper){.on_turn = on_turn};
    TAILQ_INIT(&shaper->waiting);
}

/* The limits that hold for it; NULL where there is none. */
static void
limits_of(struct zb_shaper *shaper, const struct zb_turn *turn, struct zb_bucket *limits[2])
{
    limits[0] = shaper->all.rate > 0 ? &shaper->all : NULL;
    limits[1] = turn->group != NULL && turn->group->rate > 0 && !turn->first ? turn->group : NULL;
}

static uint32_t
quantum_of(const struct zb_bucket *const limits[2])
{
    uint64_t quantum = ZB_SHAPER_QUANTUM_MAX;

    for (int i = 0; i < 2; i++) {
        if (limits[i] != NULL && limits[i]->rate / QUANTUM_PER_S < quantum) {
            quantum = limits[i]->rate / QUANTUM_PER_S;
        }
    }
    return quantum > ZB_SHAPER_QUANTUM_MIN ? (uint32_t)quantum : ZB_SHAPER_QUANTUM_MIN;
}

/* Milliseconds until there is something in all its limits; 0: there is. */
static uint64_t
wait_of(struct zb_shaper *shaper, const struct zb_turn *turn, uint64_t now_ms)
{
    struct zb_bucket *limits[2];
    uint64_t longest_ms = 0;

    limits_of(shaper, turn, limits);
    for (int i = 0; i < 2; i++) {
        if (limits[i] == NULL) {
            continue;
        }
        fill(limits[i], now_ms);
        if (limits[i]->level <= 0) {
            uint64_t wait_ms = (uint64_t)-limits[i]->level / limits[i]->rate + 1;
            longest_ms = wait_ms > longest_ms ? wait_ms : longest_ms;
        }
    }
    return longest_ms;
}

static void
dequeue(struct zb_shaper *shaper, struct zb_turn *turn)
{
    if (turn->waits) {
        turn->waits = false;
        TAILQ_REMOVE(&shaper->waiting, turn, link);
    }
}

static void
grant(struct zb_shaper *shaper, struct zb_turn *turn)
{
    struct zb_bucket *limits[2];

    dequeue(shaper, turn);
    limits_of(shaper, turn, limits);
    turn->grant = quantum_of((const struct zb_bucket *const *)limits);
    for (int i = 0; i < 2; i++) {
        if (limits[i] != NULL) {
            limits[i]->level -= (int64_t)turn->grant * MILLI;
        }
    }
}

/* One turn to each that waits, in order, as long as there is something for it. */
static void
turns_give(struct zb_shaper *shaper, const struct zb_turn *asking, bool first, uint64_t now_ms)
{
    struct zb_turn *turn, *next;

    for (turn = TAILQ_FIRST(&shaper->waiting); turn != NULL; turn = next) {
        next = TAILQ_NEXT(turn, link);
        if (turn->first == first && wait_of(shaper, turn, now_ms) == 0) {
            grant(shaper, turn);
            if (turn != asking) {
                shaper->on_turn(turn);
            }
        }
    }
}

uint32_t
zb_shaper_ask(struct zb_shaper *shaper, struct zb_turn *turn, uint64_t now_ms)
{
    struct zb_bucket *limits[2];

    if (turn->grant > 0) {
        return turn->grant;
    }
    limits_of(shaper, turn, limits);
    if (limits[0] == NULL && limits[1] == NULL) {
        dequeue(shaper, turn);
        return ZB_SHAPER_QUANTUM_MAX;
    }
    if (!turn->waits) {
        turn->waits = true;
        TAILQ_INSERT_TAIL(&shaper->waiting, turn, link);
    }
    turns_give(shaper, turn, true, now_ms);
    turns_give(shaper, turn, false, now_ms);
    return turn->grant;
}

void
zb_turn_sent(struct zb_turn *turn, uint32_t bytes)
{
    turn->grant -= bytes < turn->grant ? bytes : turn->grant; /* more: there was no limit */
}

/* What was granted and not sent. */
static void
give_back(struct zb_shaper *shaper, struct zb_turn *turn, uint64_t now_ms)
{
    struct zb_bucket *limits[2];

    limits_of(shaper, turn, limits);
    for (int i = 0; i < 2 && turn->grant > 0; i++) {
        if (limits[i] != NULL) {
            limits[i]->level += (int64_t)turn->grant * MILLI;
            fill(limits[i], now_ms);
        }
    }
    turn->grant = 0;
}

void
zb_turn_set(struct zb_shaper *shaper, struct zb_turn *turn, struct zb_bucket *group, bool first,
            uint64_t now_ms)
{
    if (turn->group != group || turn->first != first) {
        give_back(shaper, turn, now_ms);
        turn->group = group;
        turn->first = first;
    }
}

void
zb_shaper_leave(struct zb_shaper *shaper, struct zb_turn *turn, uint64_t now_ms)
{
    dequeue(shaper, turn);
    give_back(shaper, turn, now_ms);
}

void
zb_shaper_run(struct zb_shaper *shaper, uint64_t now_ms)
{
    turns_give(shaper, NULL, true, now_ms);
    turns_give(shaper, NULL, false, now_ms);
}

uint64_t
zb_shaper_wait_ms(struct zb_shaper *shaper, uint64_t now_ms)
{
    const struct zb_turn *turn;
    uint64_t shortest_ms = UINT64_MAX;

    for (turn = TAILQ_FIRST(&shaper->waiting); turn != NULL; turn = TAILQ_NEXT(turn, link)) {
        uint64_t wait_ms = wait_of(shaper, turn, now_ms);
        shortest_ms = wait_ms < shortest_ms ? wait_ms : shortest_ms;
    }
    return shortest_ms > 0 ? shortest_ms : 1;
}
