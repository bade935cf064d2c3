#include "conf/service_key.h"

#include <string.h>

#include "conf/send_limit.h"

#define RUNS(r) (1u << (r))
#define AT(f)                                                                                      \
    .offset = offsetof(struct zb_conf_service, f), .size = sizeof(((struct zb_conf_service *)0)->f)

#define BUCKET(f)                                                                                  \
    ZB_CONF_COUNT, AT(f), .min = 1, .max = ZB_CONF_KEEP_MAX, .expected = "a number from 1 to 1000"
#define MAX_LOSS_MAX_MS (UINT64_C(30) * 86400000)
#define BACKUP_SETS_MAX 2048 /* between two times of backups; foreign ones come too */
/* All that is declared, and foreign ones: bases among them are found. keep-for is held to as many
 * sets as keep when it is declared (diff.c), and both mean the newest. Sets by order come on top;
 * if they are too many, what is older has its bookmarks. */
_Static_assert(ZB_CONF_KEEP_LAST_MAX + ZB_CONF_BUCKETS * ZB_CONF_KEEP_MAX <= ZB_SNAPS_MAX,
               "what is kept is listed");
#define FAILBACK_MAX_MS (UINT64_C(7) * 86400000)
#define RESTARTS_MAX 1000
#define KEEP_FOR_MAX_MS (UINT64_C(3650) * 86400000)

static const struct zb_conf_word runner_words[] = {
    {"none", ZB_CONF_RUNNER_NONE},
    {"command", ZB_CONF_RUNNER_COMMAND},
    {"systemd", ZB_CONF_RUNNER_SYSTEMD},
    {NULL, 0},
};

static const struct zb_conf_word failover_words[] = {
    {"manual", ZB_CONF_FAILOVER_MANUAL},
    {"automatic", ZB_CONF_FAILOVER_AUTOMATIC},
    {NULL, 0},
};

static const struct zb_conf_word relocate_words[] = {
    {"no", ZB_CONF_RELOCATE_NO},
    {"yes", ZB_CONF_RELOCATE_YES},
    {NULL, 0},
};

static const struct zb_conf_word flavour_words[] = {
    {"plain", ZB_CONF_FLAVOUR_PLAIN},
    {"raw", ZB_CONF_FLAVOUR_RAW},
    {NULL, 0},
};

static const struct zb_conf_word key_format_words[] = {
    {"raw", ZB_CONF_KEY_RAW},
    {"hex", ZB_CONF_KEY_HEX},
    {"passphrase", ZB_CONF_KEY_PASSPHRASE},
    {NULL, 0},
};

static const struct zb_conf_word witness_words[] = {
    {"etcd", ZB_CONF_WITNESS_ETCD},
    {NULL, 0},
};

static const char names_expected[] = "names of nodes (a-z, 0-9, -)";
static const char timeout_expected[] = "a time from 1s to 1h, such as \"60s\"";
static const char keep_for_expected[] = "a time from 1s to 3650d, such as \"2d\"";
static const char command_expected[] =
    "the name of a program in commands-dir and its arguments (no path, no shell)";

const struct zb_conf_key zb_conf_service_keys[] = {
    {"members", ZB_CONF_NAMES, AT(members), .expected = names_expected, .required = true},
    {"backups", ZB_CONF_NAMES, AT(backups), .expected = names_expected},
    {"leader", ZB_CONF_STRING, AT(leader), .valid = zb_node_name_valid, .required = true,
     .expected = "the name of a member"},
    {"mountpoint", ZB_CONF_STRING, AT(mountpoint), .valid = zb_conf_path_valid, .required = true,
     .expected =
         "an absolute path other than \"/\", without \"..\" and without a slash at its end"},
    {"flavour", ZB_CONF_WORD, AT(flavour), .words = flavour_words, .fallback = "plain",
     .expected = "\"plain\" or \"raw\""},
    {"key-file", ZB_CONF_STRING, AT(key_file), .valid = zb_conf_path_valid,
     .expected = "the absolute path of a file, such as \"/etc/zbaton/keys/web\""},
    {"key-command", ZB_CONF_STRING, AT(key_command), .valid = zb_conf_command_valid,
     .expected = command_expected},
    {"key-format", ZB_CONF_WORD, AT(key_format), .words = key_format_words,
     .expected = "\"raw\", \"hex\" or \"passphrase\""},
    {"witness", ZB_CONF_WORD, AT(witness), .words = witness_words, .expected = "\"etcd\""},
    {"failover", ZB_CONF_WORD, AT(failover), .words = failover_words, .fallback = "manual",
     .expected = "\"manual\" or \"automatic\""},
    {"prefer", ZB_CONF_NAMES, AT(prefer), .expected = names_expected},
    {"failback", ZB_CONF_DURATION, AT(failback_ms), .min = 1000, .max = FAILBACK_MAX_MS,
     .expected = "a time from 1s to 7d, such as \"10m\""},
    {"interval", ZB_CONF_DURATION, AT(interval_ms), .min = 1000, .max = 24 * 3600000,
     .expected = "a time from 1s to 24h, such as \"30s\"", .fallback = "30s"},
    {"idle-interval", ZB_CONF_DURATION, AT(idle_interval_ms), .min = 1000, .max = 24 * 3600000,
     .expected = "a time from 1s to 24h, such as \"5m\""},
    {"idle-written", ZB_CONF_SIZE, AT(idle_bytes), .min = 1 << 10, .max = UINT64_C(1) << 60,
     .expected = "a size from 1K to 1024P, such as \"1M\""},
    {"backup-every", ZB_CONF_DURATION, AT(backup_every_ms), .min = 1000, .max = MAX_LOSS_MAX_MS,
     .expected = "a time from 1s to 30d, such as \"1h\""},
    {"max-loss", ZB_CONF_DURATION, AT(max_loss_ms), .min = 1000, .max = MAX_LOSS_MAX_MS,
     .expected = "a time from 1s to 30d, such as \"5m\""},
    {"max-loss-members", ZB_CONF_COUNT, AT(max_loss_members), .min = 1, .max = ZB_MEMBERS_MAX - 1,
     .expected = "a number from 1 to 8"},
    {"keep", ZB_CONF_COUNT, AT(keep.last), .min = 2, .max = ZB_CONF_KEEP_LAST_MAX,
     .expected = "a number from 2 to 10000", .fallback = "24"},
    {"keep-for", ZB_CONF_DURATION, AT(keep.for_ms), .min = 1000, .max = KEEP_FOR_MAX_MS,
     .expected = keep_for_expected},
    {"hourly", BUCKET(keep.buckets[ZB_CONF_HOURLY])},
    {"daily", BUCKET(keep.buckets[ZB_CONF_DAILY])},
    {"weekly", BUCKET(keep.buckets[ZB_CONF_WEEKLY])},
    {"monthly", BUCKET(keep.buckets[ZB_CONF_MONTHLY])},
    {"yearly", BUCKET(keep.buckets[ZB_CONF_YEARLY])},
    {"backup-keep", ZB_CONF_COUNT, AT(backup_keep.last), .min = 2, .max = ZB_CONF_KEEP_LAST_MAX,
     .expected = "a number from 2 to 10000"},
    {"backup-keep-for", ZB_CONF_DURATION, AT(backup_keep.for_ms), .min = 1000,
     .max = KEEP_FOR_MAX_MS, .expected = keep_for_expected},
    {"backup-hourly", BUCKET(backup_keep.buckets[ZB_CONF_HOURLY])},
    {"backup-daily", BUCKET(backup_keep.buckets[ZB_CONF_DAILY])},
    {"backup-weekly", BUCKET(backup_keep.buckets[ZB_CONF_WEEKLY])},
    {"backup-monthly", BUCKET(backup_keep.buckets[ZB_CONF_MONTHLY])},
    {"backup-yearly", BUCKET(backup_keep.buckets[ZB_CONF_YEARLY])},
    {"catch-up", ZB_CONF_COUNT, AT(catch_up), .min = 1, .max = ZB_CONF_KEEP_LAST_MAX,
     .expected = "a number from 1 to 10000", .fallback = "1000"},
    {"foreign-grace", ZB_CONF_DURATION, AT(foreign_grace_ms), .min = 1000, .max = KEEP_FOR_MAX_MS,
     .expected = "a time from 1s to 3650d, such as \"7d\"", .fallback = "7d"},
    {"send-limit", ZB_CONF_SIZE, AT(send_limit_bytes), .min = ZB_CONF_SEND_LIMIT_MIN,
     .max = ZB_CONF_SEND_LIMIT_MAX,
     .expected = "a size per second from 64K to 1T, such as \"10M\""},
    {"quota", ZB_CONF_SIZE, AT(quota_bytes), .min = 1 << 20, .max = UINT64_C(1) << 60,
     .expected = "a size from 1M to 1024P, such as \"10G\""},
    {"runner", ZB_CONF_WORD, AT(runner), .words = runner_words, .fallback = "none",
     .expected = "\"command\", \"systemd\" or \"none\""},
    {"start", ZB_CONF_STRING, AT(start), .valid = zb_conf_command_valid, .required = true,
     .expected = command_expected, .runners = RUNS(ZB_CONF_RUNNER_COMMAND)},
    {"stop", ZB_CONF_STRING, AT(stop), .valid = zb_conf_command_valid, .expected = command_expected,
     .runners = RUNS(ZB_CONF_RUNNER_COMMAND)},
    {"check", ZB_CONF_STRING, AT(check), .valid = zb_conf_command_valid,
     .expected = command_expected, .runners = RUNS(ZB_CONF_RUNNER_COMMAND)},
    {"unit", ZB_CONF_STRING, AT(unit), .valid = zb_conf_unit_valid, .required = true,
     .expected = "the name of a systemd service, such as \"web.service\"",
     .runners = RUNS(ZB_CONF_RUNNER_SYSTEMD)},
    {"start-timeout", ZB_CONF_DURATION, AT(start_timeout_ms), .min = 1000, .max = 3600000,
     .expected = timeout_expected, .fallback = "60s"},
    {"stop-timeout", ZB_CONF_DURATION, AT(stop_timeout_ms), .min = 1000, .max = 3600000,
     .expected = timeout_expected, .fallback = "60s"},
    {"restarts", ZB_CONF_COUNT, AT(restarts), .min = 1, .max = RESTARTS_MAX,
     .expected = "a number from 1 to 1000",
     .runners = RUNS(ZB_CONF_RUNNER_COMMAND) | RUNS(ZB_CONF_RUNNER_SYSTEMD)},
    {"relocate", ZB_CONF_WORD, AT(relocate), .words = relocate_words, .fallback = "no",
     .expected = "\"yes\" or \"no\""},
    {"drill", ZB_CONF_DURATION, AT(drill_ms), .min = 10000, .max = KEEP_FOR_MAX_MS,
     .expected = "a time from 10s to 3650d, such as \"1d\""},
    {"drill-check", ZB_CONF_STRING, AT(drill_check), .valid = zb_conf_command_valid,
     .expected = command_expected},
    {"drill-timeout", ZB_CONF_DURATION, AT(drill_timeout_ms), .min = 1000, .max = 24 * 3600000,
     .expected = "a time from 1s to 24h, such as \"10m\"", .fallback = "10m"},
};
const size_t zb_conf_service_keys_count =
    sizeof zb_conf_service_keys / sizeof zb_conf_service_keys[0];

bool
zb_conf_names_contain(const struct zb_conf_names *names, const char *name)
{
    for (uint32_t i = 0; i < names->count; i++) {
        if (strcmp(names->items[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* Keys that this runner needs are there, keys of other runners are not. */
static enum zb_rc
presence_check(const struct zb_conf_service *service, uint64_t seen, struct zb_err *err)
{
    const char *runner = runner_words[service->runner].word;

    for (size_t i = 0; i < zb_conf_service_keys_count; i++) {
        const struct zb_conf_key *key = &zb_conf_service_keys[i];
        bool given = (seen & (UINT64_C(1) << i)) != 0;
        bool applies = key->runners == 0 || (key->runners & RUNS(service->runner)) != 0;
        if (given && !applies) {
            return zb_err_set(err, ZB_E_FORMAT, "%s is not for runner \"%s\"", key->name, runner);
        }
        if (!given && applies && key->required) {
            return zb_err_set(err, ZB_E_FORMAT, "%s is missing", key->name);
        }
    }
    return ZB_OK;
}

static bool
node_known(const struct zb_conf_nodes *known, const char *name)
{
    if (known == NULL) {
        return true;
    }
    for (uint32_t i = 0; i < known->count; i++) {
        if (strcmp(known->names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static enum zb_rc
known_check(const struct zb_conf_names *names, const struct zb_conf_nodes *known,
            struct zb_err *err)
{
    for (uint32_t i = 0; i < names->count; i++) {
        if (node_known(known, names->items[i])) {
            continue;
        }
        const char *meant = zb_conf_suggest(names->items[i], known->names, known->count);
        (void)zb_err_set(err, ZB_E_FORMAT, "%s is not a node of the cluster%s%s%s", names->items[i],
                         meant != NULL ? "; did you mean '" : "", meant != NULL ? meant : "",
                         meant != NULL ? "'?" : "");
        return err->rc;
    }
    return ZB_OK;
}

static enum zb_rc
members_check(const struct zb_conf_service *s, const struct zb_conf_nodes *known,
              struct zb_err *err)
{
    if (s->members.count == 0) {
        return zb_err_set(err, ZB_E_FORMAT, "members: at least one is needed");
    }
    if (s->members.count + s->backups.count > ZB_MEMBERS_MAX) {
        return zb_err_set(err, ZB_E_LIMIT, "%u members and backups, at most %d",
                          s->members.count + s->backups.count, ZB_MEMBERS_MAX);
    }
    for (uint32_t i = 0; i < s->backups.count; i++) {
        if (zb_conf_names_contain(&s->members, s->backups.items[i])) {
            return zb_err_set(err, ZB_E_FORMAT, "%s is both a member and a backup",
                              s->backups.items[i]);
        }
    }
    if (!zb_conf_names_contain(&s->members, s->leader)) {
        return zb_err_set(err, ZB_E_FORMAT, "leader: %s is not among the members", s->leader);
    }
    enum zb_rc rc = known_check(&s->members, known, err);
    return rc == ZB_OK ? known_check(&s->backups, known, err) : rc;
}

static enum zb_rc
flavour_check(const struct zb_conf_service *s, struct zb_err *err)
{
    bool file = s->key_file[0] != '\0', command = s->key_command[0] != '\0';

    if (s->flavour == ZB_CONF_FLAVOUR_RAW && file == command) {
        return zb_err_set(err, ZB_E_FORMAT,
                          "flavour \"raw\" wants key-file or key-command%s: each member has the "
                          "key of the service's datasets from it",
                          file ? ", not both" : "");
    }
    if (s->flavour == ZB_CONF_FLAVOUR_PLAIN &&
        (file || command || s->key_format != ZB_CONF_KEY_NONE)) {
        return zb_err_set(err, ZB_E_FORMAT,
                          "key-file, key-command and key-format are only for flavour \"raw\"");
    }
    return ZB_OK;
}

static enum zb_rc
failover_check(const struct zb_conf_service *s, struct zb_err *err)
{
    for (uint32_t i = 0; i < s->prefer.count; i++) {
        if (!zb_conf_names_contain(&s->members, s->prefer.items[i])) {
            return zb_err_set(err, ZB_E_FORMAT, "prefer: %s is not among the members",
                              s->prefer.items[i]);
        }
    }
    if (s->failover == ZB_CONF_FAILOVER_AUTOMATIC && s->max_loss_ms == 0) {
        return zb_err_set(err, ZB_E_FORMAT,
                          "failover \"automatic\" wants max-loss: how much may be lost without an "
                          "operator's word");
    }
    return ZB_OK;
}

static enum zb_rc
relocate_check(const struct zb_conf_service *s, struct zb_err *err)
{
    if (s->relocate == ZB_CONF_RELOCATE_YES && s->restarts == 0) {
        return zb_err_set(err, ZB_E_FORMAT,
                          "relocate \"yes\" wants restarts: how often it is started again where it "
                          "is, before it goes elsewhere");
    }
    if (s->relocate == ZB_CONF_RELOCATE_YES && s->members.count == 1) {
        return zb_err_set(err, ZB_E_FORMAT,
                          "relocate \"yes\" wants another member that it could go to");
    }
    if (s->failback_ms != 0 && s->prefer.count == 0) {
        return zb_err_set(err, ZB_E_FORMAT,
                          "failback wants prefer: the members, the best one first");
    }
    return ZB_OK;
}

/* A service that hardly changes has fewer sets, not more, and what is little is said. */
static enum zb_rc
idle_check(const struct zb_conf_service *s, struct zb_err *err)
{
    char idle[ZB_CONF_NUMBER_SIZE], other[ZB_CONF_NUMBER_SIZE];

    if ((s->idle_interval_ms == 0) != (s->idle_bytes == 0)) {
        return zb_err_set(err, ZB_E_FORMAT,
                          "idle-interval and idle-written are declared together: how rarely sets "
                          "are made while less than that was written");
    }
    if (s->idle_interval_ms == 0) {
        return ZB_OK;
    }
    zb_conf_duration_format(s->idle_interval_ms, idle);
    zb_conf_duration_format(s->interval_ms, other);
    if (s->idle_interval_ms <= s->interval_ms) {
        return zb_err_set(err, ZB_E_FORMAT, "idle-interval %s is not longer than interval %s", idle,
                          other);
    }
    zb_conf_duration_format(s->max_loss_ms, other);
    if (s->max_loss_ms != 0 && s->max_loss_ms < s->idle_interval_ms) {
        return zb_err_set(err, ZB_E_FORMAT,
                          "max-loss %s is shorter than idle-interval %s, for which little that is "
                          "written may have no set: idle-interval = \"%s\" or less, or none",
                          other, idle, other);
    }
    return ZB_OK;
}

/* All sets in between are kept on every member until a backup is sent them, one after the other. */
static enum zb_rc
backup_every_check(const struct zb_conf_service *s, struct zb_err *err)
{
    char every[ZB_CONF_NUMBER_SIZE], interval[ZB_CONF_NUMBER_SIZE], most[ZB_CONF_NUMBER_SIZE];

    if (s->backup_every_ms == 0) {
        return ZB_OK;
    }
    if (s->backups.count == 0) {
        return zb_err_set(err, ZB_E_FORMAT, "backup-every is only for a service with backups");
    }
    zb_conf_duration_format(s->backup_every_ms, every);
    zb_conf_duration_format(s->interval_ms, interval);
    zb_conf_duration_format((uint64_t)s->interval_ms * BACKUP_SETS_MAX, most);
    if (s->backup_every_ms < s->interval_ms) {
        return zb_err_set(err, ZB_E_FORMAT,
                          "backup-every %s is shorter than interval %s, at which sets are made",
                          every, interval);
    }
    if (s->backup_every_ms > (uint64_t)s->interval_ms * BACKUP_SETS_MAX) {
        return zb_err_set(err, ZB_E_FORMAT,
                          "backup-every %s is more than %d sets at interval %s: at most %s", every,
                          BACKUP_SETS_MAX, interval, most);
    }
    return ZB_OK;
}

/* Backups that get sets less often than a promise allows do not keep it. */
static uint32_t
promising_count(const struct zb_conf_service *s)
{
    return s->members.count - 1 + (s->backup_every_ms <= s->max_loss_ms ? s->backups.count : 0);
}

/* A promise that cannot be kept is none: a set is not made more often than at the interval. */
static enum zb_rc
promise_check(const struct zb_conf_service *s, struct zb_err *err)
{
    uint32_t followers = promising_count(s);
    uint32_t wanted = s->max_loss_members > 0 ? s->max_loss_members : 1;
    char loss[ZB_CONF_NUMBER_SIZE], interval[ZB_CONF_NUMBER_SIZE];

    if (s->max_loss_ms == 0) {
        return s->max_loss_members == 0
                   ? ZB_OK
                   : zb_err_set(err, ZB_E_FORMAT,
                                "max-loss-members is only for a service with max-loss");
    }
    if (s->max_loss_ms < s->interval_ms) {
        zb_conf_duration_format(s->max_loss_ms, loss);
        zb_conf_duration_format(s->interval_ms, interval);
        return zb_err_set(err, ZB_E_FORMAT,
                          "max-loss %s is shorter than interval %s, at which sets are made: "
                          "interval = \"%s\" or less, or max-loss = \"%s\" or more",
                          loss, interval, loss, interval);
    }
    if (wanted > followers) {
        return zb_err_set(err, ZB_E_FORMAT,
                          "max-loss: %u other member%s to hold each set, there %s %u%s: declare "
                          "more members or backups, or %s",
                          wanted, wanted == 1 ? " has" : "s have", followers == 1 ? "is" : "are",
                          followers,
                          followers < s->members.count + s->backups.count - 1
                              ? " (backup-every is longer than max-loss)"
                              : "",
                          followers > 0 ? "lower max-loss-members" : "no max-loss");
    }
    return ZB_OK;
}

enum zb_rc
zb_conf_service_check(const struct zb_conf_service *service, uint64_t seen,
                      const struct zb_conf_nodes *known, struct zb_err *err)
{
    if (!zb_service_name_valid(service->name)) {
        return zb_err_set(err, ZB_E_FORMAT,
                          "not the name of a service (a-z, 0-9, _, -; at most %d)",
                          ZB_SERVICE_NAME_SIZE - 1);
    }
    enum zb_rc rc = presence_check(service, seen, err);
    if (rc == ZB_OK) {
        rc = members_check(service, known, err);
    }
    if (rc == ZB_OK) {
        rc = failover_check(service, err);
    }
    rc = rc == ZB_OK ? flavour_check(service, err) : rc;
    rc = rc == ZB_OK ? relocate_check(service, err) : rc;
    rc = rc == ZB_OK ? idle_check(service, err) : rc;
    rc = rc == ZB_OK ? backup_every_check(service, err) : rc;
    return rc == ZB_OK ? promise_check(service, err) : rc;
}
