#include "cmd/recover.h"

#include <errno.h>
#include <glob.h>
#include <inttypes.h>
#include <poll.h>
#include <unistd.h>

#include "agent/files.h"
#include "cmd/format.h"
#include "cmd/table.h"
#include "net/socket.h"

#define ANSWER_MS 2000
#define BEFORE ".before-"
#define DECLARED "services.conf" /* in the state directory that is set aside */

/* --- looking --- */

/* Every copy is this node's, on this pool: nobody else's marks are honoured. */
static enum zb_rc
marks_check(const struct zb_setup *s, const struct zb_survey *survey, struct zb_err *err)
{
    for (uint32_t i = 0; i < survey->count; i++) {
        const struct zb_survey_service *one = &survey->services[i];
        if (one->own) {
            continue;
        }
        if (strcmp(one->node, s->conf.node) != 0) {
            zb_err_set(err, ZB_E_REFUSED, "%s/%s carries the marks of node %s", s->conf.root,
                       one->name, one->node[0] == '\0' ? "(none)" : one->node);
            return zb_err_hint(err, "this host has to be called as it was: --node %s", one->node);
        }
        zb_err_set(err, ZB_E_REFUSED, "%s/%s carries the marks of another pool", s->conf.root,
                   one->name);
        return zb_err_hint(err,
                           "move it away: zfs rename %s/%s POOL/NAME; or import the pool that it "
                           "was made on",
                           s->conf.root, one->name);
    }
    return ZB_OK;
}

static void
term_see(struct zb_recover *r, uint64_t term)
{
    r->term = term > r->term ? term : r->term;
}

/* One state directory. The declarations are those of the first that has any. */
static enum zb_rc
state_look(const struct zb_cli *cli, const char *dir, struct zb_recover *r, struct zb_err *err)
{
    char path[ZB_RECOVER_PATH_SIZE];
    struct zb_former found = {0};
    struct zb_err unread;
    uint64_t recorded = 0;

    (void)snprintf(path, sizeof path, "%s/%s", dir, ZB_FILE_HISTORY);
    enum zb_rc rc = zb_former_load(path, &found, err);
    rc = rc == ZB_E_NOTFOUND ? ZB_OK : rc;
    if (zb_survey_records_term(dir, &recorded, &unread) != ZB_OK && rc == ZB_OK) {
        rc = unread.rc;
        *err = unread;
    }
    term_see(r, recorded);
    term_see(r, found.term);
    /* What lacks this file was begun by an attempt that was cut off: it names nobody but this node.
     */
    (void)snprintf(path, sizeof path, "%s/%s", dir, ZB_FILE_CLUSTER);
    if (r->former.doc.version == 0 && found.doc.version != 0 && access(path, F_OK) == 0) {
        r->former = found;
        zb_strcopy(r->former_dir, sizeof r->former_dir, dir);
    } else {
        zb_former_close(&found);
    }
    if (rc != ZB_OK && zb_cli_has(cli, ZB_OPT_WITHOUT_STATE)) {
        fprintf(stderr, "warning: %s\n", err->msg);
        return ZB_OK;
    }
    if (rc != ZB_OK) {
        (void)zb_err_hint(err, "with --without-state, it goes on without what cannot be read: what "
                               "terms there were, and which hosts to look for");
    }
    return rc;
}

static enum zb_rc
set_look(void *ctx, const char *service, const struct zb_manifest *m, struct zb_err *err)
{
    struct zb_survey_service *s = ctx;
    char text[ZB_TEXT_SIZE];

    (void)err;
    if (zb_survey_holds(s, m)) {
        return ZB_OK;
    }
    if (zb_set_id_cmp(zb_survey_newest(s).id, m->id) == 0) {
        zb_set_id_format(m->id, text);
        fprintf(stderr, "warning: set %s of %s came half: a dataset of it is not here\n", text,
                service);
    }
    zb_survey_set_drop(s, m->id);
    return ZB_OK;
}

/* What is whole by names may lack a dataset that never came: the old history says which there were.
 */
static enum zb_rc
sets_look(struct zb_recover *r, struct zb_err *err)
{
    char path[ZB_RECOVER_PATH_SIZE];
    enum zb_rc rc = ZB_OK;

    (void)snprintf(path, sizeof path, "%s/%s", r->former_dir, ZB_FILE_HISTORY);
    for (uint32_t i = 0; rc == ZB_OK && r->former_dir[0] != '\0' && i < r->survey.count; i++) {
        struct zb_survey_service *s = &r->survey.services[i];
        rc = zb_former_sets_each(path, s->name, set_look, s, err);
    }
    return rc;
}

enum zb_rc
zb_recover_state_look(const struct zb_cli *cli, const char *state_dir, struct zb_recover *r,
                      struct zb_err *err)
{
    char pattern[ZB_RECOVER_PATH_SIZE];
    glob_t aside = {0};
    enum zb_rc rc = state_look(cli, state_dir, r, err);

    /* An attempt may have been cut off when the directory had its other name already. */
    (void)snprintf(pattern, sizeof pattern, "%s" BEFORE "*", state_dir);
    if (glob(pattern, 0, NULL, &aside) == 0) {
        for (size_t i = aside.gl_pathc; rc == ZB_OK && i > 0; i--) { /* the newest first */
            if (strlen(aside.gl_pathv[i - 1]) < sizeof r->former_dir) {
                rc = state_look(cli, aside.gl_pathv[i - 1], r, err);
            }
        }
    }
    globfree(&aside);
    return rc == ZB_OK ? sets_look(r, err) : rc;
}

enum zb_rc
zb_recover_look(const struct zb_cli *cli, const struct zb_setup *s, struct zb_recover *r,
                struct zb_err *err)
{
    enum zb_rc rc = zb_survey_idle_lock(s->conf.state_dir, &r->lock_fd, err);

    if (rc == ZB_OK) {
        rc = zb_keeper_survey(s->conf.root, s->conf.node, &r->survey, err);
    }
    if (rc == ZB_OK && r->survey.count == 0) {
        zb_err_set(err, ZB_E_NOTFOUND, "there is no copy of a service under %s", s->conf.root);
        return zb_err_hint(err, "--root names the dataset that they are in; for a new cluster: "
                                "zbaton init without --recover");
    }
    if (rc == ZB_OK) {
        rc = marks_check(s, &r->survey, err);
    }
    if (rc == ZB_OK) {
        term_see(r, r->survey.term);
        rc = zb_recover_state_look(cli, s->conf.state_dir, r, err);
    }
    if (rc == ZB_OK) {
        rc = zb_recovered_floor(r->term, zb_random_u64(), &r->floor, err);
    }
    return rc;
}

void
zb_recover_close(struct zb_recover *r)
{
    zb_survey_close(&r->survey);
    zb_former_close(&r->former);
    if (r->lock_fd > 0) {
        (void)close(r->lock_fd);
    }
    *r = (struct zb_recover){0};
}

enum zb_rc
zb_recover_none_check(const struct zb_setup *s, struct zb_err *err)
{
    struct zb_survey survey = {0};
    enum zb_rc rc =
        s->root_exists ? zb_keeper_survey(s->conf.root, s->conf.node, &survey, err) : ZB_OK;

    if (rc == ZB_OK && survey.count > 0) {
        zb_err_set(err, ZB_E_REFUSED, "%s holds copies of services of an earlier cluster: %s%s",
                   s->conf.root, survey.services[0].name, survey.count > 1 ? " ..." : "");
        rc = zb_err_hint(err, "zbaton init --recover makes a cluster that goes on from them; for "
                              "another one name another --root");
    }
    zb_survey_close(&survey);
    return rc;
}

/* --- telling --- */

static void
services_show(const struct zb_cli *cli, const struct zb_survey *survey)
{
    static const struct zb_column columns[] = {
        {"service", "SERVICE", false}, {"newest", "NEWEST SET", false}, {"taken", "TAKEN", false},
        {"age", "AGE", true},          {"datasets", "DATASETS", true},  {"size", "SIZE", true},
    };
    struct zb_table t;
    struct zb_err err;
    char text[ZB_TEXT_SIZE];

    if (zb_table_init(&t, columns, sizeof columns / sizeof columns[0], NULL, &err) != ZB_OK) {
        return; /* all columns are known */
    }
    for (uint32_t i = 0; i < survey->count; i++) {
        const struct zb_survey_service *s = &survey->services[i];
        struct zb_survey_set newest = zb_survey_newest(s);
        zb_table_row(&t);
        zb_table_cell(&t, 0, s->name);
        if (s->sets_count > 0) {
            zb_set_id_format(newest.id, text);
            zb_table_cell(&t, 1, text);
            zb_wall_format(newest.time, text);
            zb_table_cell(&t, 2, text);
            zb_table_cell(&t, 3, zb_format_age(zb_wall_now().s - newest.time.s, text));
        }
        zb_table_cell(&t, 4, zb_format_cell_number(s->datasets_count, text));
        zb_table_cell(&t, 5, zb_format_bytes(s->used_bytes, text));
    }
    zb_table_print(&t, stdout, cli->show.scripted);
    zb_table_close(&t);
}

static bool
is_found(const struct zb_survey *survey, const char *service)
{
    for (uint32_t i = 0; i < survey->count; i++) {
        if (strcmp(survey->services[i].name, service) == 0) {
            return true;
        }
    }
    return false;
}

static void
former_show(const struct zb_recover *r)
{
    const struct zb_config_doc *doc = &r->former.doc;

    if (doc->version == 0) {
        puts("\nHow they were declared is not known here.");
        return;
    }
    printf("\nThey were of cluster %s, with the nodes", doc->cluster);
    for (uint32_t i = 0; i < doc->nodes_count; i++) {
        printf("%s %s at %s", i == 0 ? "" : ",", doc->nodes[i].name, doc->nodes[i].address);
    }
    printf(".\nIts declarations, version %" PRIu64 ":\n\n", doc->version);
    zb_conf_services_print(&doc->services, stdout);
}

static void
warnings_show(const struct zb_recover *r)
{
    const struct zb_config_doc *doc = &r->former.doc;

    if (r->survey.mounted[0] != '\0') {
        printf("warning: %s %s\n", r->survey.mounted,
               r->survey.mounted_volume ? "has a device" : "is mounted");
    }
    for (uint32_t i = 0; i < r->survey.count; i++) {
        const struct zb_survey_service *s = &r->survey.services[i];
        if (s->without[0] != '\0') {
            printf("warning: %s holds no set: it came half, and %s is not whole as long as it is "
                   "there (zfs rename %s POOL/NAME)\n",
                   s->without, s->name, s->without);
        } else if (s->sets_count == 0) {
            printf("warning: no set of %s is whole here\n", s->name);
        }
    }
    for (uint32_t i = 0; i < doc->services.count; i++) {
        const char *name = doc->services.items[i].name;
        if (!is_found(&r->survey, name)) {
            printf("warning: %s was declared, and no copy of it is here: it would begin as a new "
                   "service\n",
                   name);
        }
    }
}

void
zb_recover_show(const struct zb_cli *cli, const struct zb_setup *s, const struct zb_recover *r)
{
    printf("Copies under %s:\n\n", s->conf.root);
    services_show(cli, &r->survey);
    former_show(r);
    warnings_show(r);
    printf("\nThe highest term seen is %" PRIu64
           "; the new cluster's begin a random number of thousands above it.\n",
           r->term);
}

/* What a connection there came to, as errno; 0: it was accepted. */
static int
outcome_of(const char *text)
{
    struct zb_socket_address address;
    struct zb_err err;
    int fd = -1;

    if (zb_socket_address_parse(text, &address, &err) != ZB_OK ||
        zb_socket_connect(&address, &fd, &err) != ZB_OK) {
        return err.sys_errno != 0 ? err.sys_errno : EINVAL;
    }
    struct pollfd ready = {.fd = fd, .events = POLLOUT};
    int outcome = poll(&ready, 1, ANSWER_MS) == 1 ? zb_socket_error(fd) : ETIMEDOUT;
    (void)close(fd);
    return outcome;
}

/* A host that refuses the connection is up, and may lead: a daemon that is down stops nothing. */
static bool
is_silent(const char *text)
{
    static const int silent[] = {ETIMEDOUT, EHOSTUNREACH,  EHOSTDOWN,   ENETUNREACH,
                                 ENETDOWN,  EADDRNOTAVAIL, EAFNOSUPPORT};
    int outcome = outcome_of(text);

    for (size_t i = 0; i < sizeof silent / sizeof silent[0]; i++) {
        if (outcome == silent[i]) {
            return true;
        }
    }
    return false;
}

static bool
is_listed(const char *names, const char *name)
{
    while (names != NULL && *names != '\0') {
        size_t length = strcspn(names, ",");
        if (length == strlen(name) && strncmp(names, name, length) == 0) {
            return true;
        }
        names += length + (names[length] == ',');
    }
    return false;
}

/* What can be seen of it is not left to anybody's word, but for who is named. */
static enum zb_rc
others_check(const struct zb_cli *cli, const struct zb_setup *s, const struct zb_config_doc *doc,
             struct zb_err *err)
{
    for (uint32_t i = 0; i < doc->nodes_count; i++) {
        const struct zb_config_node *n = &doc->nodes[i];
        if (strcmp(n->name, s->conf.node) == 0 || is_listed(cli->values[ZB_OPT_FENCED], n->name) ||
            is_silent(n->address)) {
            continue;
        }
        zb_err_set(err, ZB_E_REFUSED,
                   "a host answers at %s, the address of %s: the earlier "
                   "cluster is not gone",
                   n->address, n->name);
        return zb_err_hint(err,
                           "zbaton failover, where it has a majority; else power %s off; or, if "
                           "that is another machine now, --fenced %s",
                           n->name, n->name);
    }
    return ZB_OK;
}

static enum zb_rc
mounted_check(const struct zb_survey *survey, struct zb_err *err)
{
    if (survey->mounted[0] == '\0') {
        return ZB_OK;
    }
    zb_err_set(err, ZB_E_HELD, "%s %s", survey->mounted,
               survey->mounted_volume ? "has a device" : "is mounted");
    return zb_err_hint(err, "stop what uses it, then: zfs %s %s",
                       survey->mounted_volume ? "set volmode=none" : "unmount", survey->mounted);
}

/* The question may have waited for its answer all night. */
static enum zb_rc
again_check(const struct zb_cli *cli, const struct zb_setup *s, const struct zb_recover *r,
            struct zb_err *err)
{
    struct zb_survey now = {0};
    enum zb_rc rc = zb_keeper_survey(s->conf.root, s->conf.node, &now, err);

    if (rc == ZB_OK) {
        rc = mounted_check(&now, err);
    }
    if (rc == ZB_OK) {
        rc = others_check(cli, s, &r->former.doc, err);
    }
    zb_survey_close(&now);
    return rc;
}

enum zb_rc
zb_recover_consent(const struct zb_cli *cli, const struct zb_setup *s, const struct zb_recover *r,
                   struct zb_err *err)
{
    enum zb_rc rc = mounted_check(&r->survey, err);

    if (rc == ZB_OK) {
        rc = others_check(cli, s, &r->former.doc, err);
    }
    if (rc != ZB_OK) {
        return rc;
    }
    puts("\nA host of the earlier cluster that still runs goes on by itself: nothing here can stop "
         "it.\nIt has to be off for good, or to give its state up and join the new cluster.");
    if (zb_cli_has(cli, ZB_OPT_YES)) {
        return ZB_OK;
    }
    if (zb_cli_confirm("Is every other host of the earlier cluster off?")) {
        return again_check(cli, s, r, err);
    }
    zb_err_set(err, ZB_E_REFUSED, "nobody has said that the other hosts are off");
    return zb_err_hint(err, "zbaton init --recover -y says so");
}

/* Where what was found of the earlier cluster is when the state directory is set aside. */
static const char *
former_place(const struct zb_setup *s, const struct zb_recover *r)
{
    return strcmp(r->former_dir, s->conf.state_dir) == 0 ? s->aside : r->former_dir;
}

void
zb_recover_next(const struct zb_setup *s, const struct zb_recover *r)
{
    if (s->aside[0] != '\0') {
        printf("What the earlier cluster had in %s is in %s.\n", s->conf.state_dir, s->aside);
    }
    if (r->former.doc.version != 0) {
        printf("Its declarations: %s/%s\n", former_place(s, r), DECLARED);
    }
    printf("The terms of this cluster begin above %" PRIu64 ".\n", r->floor);
    printf("\nNext: systemctl enable --now zbaton; zbaton token create; on the new host: zbaton "
           "join.\nThen zbaton apply FILE, with the new host among the members and %s among the "
           "backups,\nand for each service: zbaton failover --to NEWHOST SERVICE\n",
           s->conf.node);
}

/* --- doing --- */

/* The declarations become a file, and what is known of sets is for the new history. */
static enum zb_rc
former_keep(struct zb_setup *s, const struct zb_recover *r, struct zb_err *err)
{
    char path[ZB_RECOVER_PATH_SIZE];
    const char *dir = former_place(s, r);

    if (r->former.doc.version == 0) {
        return ZB_OK;
    }
    (void)snprintf(s->former, sizeof s->former, "%s/%s", dir, ZB_FILE_HISTORY);
    (void)snprintf(path, sizeof path, "%s/%s", dir, DECLARED);
    (void)unlink(path); /* of an attempt before this one */
    return zb_pki_file_write(path, r->former.doc.text, 0, 0, err);
}

enum zb_rc
zb_recover_aside(struct zb_setup *s, const struct zb_recover *r, struct zb_err *err)
{
    char stamp[24];
    char *out = stamp;
    char to[sizeof s->aside];

    if (access(s->conf.state_dir, F_OK) != 0) {
        return former_keep(s, r, err);
    }
    zb_wall_format(zb_wall_now(), stamp);
    for (const char *in = stamp; *in != '\0'; in++) { /* 20261122T064107Z */
        if (*in != '-' && *in != ':') {
            *out++ = *in;
        }
    }
    *out = '\0';
    (void)snprintf(to, sizeof to, "%s" BEFORE "%s", s->conf.state_dir, stamp);
    if (rename(s->conf.state_dir, to) != 0) {
        zb_err_sys(err, errno, "rename %s to %s", s->conf.state_dir, to);
        return zb_err_hint(err, "where it is a mount point, move all that is in it to another "
                                "directory by hand");
    }
    zb_strcopy(s->aside, sizeof s->aside, to);
    return former_keep(s, r, err);
}

void
zb_recover_fill(const struct zb_recover *r, struct zb_recovered *recovered)
{
    recovered->term = r->floor;
    for (uint32_t i = 0; i < r->survey.count; i++) {
        zb_recovered_add(recovered, r->survey.services[i].name);
    }
}
