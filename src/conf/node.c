#include "conf/node.h"

#include <stdlib.h>
#include <string.h>

#include "conf/parser.h"

#define AT(f)                                                                                      \
    .offset = offsetof(struct zb_conf_node, f), .size = sizeof(((struct zb_conf_node *)0)->f)

static const struct zb_conf_word level_words[] = {
    {"error", ZB_LOG_ERROR},
    {"warning", ZB_LOG_WARNING},
    {"info", ZB_LOG_INFO},
    {"debug", ZB_LOG_DEBUG},
    {NULL, 0},
};

static const struct zb_conf_word fenced_by_words[] = {
    {"nothing", ZB_CONF_FENCED_BY_NOTHING},
    {"deadline", ZB_CONF_FENCED_BY_DEADLINE},
    {"watchdog", ZB_CONF_FENCED_BY_WATCHDOG},
    {NULL, 0},
};

/* As useradd(8) takes them. */
static bool
group_valid(const char *s)
{
    static const char first[] = "abcdefghijklmnopqrstuvwxyz_";
    return strchr(first, s[0]) != NULL &&
           s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_-")] == '\0';
}

static const char path_expected[] =
    "an absolute path other than \"/\", without \"..\" and without a slash at its end";

static const char program_expected[] =
    "the absolute path of a program, without \"..\" and without a slash at its end";

static const char time_expected[] = "a time from 500ms to 1h, such as \"2s\"";

/* One word of the list: http or https, and a numeric address with its port. */
static bool
endpoint_valid(const char *word, size_t length)
{
    char address[ZB_ADDRESS_SIZE];
    size_t scheme = strncmp(word, "https://", 8) == 0  ? 8
                    : strncmp(word, "http://", 7) == 0 ? 7
                                                       : 0;

    if (scheme == 0 || length - scheme >= sizeof address) {
        return false;
    }
    memcpy(address, word + scheme, length - scheme);
    address[length - scheme] = '\0';
    return zb_conf_address_valid(address);
}

static bool
endpoints_valid(const char *s)
{
    size_t count = 0;

    for (s += strspn(s, " "); *s != '\0'; s += strspn(s, " ")) {
        size_t length = strcspn(s, " ");
        if (!endpoint_valid(s, length) || ++count > ZB_CONF_ETCD_ENDPOINTS_MAX) {
            return false;
        }
        s += length;
    }
    return count > 0;
}

#define TIME(key, f, otherwise)                                                                    \
    {                                                                                              \
        key, ZB_CONF_DURATION, AT(f), .min = 500, .max = 3600000, .fallback = (otherwise),         \
                                      .expected = time_expected                                    \
    }

static const struct zb_conf_key keys[] = {
    {"node", ZB_CONF_STRING, AT(node), .valid = zb_node_name_valid, .required = true,
     .expected = "a name for this node (a-z, 0-9, -)"},
    {"root", ZB_CONF_STRING, AT(root), .valid = zb_dataset_name_valid, .required = true,
     .expected = "the name of a dataset, such as \"pool1/services\""},
    {"listen", ZB_CONF_STRING, AT(listen), .valid = zb_conf_address_valid, .required = true,
     .expected = "a numeric address and port, such as \"10.77.0.1:7979\" or \"[fd00::1]:7979\""},
    {"group", ZB_CONF_STRING, AT(group), .valid = group_valid, .fallback = "zbaton",
     .expected = "the name of a group"},
    {"state-dir", ZB_CONF_STRING, AT(state_dir), .valid = zb_conf_path_valid,
     .fallback = "/var/lib/zbaton", .expected = path_expected},
    {"run-dir", ZB_CONF_STRING, AT(run_dir), .valid = zb_conf_path_valid, .fallback = "/run/zbaton",
     .expected = path_expected},
    {"commands-dir", ZB_CONF_STRING, AT(commands_dir), .valid = zb_conf_path_valid,
     .fallback = "/etc/zbaton/commands", .expected = path_expected},
    {"fence-command", ZB_CONF_STRING, AT(fence_command), .valid = zb_conf_path_valid,
     .expected = program_expected},
    {"fence-timeout", ZB_CONF_DURATION, AT(fence_timeout_ms), .min = 1000, .max = 3600000,
     .fallback = "60s", .expected = "a time from 1s to 1h, such as \"60s\""},
    {"notify", ZB_CONF_STRING, AT(notify), .valid = zb_conf_path_valid,
     .expected = program_expected},
    {"notify-timeout", ZB_CONF_DURATION, AT(notify_timeout_ms), .min = 1000, .max = 600000,
     .fallback = "30s", .expected = "a time from 1s to 10m, such as \"30s\""},
    {"send-limit", ZB_CONF_SIZE, AT(send_limit_bytes), .min = ZB_CONF_SEND_LIMIT_MIN,
     .max = ZB_CONF_SEND_LIMIT_MAX,
     .expected = "a size per second from 64K to 1T, such as \"50M\""},
    {"send-limit-at", ZB_CONF_STRING, AT(send_limit_at), .valid = zb_conf_spans_valid,
     .expected = "times of the day (UTC) with a size per second from 64K to 1T or none, such as "
                 "\"08:00-18:00 5M, 22:00-06:00 none\""},
    {"log-level", ZB_CONF_WORD, AT(log_level), .words = level_words, .fallback = "info",
     .expected = "\"error\", \"warning\", \"info\" or \"debug\""},
    {"etcd", ZB_CONF_STRING, AT(etcd), .valid = endpoints_valid,
     .expected = "up to 8 numeric addresses, such as \"https://10.77.0.1:2379 "
                 "https://10.77.0.2:2379\""},
    {"etcd-ca", ZB_CONF_STRING, AT(etcd_ca), .valid = zb_conf_path_valid,
     .expected = path_expected},
    {"etcd-cert", ZB_CONF_STRING, AT(etcd_cert), .valid = zb_conf_path_valid,
     .expected = path_expected},
    {"etcd-key", ZB_CONF_STRING, AT(etcd_key), .valid = zb_conf_path_valid,
     .expected = path_expected},
    {"etcd-user", ZB_CONF_STRING, AT(etcd_user), .valid = group_valid,
     .expected = "the name of a user of etcd"},
    {"etcd-password-file", ZB_CONF_STRING, AT(etcd_password_file), .valid = zb_conf_path_valid,
     .expected = path_expected},
    {"fenced-by", ZB_CONF_WORD, AT(fenced_by), .words = fenced_by_words, .fallback = "nothing",
     .expected = "\"watchdog\", \"deadline\" or \"nothing\""},
    {"watchdog", ZB_CONF_STRING, AT(watchdog), .valid = zb_conf_path_valid,
     .expected = "a watchdog device, such as \"/dev/watchdog0\""},
    TIME("heartbeat", heartbeat_ms, "2s"),
    {"etcd-timeout", ZB_CONF_DURATION, AT(etcd_timeout_ms), .min = 500, .max = 6000,
     .fallback = "2s", .expected = "a time from 500ms to 6s (etcd itself gives up after 7s)"},
    TIME("soft-deadline", soft_deadline_ms, "7s"),
    TIME("hard-deadline", hard_deadline_ms, "14s"),
    {"watchdog-timeout", ZB_CONF_DURATION, AT(watchdog_timeout_ms), .min = 2000, .max = 3600000,
     .fallback = "4s", .expected = "a time from 2s to 1h, such as \"4s\""},
    TIME("session-timeout", session_timeout_ms, "20s"),
};
#define KEYS_COUNT (sizeof keys / sizeof keys[0])

static enum zb_rc
required_check(void *ctx, const char *title, uint64_t seen, struct zb_err *err)
{
    (void)ctx;
    (void)title;
    for (size_t i = 0; i < KEYS_COUNT; i++) {
        if (keys[i].required && (seen & (UINT64_C(1) << i)) == 0) {
            return zb_err_set(err, ZB_E_FORMAT, "%s is missing: expected %s", keys[i].name,
                              keys[i].expected);
        }
    }
    return ZB_OK;
}

/* Declarations of services travel between nodes and name programs of commands-dir: none of them may
 * be the one that powers nodes off. */
static enum zb_rc
fence_check(const struct zb_conf_node *conf, const char *name, struct zb_err *err)
{
    size_t length = strlen(conf->commands_dir);

    if (strncmp(conf->fence_command, conf->commands_dir, length) != 0 ||
        conf->fence_command[length] != '/') {
        return ZB_OK;
    }
    return zb_err_set(err, ZB_E_FORMAT,
                      "%s: fence-command: %s is in commands-dir, where any service could run it",
                      name, conf->fence_command);
}

/* A session is over for others only after this node has stopped writing, whatever hangs. */
static enum zb_rc
times_check(const struct zb_conf_node *c, const char *name, struct zb_err *err)
{
    bool watched = c->fenced_by == ZB_CONF_FENCED_BY_WATCHDOG;
    uint32_t watchdog_ms = (c->watchdog_timeout_ms + 999) / 1000 * 1000; /* devices know seconds */
    uint32_t last_ms = c->hard_deadline_ms +
                       (watched ? watchdog_ms + ZB_CONF_SLACK_MS : ZB_CONF_SLACK_UNWATCHED_MS);

    if (c->heartbeat_ms + 2 * c->etcd_timeout_ms > c->soft_deadline_ms) {
        zb_err_set(
            err, ZB_E_FORMAT,
            "%s: soft-deadline (%u ms) is below heartbeat and two times etcd-timeout (%u ms)", name,
            c->soft_deadline_ms, c->heartbeat_ms + 2 * c->etcd_timeout_ms);
        return zb_err_hint(err, "one lost answer would stop every service");
    }
    if (c->soft_deadline_ms + ZB_CONF_DEMOTE_MIN_MS > c->hard_deadline_ms) {
        return zb_err_set(err, ZB_E_FORMAT,
                          "%s: hard-deadline (%u ms) is not %u ms after soft-deadline (%u ms)",
                          name, c->hard_deadline_ms, ZB_CONF_DEMOTE_MIN_MS, c->soft_deadline_ms);
    }
    if (last_ms > c->session_timeout_ms) {
        return zb_err_set(err, ZB_E_FORMAT,
                          "%s: session-timeout (%u ms) is below hard-deadline and what comes after "
                          "it (%u ms)%s",
                          name, c->session_timeout_ms, last_ms,
                          watched ? ", the watchdog's time among it" : "");
    }
    return ZB_OK;
}

static enum zb_rc
etcd_check(const struct zb_conf_node *c, const char *name, struct zb_err *err)
{
    if (c->fenced_by == ZB_CONF_FENCED_BY_WATCHDOG && c->watchdog[0] == '\0') {
        return zb_err_set(err, ZB_E_FORMAT,
                          "%s: fenced-by: a watchdog is counted on, and none is named (watchdog)",
                          name);
    }
    if (c->fenced_by != ZB_CONF_FENCED_BY_WATCHDOG && c->watchdog[0] != '\0') {
        (void)zb_err_set(err, ZB_E_FORMAT,
                         "%s: watchdog: it would reset a host of which nobody "
                         "counts on that",
                         name);
        return zb_err_hint(err, "fenced-by = \"watchdog\", or no watchdog");
    }
    if (strstr(c->etcd, "https://") != NULL && c->etcd_ca[0] == '\0') {
        (void)zb_err_set(err, ZB_E_FORMAT, "%s: etcd: https wants etcd-ca", name);
        return zb_err_hint(err, "zbaton pki etcd makes one, and says what to write here");
    }
    if ((c->etcd_cert[0] != '\0') != (c->etcd_key[0] != '\0')) {
        return zb_err_set(err, ZB_E_FORMAT, "%s: etcd-cert and etcd-key go together", name);
    }
    if ((c->etcd_user[0] != '\0') != (c->etcd_password_file[0] != '\0')) {
        return zb_err_set(err, ZB_E_FORMAT, "%s: etcd-user and etcd-password-file go together",
                          name);
    }
    return c->etcd[0] != '\0' ? times_check(c, name, err) : ZB_OK;
}

static enum zb_rc
spans_check(struct zb_conf_node *conf, const char *name, struct zb_err *err)
{
    if (zb_conf_spans_parse(conf->send_limit_at, &conf->send_spans, err) != ZB_OK) {
        return zb_err_wrap(err, "%s: send-limit-at", name);
    }
    return ZB_OK;
}

enum zb_rc
zb_conf_node_parse(const char *text, const char *name, struct zb_conf_node *out, struct zb_err *err)
{
    static const struct zb_conf_grammar grammar = {
        .keys = keys, .keys_count = KEYS_COUNT, .end = required_check};
    struct zb_conf_node conf = {0};

    zb_conf_keys_default(keys, KEYS_COUNT, &conf);
    enum zb_rc rc = zb_conf_parse(&grammar, text, name, &conf, NULL, err);
    if (rc == ZB_OK) {
        rc = fence_check(&conf, name, err);
    }
    if (rc == ZB_OK) {
        rc = spans_check(&conf, name, err);
    }
    if (rc == ZB_OK) {
        rc = etcd_check(&conf, name, err);
    }
    if (rc == ZB_OK) {
        *out = conf;
    }
    return rc;
}

enum zb_rc
zb_conf_node_load(const char *path, struct zb_conf_node *out, struct zb_err *err)
{
    char *text = NULL;
    enum zb_rc rc = zb_conf_file_read(path, true, &text, err);

    if (rc == ZB_OK) {
        rc = zb_conf_node_parse(text, path, out, err);
    }
    free(text);
    return rc;
}

uint64_t
zb_conf_node_send_limit(const struct zb_conf_node *conf, struct zb_wall now)
{
    const struct zb_conf_span *span = zb_conf_spans_find(&conf->send_spans, now);

    return span != NULL ? span->bytes : conf->send_limit_bytes;
}

void
zb_conf_node_print(const struct zb_conf_node *conf, FILE *file)
{
    const struct zb_conf_key *etcd = zb_conf_key_find(keys, KEYS_COUNT, "etcd");

    /* What comes from there on says nothing without an etcd. */
    zb_conf_keys_print(keys, conf->etcd[0] != '\0' ? KEYS_COUNT : (size_t)(etcd - keys), conf, "",
                       file);
}
