#include "cmd/recover.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <unistd.h>

#include "agent/files.h"
#include "cmd/format.h"
#include "cmd/table.h"
#include "net/socket.h"

#define ANSWER_MS 2000
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

static enum zb_rc
former_look(const struct zb_setup *s, struct zb_former *former, struct zb_err *err)
{
    char path[ZB_PATH_SIZE + 64];

    (void)snprintf(path, sizeof path, "%s/%s", s->conf.state_dir, ZB_FILE_HISTORY);
    enum zb_rc rc = zb_former_load(path, former, err);
    if (rc != ZB_OK && rc != ZB_E_NOTFOUND) { /* the copies alone will do */
        fprintf(stderr, "warning: what was declared cannot be read: %s\n", err->msg);
    }
    return ZB_OK;
}

enum zb_rc
zb_recover_look(const struct zb_setup *s, struct zb_recover *r, struct zb_err *err)
{
    enum zb_rc rc = zb_survey_idle_check(s->conf.state_dir, err);

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
        rc = former_look(s, &r->former, err);
    }
    if (rc == ZB_OK) {
        uint64_t recorded = zb_survey_records_term(s->conf.state_dir);
        r->term = r->survey.term > r->former.term ? r->survey.term : r->former.term;
        r->term = recorded > r->term ? recorded : r->term;
        rc = zb_recovered_floor(r->term, zb_random_u64(), &r->floor, err);
    }
    return rc;
}

void
zb_recover_close(struct zb_recover *r)
{
    zb_survey_close(&r->survey);
    zb_former_close(&r->former);
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
        printf("warning: %s is mounted\n", r->survey.mounted);
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

/* Whether somebody listens there. */
static bool
answers(const char *text)
{
    struct zb_socket_address address;
    struct zb_err err;
    int fd = -1;

    if (zb_socket_address_parse(text, &address, &err) != ZB_OK ||
        zb_socket_connect(&address, &fd, &err) != ZB_OK) {
        return false;
    }
    struct pollfd ready = {.fd = fd, .events = POLLOUT};
    bool up = poll(&ready, 1, ANSWER_MS) == 1 && zb_socket_error(fd) == 0;
    (void)close(fd);
    return up;
}

/* What can be seen of it is not left to anybody's word. */
static enum zb_rc
others_check(const struct zb_setup *s, const struct zb_config_doc *doc, struct zb_err *err)
{
    for (uint32_t i = 0; i < doc->nodes_count; i++) {
        const struct zb_config_node *n = &doc->nodes[i];
        if (strcmp(n->name, s->conf.node) != 0 && answers(n->address)) {
            zb_err_set(err, ZB_E_REFUSED, "%s answers at %s: the earlier cluster is not gone",
                       n->name, n->address);
            return zb_err_hint(err,
                               "zbaton failover, where it has a majority; else power %s off; or, "
                               "if that is another machine now, move %s away",
                               n->name, s->conf.state_dir);
        }
    }
    return ZB_OK;
}

enum zb_rc
zb_recover_consent(const struct zb_cli *cli, const struct zb_setup *s, const struct zb_recover *r,
                   struct zb_err *err)
{
    if (r->survey.mounted[0] != '\0') {
        zb_err_set(err, ZB_E_HELD, "%s is mounted", r->survey.mounted);
        return zb_err_hint(err, "stop what uses it, then: zfs unmount %s", r->survey.mounted);
    }
    enum zb_rc rc = others_check(s, &r->former.doc, err);
    if (rc != ZB_OK) {
        return rc;
    }
    puts("\nA host of the earlier cluster that still runs goes on by itself: nothing here can stop "
         "it.\nIt has to be off for good, or to give its state up and join the new cluster.");
    if (zb_cli_has(cli, ZB_OPT_YES) ||
        zb_cli_confirm("Is every other host of the earlier cluster off?")) {
        return ZB_OK;
    }
    zb_err_set(err, ZB_E_REFUSED, "nobody has said that the other hosts are off");
    return zb_err_hint(err, "zbaton init --recover -y says so");
}

void
zb_recover_next(const struct zb_setup *s, const struct zb_recover *r)
{
    if (s->aside[0] != '\0') {
        printf("What the earlier cluster had in %s is in %s.\n", s->conf.state_dir, s->aside);
    }
    if (r->former.doc.version != 0) {
        printf("Its declarations: %s/%s\n", s->aside, DECLARED);
    }
    printf("The terms of this cluster begin above %" PRIu64 ".\n", r->floor);
    printf("\nNext: systemctl enable --now zbaton; zbaton token create; on the new host: zbaton "
           "join.\nThen zbaton apply FILE, with the new host among the members and %s among the "
           "backups,\nand for each service: zbaton failover --to NEWHOST SERVICE\n",
           s->conf.node);
}

/* --- doing --- */

static enum zb_rc
declarations_write(struct zb_setup *s, const struct zb_config_doc *doc, struct zb_err *err)
{
    char path[sizeof s->aside + 32];

    (void)snprintf(path, sizeof path, "%s/%s", s->aside, DECLARED);
    (void)unlink(path); /* of an attempt before this one */
    return zb_pki_file_write(path, doc->text, 0, 0, err);
}

enum zb_rc
zb_recover_aside(struct zb_setup *s, const struct zb_recover *r, struct zb_err *err)
{
    char stamp[24];
    char *out = stamp;
    char to[sizeof s->aside];

    if (access(s->conf.state_dir, F_OK) != 0) {
        return ZB_OK;
    }
    zb_wall_format(zb_wall_now(), stamp);
    for (const char *in = stamp; *in != '\0'; in++) { /* 20261122T064107Z */
        if (*in != '-' && *in != ':') {
            *out++ = *in;
        }
    }
    *out = '\0';
    (void)snprintf(to, sizeof to, "%s.before-%s", s->conf.state_dir, stamp);
    if (rename(s->conf.state_dir, to) != 0) {
        zb_err_sys(err, errno, "rename %s to %s", s->conf.state_dir, to);
        return zb_err_hint(err, "where it is a mount point, move all that is in it to another "
                                "directory by hand");
    }
    zb_strcopy(s->aside, sizeof s->aside, to);
    return r->former.doc.version != 0 ? declarations_write(s, &r->former.doc, err) : ZB_OK;
}

void
zb_recover_fill(const struct zb_recover *r, struct zb_recovered *recovered)
{
    recovered->term = r->floor;
    for (uint32_t i = 0; i < r->survey.count; i++) {
        zb_recovered_add(recovered, r->survey.services[i].name);
    }
}
