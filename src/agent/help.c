#include "agent/help.h"

#include <stdio.h>

#define DAEMON "zbaton node list; there: systemctl status zbaton"

static const struct {
    const char *rule;
    const char *before; /* the service's name ... */
    const char *after;  /* ... and after it; NULL: without it */
} helps[] = {
    {"C-move-not-a-member", "zbaton config show names its members; zbaton apply adds one", NULL},
    {"C-move-target-backup", "make it a member: zbaton config show, zbaton apply", NULL},
    {"C-move-target-down", DAEMON, NULL},
    {"C-move-target-modified",
     "there: zfs list -r -o name,written shows where, zfs rollback to its newest set gives the "
     "change up",
     NULL},
    {"C-move-target-runs", "there: systemctl stop UNIT, or the service's own means", NULL},
    {"C-move-target-key",
     "there: zfs load-key -n -L file://KEY-FILE DATASET tries it; zbaton config show says which "
     "file",
     NULL},
    {"C-move-target-not-following", "zbaton explain", ""},
    {"C-move-target-without-copy", "zbaton explain", ""},
    {"C-move-frozen", "zbaton thaw", ""},
    {"C-failover-frozen", "zbaton thaw", ""},
    {"C-revert-frozen", "zbaton thaw", ""},
    {"C-revert-not-of-history", "zbaton history", " lists the sets"},
    {"C-revert-suspect", "zbaton node list; zbaton status", ""},
    {"C-revert-prunes", "try again", NULL},
    {"C-failover-not-begun", "zbaton explain", ""},
    {"C-revert-no-majority", "zbaton node list; zbaton status", ""},
    {"C-failover-leader-up", "zbaton move", " NODE"},
    {"C-failover-ahead", "zbaton failover -n", " says who holds more"},
    {"C-failover-cannot-forward", "zbaton failover -n", " says who holds more; --to names it"},
    {"C-failover-diverged", "zbaton failover -n", " chooses another one"},
    {"C-failover-no-majority", "zbaton node list; zbaton status", ""},
    {"C-failover-key",
     "there: zfs load-key -n -L file://KEY-FILE DATASET tries it; zbaton config "
     "show says which file",
     NULL},
    {"C-failover-moved-on", "zbaton failover -n", " states the loss as it is now"},
    {"C-failover-superseded", "zbaton history", ""},
    {"A-drained", "zbaton undrain NODE", NULL},
    {"A-drill-failed", "zbaton drill", " --node NODE tries again"},
    {"A-peer-down", DAEMON, NULL},
    {"A-promise-broken", "zbaton explain", ", and there what is said of each member"},
    {"R-led-before", "zbaton failover -n", " says from which set it would go on"},
    {"R-service-held", "zbaton start", ""},
    {"R-rejoin-no-base", "zbaton rejoin", ""},
    {"R-rejoin-waits", DAEMON, NULL},
};

bool
zb_help_find(const char *rule, const char *service, char buf[ZB_HELP_SIZE])
{
    buf[0] = '\0';
    for (size_t i = 0; rule != NULL && i < sizeof helps / sizeof helps[0]; i++) {
        if (strcmp(rule, helps[i].rule) != 0) {
            continue;
        }
        if (helps[i].after == NULL) {
            (void)snprintf(buf, ZB_HELP_SIZE, "%s", helps[i].before);
        } else {
            (void)snprintf(buf, ZB_HELP_SIZE, "%s %s%s", helps[i].before, service, helps[i].after);
        }
        return true;
    }
    return false;
}
