#include "core/table.h"

#define IGNORE                                                                                     \
    {                                                                                              \
        ZB_CELL_IGNORE, 0, "", ""                                                                  \
    }
#define NEVER                                                                                      \
    {                                                                                              \
        ZB_CELL_IMPOSSIBLE, 0, "", ""                                                              \
    }
#define GO(role, rule, reason)                                                                     \
    {                                                                                              \
        ZB_CELL_GO, ZB_ROLE_##role, rule, reason                                                   \
    }

/* Cells shared by rows. */
#define CONTINUE GO(LEADING, "R-continue", "the tree is still mounted under its own term (M12)")
#define STRAY GO(DEMOTING, "R-stray-mount", "the tree is mounted without the right to write")
#define OWNER GO(ASKING, "R-owner-asks", "the last leader asks for a new term after a restart (M6)")
#define FIRST GO(CREATING, "R-first", "a new service: its first leader makes or adopts the dataset")
#define GIVEN GO(RELEASED, "R-released", "the release stands until its target takes it")
#define REST GO(FOLLOWER, "R-rest", "at rest, read-only")
#define PUT_BACK GO(RESTORING, "R-put-back", "sealed, but not released: put back as it was")
#define ABORTED GO(RESTORING, "R-move-aborted", "the move cannot go on: put back as it was")
#define TAKEN_AWAY GO(RESTORING, "R-unmounted", "somebody unmounted the tree: put it back")
#define USURPED GO(DEMOTING, "R-usurped", "another node leads a higher term")
#define ORDERED GO(ASKING, "R-failover", "an operator orders this node to take the lead")
#define GRANTED                                                                                    \
    GO(PROMOTING, "R-granted",                                                                     \
       "granted by a majority and every suspect that is not fenced (M1, M3)")
#define GIVEN_UP GO(FOLLOWER, "R-failover-given-up", "the failover could not be done")
#define OUTBID GO(FOLLOWER, "R-superseded", "a voter knows a later leader or candidate")
#define BARRED                                                                                     \
    GO(FOLLOWER, "R-barred-asking", "the session in etcd ended: what was granted is void (M4)")
#define LOST GO(DEMOTING, "R-mount-lost", "the tree is not mounted any more: stop what uses it")

/* Rows of the observed stimuli that end in the same place from several roles. */
#define OBSERVED_AT_START                                                                          \
    [ZB_STIM_OBS_LEADING] = CONTINUE, [ZB_STIM_OBS_MOUNTED] = STRAY,                               \
    [ZB_STIM_OBS_RELEASED] = GIVEN, [ZB_STIM_OBS_SEALED] = PUT_BACK, [ZB_STIM_OBS_OWNER] = OWNER,  \
    [ZB_STIM_OBS_FIRST] = FIRST
#define NOT_OBSERVED                                                                               \
    [ZB_STIM_OBS_LEADING] = IGNORE, [ZB_STIM_OBS_MOUNTED] = IGNORE,                                \
    [ZB_STIM_OBS_RELEASED] = IGNORE, [ZB_STIM_OBS_SEALED] = IGNORE, [ZB_STIM_OBS_OWNER] = IGNORE,  \
    [ZB_STIM_OBS_FIRST] = IGNORE, [ZB_STIM_OBS_FOLLOWER] = IGNORE
#define OBSERVED_LEADING                                                                           \
    [ZB_STIM_OBS_LEADING] = IGNORE, [ZB_STIM_OBS_MOUNTED] = STRAY, [ZB_STIM_OBS_RELEASED] = LOST,  \
    [ZB_STIM_OBS_SEALED] = TAKEN_AWAY, [ZB_STIM_OBS_OWNER] = LOST, [ZB_STIM_OBS_FIRST] = LOST,     \
    [ZB_STIM_OBS_FOLLOWER] = LOST
#define NO_MOVE                                                                                    \
    [ZB_STIM_MOVE] = NEVER, [ZB_STIM_CLOSE_ENOUGH] = NEVER, [ZB_STIM_FINAL_READY] = NEVER,         \
    [ZB_STIM_ABORT] = NEVER
#define NO_ASKING                                                                                  \
    [ZB_STIM_RELEASE] = IGNORE, [ZB_STIM_GRANTED] = NEVER, [ZB_STIM_SUPERSEDED] = IGNORE,          \
    [ZB_STIM_BEHIND] = NEVER, [ZB_STIM_GIVE_UP] = NEVER
#define NO_FAILOVER [ZB_STIM_FAILOVER] = NEVER, [ZB_STIM_BARRED] = IGNORE, [ZB_STIM_YIELD] = NEVER
/* A leader's: it takes a new term, or gives way. */
#define GIVES_WAY                                                                                  \
    [ZB_STIM_FAILOVER] = NEVER, [ZB_STIM_BARRED] = IGNORE,                                         \
    [ZB_STIM_YIELD] = GO(DEMOTING, "R-yield", "it gives way to an operator's order")

const struct zb_cell zb_core_table[ZB_ROLE_COUNT][ZB_STIM_COUNT] = {
    [ZB_ROLE_UNKNOWN] =
        {
            OBSERVED_AT_START,
            [ZB_STIM_OBS_FOLLOWER] = REST,
            [ZB_STIM_OP_OK] = NEVER,
            [ZB_STIM_OP_FAILED] = IGNORE,
            NO_ASKING,
            NO_FAILOVER,
            [ZB_STIM_LED_ELSEWHERE] = IGNORE,
            NO_MOVE,
        },
    [ZB_ROLE_FOLLOWER] =
        {
            OBSERVED_AT_START,
            [ZB_STIM_OBS_FOLLOWER] = IGNORE,
            [ZB_STIM_OP_OK] = NEVER,
            [ZB_STIM_OP_FAILED] = IGNORE,
            [ZB_STIM_RELEASE] =
                GO(ASKING, "R-take",
                   "the holder released the baton to this node: ask for grants (M1)"),
            [ZB_STIM_FAILOVER] = ORDERED,
            [ZB_STIM_BEHIND] = NEVER,
            [ZB_STIM_GRANTED] = NEVER,
            [ZB_STIM_GIVE_UP] = NEVER,
            [ZB_STIM_BARRED] = IGNORE,
            [ZB_STIM_YIELD] = NEVER,
            [ZB_STIM_SUPERSEDED] = IGNORE,
            [ZB_STIM_LED_ELSEWHERE] = IGNORE,
            NO_MOVE,
        },
    [ZB_ROLE_CREATING] =
        {
            NOT_OBSERVED,
            [ZB_STIM_OP_OK] =
                GO(ASKING, "R-first-asks", "the dataset is there: ask for the first term"),
            [ZB_STIM_OP_FAILED] = GO(UNKNOWN, "R-create-failed", "the dataset could not be made"),
            NO_ASKING,
            NO_FAILOVER,
            [ZB_STIM_LED_ELSEWHERE] = REST,
            NO_MOVE,
        },
    [ZB_ROLE_ASKING] =
        {
            NOT_OBSERVED,
            [ZB_STIM_OP_OK] = NEVER,
            [ZB_STIM_OP_FAILED] =
                GO(UNKNOWN, "R-own-grant-failed", "this node's own keeper refused"),
            [ZB_STIM_RELEASE] = GO(ASKING, "R-take", "a release for a higher term: ask for that"),
            [ZB_STIM_FAILOVER] = ORDERED,
            [ZB_STIM_BEHIND] =
                GO(FORWARDING, "R-forward",
                   "granted: this copy becomes the set that it goes on from, first (M8)"),
            [ZB_STIM_GRANTED] = GRANTED,
            [ZB_STIM_GIVE_UP] = GIVEN_UP,
            [ZB_STIM_BARRED] = BARRED,
            [ZB_STIM_YIELD] = NEVER,
            [ZB_STIM_SUPERSEDED] = OUTBID,
            [ZB_STIM_LED_ELSEWHERE] = REST,
            NO_MOVE,
        },
    [ZB_ROLE_FORWARDING] =
        {
            NOT_OBSERVED,
            [ZB_STIM_OP_OK] = IGNORE,
            [ZB_STIM_OP_FAILED] = IGNORE,
            [ZB_STIM_RELEASE] = IGNORE,
            [ZB_STIM_FAILOVER] = NEVER,
            [ZB_STIM_BEHIND] = NEVER,
            [ZB_STIM_GRANTED] = GRANTED,
            [ZB_STIM_GIVE_UP] = GIVEN_UP,
            [ZB_STIM_YIELD] = NEVER,
            [ZB_STIM_BARRED] = BARRED,
            [ZB_STIM_SUPERSEDED] = OUTBID,
            [ZB_STIM_LED_ELSEWHERE] = REST,
            NO_MOVE,
        },
    [ZB_ROLE_PROMOTING] =
        {
            NOT_OBSERVED,
            [ZB_STIM_OP_OK] = GO(STARTING, "R-writable", "recorded, mounted and proven writable"),
            [ZB_STIM_OP_FAILED] =
                GO(UNKNOWN, "R-promote-failed", "not promoted: nothing is mounted"),
            NO_ASKING,
            NO_FAILOVER,
            [ZB_STIM_LED_ELSEWHERE] = USURPED,
            NO_MOVE,
        },
    [ZB_ROLE_STARTING] =
        {
            NOT_OBSERVED,
            [ZB_STIM_OP_OK] = GO(LEADING, "R-started", "the service runs"),
            [ZB_STIM_OP_FAILED] =
                GO(LEADING, "R-start-failed", "the service did not start: tried again"),
            NO_ASKING,
            GIVES_WAY,
            [ZB_STIM_LED_ELSEWHERE] = USURPED,
            NO_MOVE,
        },
    [ZB_ROLE_LEADING] =
        {
            OBSERVED_LEADING,
            [ZB_STIM_OP_OK] = IGNORE,
            [ZB_STIM_OP_FAILED] = IGNORE,
            NO_ASKING,
            GIVES_WAY,
            [ZB_STIM_LED_ELSEWHERE] = USURPED,
            [ZB_STIM_MOVE] =
                GO(PRESYNC, "R-move", "moving: bring the target close while the service runs"),
            [ZB_STIM_CLOSE_ENOUGH] = NEVER,
            [ZB_STIM_FINAL_READY] = NEVER,
            [ZB_STIM_ABORT] = NEVER,
        },
    [ZB_ROLE_PRESYNC] =
        {
            OBSERVED_LEADING,
            [ZB_STIM_OP_OK] = IGNORE,
            [ZB_STIM_OP_FAILED] = IGNORE,
            NO_ASKING,
            GIVES_WAY,
            [ZB_STIM_LED_ELSEWHERE] = USURPED,
            [ZB_STIM_MOVE] = NEVER,
            [ZB_STIM_CLOSE_ENOUGH] =
                GO(STOPPING, "R-stop", "little is left to send: stop the service"),
            [ZB_STIM_FINAL_READY] = NEVER,
            [ZB_STIM_ABORT] =
                GO(LEADING, "R-move-not-begun", "the move cannot go on: nothing was changed"),
        },
    [ZB_ROLE_STOPPING] =
        {
            NOT_OBSERVED,
            [ZB_STIM_OP_OK] =
                GO(SEALING, "R-seal", "no process of the service is left: final set, unmount"),
            [ZB_STIM_OP_FAILED] = ABORTED,
            NO_ASKING,
            NO_FAILOVER,
            [ZB_STIM_LED_ELSEWHERE] = USURPED,
            [ZB_STIM_MOVE] = NEVER,
            [ZB_STIM_CLOSE_ENOUGH] = NEVER,
            [ZB_STIM_FINAL_READY] = NEVER,
            [ZB_STIM_ABORT] = ABORTED,
        },
    [ZB_ROLE_SEALING] =
        {
            NOT_OBSERVED,
            [ZB_STIM_OP_OK] = IGNORE,
            [ZB_STIM_OP_FAILED] = ABORTED,
            NO_ASKING,
            NO_FAILOVER,
            [ZB_STIM_LED_ELSEWHERE] = USURPED,
            [ZB_STIM_MOVE] = NEVER,
            [ZB_STIM_CLOSE_ENOUGH] = NEVER,
            [ZB_STIM_FINAL_READY] =
                GO(RELEASING, "R-release", "sealed and held whole by the target"),
            [ZB_STIM_ABORT] = ABORTED,
        },
    [ZB_ROLE_RELEASING] =
        {
            NOT_OBSERVED,
            [ZB_STIM_OP_OK] = GIVEN,
            [ZB_STIM_OP_FAILED] =
                GO(UNKNOWN, "R-release-unclear", "the record says whether it was released"),
            NO_ASKING,
            NO_FAILOVER,
            [ZB_STIM_LED_ELSEWHERE] = USURPED,
            [ZB_STIM_MOVE] = NEVER,
            [ZB_STIM_CLOSE_ENOUGH] = NEVER,
            [ZB_STIM_FINAL_READY] = NEVER,
            [ZB_STIM_ABORT] = IGNORE,
        },
    [ZB_ROLE_RELEASED] =
        {
            NOT_OBSERVED,
            [ZB_STIM_OP_OK] = IGNORE,
            [ZB_STIM_OP_FAILED] = IGNORE,
            NO_ASKING,
            [ZB_STIM_FAILOVER] = ORDERED,
            [ZB_STIM_BARRED] = IGNORE,
            [ZB_STIM_YIELD] = NEVER,
            [ZB_STIM_LED_ELSEWHERE] = REST,
            NO_MOVE,
        },
    [ZB_ROLE_RESTORING] =
        {
            [ZB_STIM_OBS_LEADING] =
                GO(STARTING, "R-restart-service", "mounted as before: start the service"),
            [ZB_STIM_OBS_MOUNTED] = STRAY,
            [ZB_STIM_OBS_RELEASED] = GIVEN,
            [ZB_STIM_OBS_SEALED] = IGNORE,
            [ZB_STIM_OBS_OWNER] = OWNER,
            [ZB_STIM_OBS_FIRST] = FIRST,
            [ZB_STIM_OBS_FOLLOWER] = REST,
            [ZB_STIM_OP_OK] = GO(STARTING, "R-remounted", "mounted again in the same term"),
            [ZB_STIM_OP_FAILED] = IGNORE,
            NO_ASKING,
            NO_FAILOVER,
            [ZB_STIM_LED_ELSEWHERE] = USURPED,
            [ZB_STIM_MOVE] = NEVER,
            [ZB_STIM_CLOSE_ENOUGH] = NEVER,
            [ZB_STIM_FINAL_READY] = NEVER,
            [ZB_STIM_ABORT] = IGNORE,
        },
    [ZB_ROLE_DEMOTING] =
        {
            NOT_OBSERVED,
            [ZB_STIM_OP_OK] = GO(UNKNOWN, "R-demoted", "nothing is mounted: look again"),
            [ZB_STIM_OP_FAILED] = IGNORE,
            NO_ASKING,
            NO_FAILOVER,
            [ZB_STIM_LED_ELSEWHERE] = IGNORE,
            [ZB_STIM_MOVE] = NEVER,
            [ZB_STIM_CLOSE_ENOUGH] = NEVER,
            [ZB_STIM_FINAL_READY] = NEVER,
            [ZB_STIM_ABORT] = IGNORE,
        },
};

const char *
zb_role_word(enum zb_role role)
{
    static const char *const words[ZB_ROLE_COUNT] = {
        [ZB_ROLE_UNKNOWN] = "unknown",       [ZB_ROLE_FOLLOWER] = "follower",
        [ZB_ROLE_CREATING] = "creating",     [ZB_ROLE_ASKING] = "asking",
        [ZB_ROLE_FORWARDING] = "forwarding", [ZB_ROLE_PROMOTING] = "promoting",
        [ZB_ROLE_STARTING] = "starting",     [ZB_ROLE_LEADING] = "leading",
        [ZB_ROLE_PRESYNC] = "presync",       [ZB_ROLE_STOPPING] = "stopping",
        [ZB_ROLE_SEALING] = "sealing",       [ZB_ROLE_RELEASING] = "releasing",
        [ZB_ROLE_RELEASED] = "released",     [ZB_ROLE_RESTORING] = "restoring",
        [ZB_ROLE_DEMOTING] = "demoting",
    };
    return role < ZB_ROLE_COUNT ? words[role] : "?";
}

const char *
zb_stim_word(enum zb_stim stim)
{
    static const char *const words[ZB_STIM_COUNT] = {
        [ZB_STIM_OBS_LEADING] = "observed leading",
        [ZB_STIM_OBS_MOUNTED] = "observed mounted",
        [ZB_STIM_OBS_RELEASED] = "observed released",
        [ZB_STIM_OBS_SEALED] = "observed sealed",
        [ZB_STIM_OBS_OWNER] = "observed owner",
        [ZB_STIM_OBS_FIRST] = "observed first",
        [ZB_STIM_OBS_FOLLOWER] = "observed at rest",
        [ZB_STIM_OP_OK] = "operation done",
        [ZB_STIM_OP_FAILED] = "operation failed",
        [ZB_STIM_RELEASE] = "release",
        [ZB_STIM_FAILOVER] = "failover",
        [ZB_STIM_BEHIND] = "behind",
        [ZB_STIM_GRANTED] = "granted",
        [ZB_STIM_GIVE_UP] = "give up",
        [ZB_STIM_BARRED] = "barred",
        [ZB_STIM_YIELD] = "yield",
        [ZB_STIM_SUPERSEDED] = "superseded",
        [ZB_STIM_LED_ELSEWHERE] = "led elsewhere",
        [ZB_STIM_MOVE] = "move",
        [ZB_STIM_CLOSE_ENOUGH] = "close enough",
        [ZB_STIM_FINAL_READY] = "final set ready",
        [ZB_STIM_ABORT] = "abort",
    };
    return stim < ZB_STIM_COUNT ? words[stim] : "?";
}
