/*
 * What was found out, in lines. What is in the way has ok false; where nothing is, one line with ok
 * true says how it stands.
 */
#include <inttypes.h>

#include "agent/explain.h"
#include "agent/help.h"
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/must.h"
#include "agent/promise.h"
#include "agent/trouble.h"
#include "agent/witness.h"

#define TEXT_SIZE 1536 /* names of ZFS and paths fit in */

enum about { MOVE, REPLICATE, PRUNE, ABOUTS };
static const char *const about_words[] = {"move", "replicate", "prune"};

struct lines {
    const struct zb_explain_facts *f;
    const char *service;
    const char *self;
    json_t *arrays[ABOUTS];
    uint32_t bad[ABOUTS]; /* how many are in the way */
};

static json_t *
line_json(const char *about, bool ok, const char *cause, const char *rule)
{
    json_t *line = zb_must(json_object());

    zb_json_put(line, "about", zb_json_text(about));
    zb_json_put(line, "ok", zb_json_bool(ok));
    zb_json_put(line, "cause", zb_json_text(cause));
    zb_json_put(line, "rule", zb_json_text(rule));
    return line;
}

json_t *
zb_explain_line(const char *about, const char *cause, const char *rule, const char *help)
{
    json_t *line = line_json(about, false, cause, rule);

    zb_json_put(line, "help", zb_json_text(help));
    return line;
}

/* One thing in the way: cause is the sentence; without a help of its own, the rule's. */
struct blocker {
    enum about about;
    const char *rule;
    const char *help; /* NULL: by rule */
};

static void blocker_add(struct lines *l, const struct blocker *b, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void
blocker_add(struct lines *l, const struct blocker *b, const char *fmt, ...)
{
    char cause[TEXT_SIZE];
    char found[ZB_HELP_SIZE];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(cause, sizeof cause, fmt, args);
    va_end(args);
    (void)zb_help_find(b->rule, l->service, found);
    zb_json_append(l->arrays[b->about], zb_explain_line(about_words[b->about], cause, b->rule,
                                                        b->help != NULL ? b->help : found));
    l->bad[b->about]++;
}

static void fine_add(struct lines *l, enum about about, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void
fine_add(struct lines *l, enum about about, const char *fmt, ...)
{
    char text[TEXT_SIZE];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    json_t *line = line_json(about_words[about], true, text, "");
    zb_json_put(line, "help", zb_json_text(""));
    zb_json_append(l->arrays[about], line);
}

/* The last failure of an activity; false: there is none. */
static bool
trouble_add(struct lines *l, enum zb_trouble_kind kind, uint8_t node, const struct blocker *b)
{
    static const char *const what[] = {[ZB_TROUBLE_SHIP] = "sending",
                                       [ZB_TROUBLE_RECEIVE] = "receiving",
                                       [ZB_TROUBLE_SNAPSHOT] = "taking a set",
                                       [ZB_TROUBLE_PRUNE] = "pruning",
                                       [ZB_TROUBLE_RESCUE] = "setting aside",
                                       [ZB_TROUBLE_START] = "starting",
                                       [ZB_TROUBLE_LOOK] = "looking at the datasets",
                                       [ZB_TROUBLE_DEMOTE] = "unmounting",
                                       [ZB_TROUBLE_PROMOTE] = "taking the lead",
                                       [ZB_TROUBLE_BASE] = "finding its base"};
    struct zb_trouble_at at = {l->f->service, kind, node};
    const struct zb_trouble *t = zb_trouble_find(l->f->a, &at);
    char since[24];

    if (t == NULL) {
        return false;
    }
    zb_wall_format(t->since, since);
    blocker_add(l, b, "%s failed %" PRIu32 " time%s since %s: %s", what[kind], t->count,
                t->count == 1 ? "" : "s", since, t->text);
    return true;
}

/* --- move --- */

static void
majority_say(struct lines *l)
{
    const struct zb_loss *m = &l->f->members;
    bool witness = l->f->a->services[l->f->service].conf.witness == ZB_CONF_WITNESS_ETCD;
    uint32_t voters = witness, up = witness && zb_witness_is_up(l->f->a);

    for (uint32_t i = 0; i < m->members_count; i++) {
        voters += !m->members[i].backup;
        up += !m->members[i].backup && m->members[i].reachable;
    }
    if (2 * up <= voters) {
        blocker_add(l, &(struct blocker){MOVE, "C-failover-no-majority", "zbaton node list"},
                    "%" PRIu32 " of %" PRIu32 " voting members%s can be reached from %s: no "
                    "majority grants a term",
                    up, voters, witness ? " and etcd" : "", l->self);
    }
}

static void
frozen_say(struct lines *l)
{
    const struct zb_freeze *freeze = &l->f->a->services[l->f->service].freeze;
    char text[ZB_FREEZE_SAY_SIZE];

    if (freeze->reason[0] != '\0') {
        zb_freeze_say(freeze, text);
        blocker_add(l, &(struct blocker){MOVE, "C-move-frozen", NULL}, "%s", text);
    }
}

static void
held_say(struct lines *l)
{
    if (strcmp(l->f->view.why_rule, "R-service-held") == 0) {
        blocker_add(l, &(struct blocker){MOVE, "R-service-held", NULL}, "it %s", l->f->view.why);
    }
}

/* The freeze is said once, not for each target. */
static void
moves_say(struct lines *l)
{
    const struct zb_explain_facts *f = l->f;
    char targets[ZB_NODES_MAX * (ZB_NODE_NAME_SIZE + 2)] = "";
    size_t used = 0;

    for (uint32_t n = 0; n < f->a->nodes_count; n++) {
        const struct zb_explain_reply *r = &f->moves[n];
        bool frozen = r->rule != NULL && strcmp(r->rule, "C-move-frozen") == 0;
        if (r->asked && r->rc != ZB_OK && !frozen) {
            blocker_add(l, &(struct blocker){MOVE, r->rule != NULL ? r->rule : "", NULL},
                        "not to %s: %s", f->a->nodes[n].name, r->text);
        } else if (r->asked && r->rc == ZB_OK) {
            used += (size_t)snprintf(targets + used, sizeof targets - used, "%s%s",
                                     used > 0 ? ", " : "", f->a->nodes[n].name);
        }
    }
    if (used > 0 && f->a->services[f->service].freeze.reason[0] == '\0') {
        fine_add(l, MOVE, "movable to %s", targets);
    }
}

static void
failover_say(struct lines *l)
{
    const struct zb_explain_facts *f = l->f;
    const struct zb_explain_reply *r = &f->failover;
    char help[ZB_HELP_SIZE];

    (void)snprintf(help, sizeof help, "zbaton failover -n --to %s %s", l->self, l->service);
    blocker_add(l, &(struct blocker){MOVE, f->view.why_rule, help}, "nobody leads: %s",
                f->view.why);
    if (r->asked && r->rc != ZB_OK && r->rule != NULL &&
        strcmp(r->rule, "C-failover-frozen") != 0) {
        blocker_add(l, &(struct blocker){MOVE, r->rule, NULL}, "%s cannot take it: %s", l->self,
                    r->text);
    }
}

static void
move_say(struct lines *l)
{
    frozen_say(l);
    majority_say(l);
    /* What was failed at once is not always ended by a success: told while it is being tried. */
    if (l->f->view.role == ZB_ROLE_ASKING || l->f->view.role == ZB_ROLE_PROMOTING) {
        (void)trouble_add(l, ZB_TROUBLE_PROMOTE, l->f->a->self,
                          &(struct blocker){MOVE, "R-operation-failed", NULL});
    }
    if (l->f->view.leader == ZB_NODE_NONE) {
        failover_say(l);
    } else if (l->f->leads) {
        held_say(l);
        (void)trouble_add(l, ZB_TROUBLE_START, l->f->a->self,
                          &(struct blocker){MOVE, "R-start-failed", NULL});
        moves_say(l);
    }
}

/* --- replicate --- */

static void
set_text(const struct zb_loss_member *m, int64_t now_s, char *buf, size_t size)
{
    char id[48] = "no set";

    if (!zb_set_id_is_none(m->set.id)) {
        (void)snprintf(id, sizeof id, "set %" PRIu64 "/%" PRIu64, m->set.id.term, m->set.id.seq);
    }
    if (m->time_s >= 0) {
        (void)snprintf(buf, size, "%s, %" PRId64 " s old", id,
                       now_s > m->time_s ? now_s - m->time_s : 0);
    } else {
        (void)snprintf(buf, size, "%s", id);
    }
}

/* Followed are leaders of the highest granted term alone (M2). */
static bool
granted_higher_say(struct lines *l, const struct zb_loss_member *m, uint8_t node)
{
    const struct zb_core_msg *report = &l->f->view.peers[node].report;
    char help[ZB_HELP_SIZE];

    if (!l->f->view.peers[node].known || report->granted_term <= l->f->view.term) {
        return false;
    }
    (void)snprintf(help, sizeof help, "zbaton failover --to %s %s", l->self, l->service);
    blocker_add(l, &(struct blocker){REPLICATE, "M2", help},
                "%s granted term %" PRIu64 " and follows no leader of a lower one", m->node,
                report->granted_term);
    return true;
}

/* One member, as the leader sees it. */
static void
follower_say(struct lines *l, const struct zb_loss_member *m)
{
    const struct zb_explain_facts *f = l->f;
    uint8_t node = zb_agent_node_find(f->a, m->node);
    char help[ZB_HELP_SIZE];
    char set[96];

    set_text(m, f->members.now_s, set, sizeof set);
    if (node == ZB_NODE_NONE || !m->reachable) {
        blocker_add(l, &(struct blocker){REPLICATE, "A-peer-down", NULL},
                    "%s is not reachable; it had %s", m->node, set);
        (void)snprintf(help, sizeof help, "zbaton rejoin %s %s, when it is back", l->service,
                       m->node);
        (void)trouble_add(l, ZB_TROUBLE_BASE, node,
                          &(struct blocker){REPLICATE, "A-base-gone", help});
        return;
    }
    (void)snprintf(help, sizeof help, "zbaton explain %s %s", l->service, m->node);
    if (!granted_higher_say(l, m, node) &&
        !trouble_add(l, ZB_TROUBLE_SHIP, node,
                     &(struct blocker){REPLICATE, "R-ship-failed", help})) {
        fine_add(l, REPLICATE, "%s has %s", m->node, set);
    }
}

/* Of whoever leads, or could where nobody does. */
static void
promise_say(struct lines *l)
{
    char text[TEXT_SIZE / 2];
    bool broken = false;

    if (!zb_promise_say(l->f->a, l->f->service, &broken, text, sizeof text)) {
        return;
    }
    if (broken) {
        blocker_add(l, &(struct blocker){REPLICATE, "A-promise-broken", NULL}, "%s", text);
    } else {
        fine_add(l, REPLICATE, "%s", text);
    }
}

static void
leader_say(struct lines *l)
{
    const struct zb_explain_facts *f = l->f;
    const struct zb_loss *m = &f->members;

    (void)trouble_add(l, ZB_TROUBLE_SNAPSHOT, f->a->self,
                      &(struct blocker){REPLICATE, "R-snapshot-failed", NULL});
    for (uint32_t i = 0; i < m->members_count; i++) {
        if (strcmp(m->members[i].node, l->self) != 0) {
            follower_say(l, &m->members[i]);
        }
    }
}

static void
diverged_say(struct lines *l)
{
    const struct zb_core_view *view = &l->f->view;
    char help[ZB_HELP_SIZE];

    if (strncmp(view->why_rule, "R-rejoin", sizeof "R-rejoin" - 1) == 0) {
        blocker_add(l, &(struct blocker){REPLICATE, view->why_rule, NULL}, "%s", view->why);
    } else if (view->obs.modified || view->obs.beyond) {
        (void)snprintf(help, sizeof help, "zbaton rejoin -n %s %s", l->service, l->self);
        blocker_add(l, &(struct blocker){REPLICATE, "R-rejoin", help},
                    "this copy was written to after its newest set");
    } else {
        return;
    }
    (void)trouble_add(l, ZB_TROUBLE_RESCUE, l->f->a->self,
                      &(struct blocker){REPLICATE, "R-rescue-failed", NULL});
}

/* This node, which does not lead. */
static void
copy_say(struct lines *l)
{
    const struct zb_explain_facts *f = l->f;
    const struct zb_core_view *view = &f->view;
    char set[96];

    diverged_say(l);
    if (view->role == ZB_ROLE_DEMOTING) {
        (void)trouble_add(l, ZB_TROUBLE_DEMOTE, f->a->self,
                          &(struct blocker){REPLICATE, "R-operation-failed", NULL});
    }
    if (view->leader != ZB_NODE_NONE) {
        (void)trouble_add(l, ZB_TROUBLE_RECEIVE, view->leader,
                          &(struct blocker){REPLICATE, "R-receive-failed", NULL});
    }
    if (view->leader == ZB_NODE_NONE) {
        blocker_add(l, &(struct blocker){REPLICATE, "A-no-leader", "zbaton status"},
                    "there is no leader to receive from");
    }
    for (uint32_t i = 0; i < f->members.members_count && l->bad[REPLICATE] == 0; i++) {
        if (strcmp(f->members.members[i].node, l->self) == 0) {
            set_text(&f->members.members[i], f->members.now_s, set, sizeof set);
            fine_add(l, REPLICATE, "follows %s, has %s", f->a->nodes[view->leader].name, set);
        }
    }
}

/* --- what the keeper named --- */

struct field {
    const char *kind;
    const char *dataset;
    const char *snap;
    const char *what;
};

/* "DATASET@SNAP" for a command. */
static void
old_set_say(struct lines *l, const struct field *k)
{
    char snap[TEXT_SIZE / 2];
    char help[TEXT_SIZE];

    (void)snprintf(snap, sizeof snap, "%s@%s", k->dataset, k->snap);
    if (strcmp(k->kind, "hold") == 0) {
        (void)snprintf(help, sizeof help, "zfs release %s %s", k->what, snap);
        blocker_add(l, &(struct blocker){PRUNE, "A-hold", help}, "%s is held: %s", snap, k->what);
    } else if (strcmp(k->kind, "clone") == 0) {
        (void)snprintf(help, sizeof help, "zfs promote %s, or zfs destroy %s", k->what, k->what);
        blocker_add(l, &(struct blocker){PRUNE, "A-clone", help}, "%s has a clone: %s", snap,
                    k->what);
    } else if (strcmp(k->kind, "peek") == 0) {
        (void)snprintf(help, sizeof help, "zbaton peek end %s, or wait: it ends by itself",
                       k->what);
        blocker_add(l, &(struct blocker){PRUNE, "A-peek", help}, "%s is what peek %s shows", snap,
                    k->what);
    } else {
        (void)snprintf(help, sizeof help, "zbaton rescue drop %s, when it is not needed any more",
                       k->what);
        blocker_add(l, &(struct blocker){PRUNE, "A-rescue", help}, "%s is where rescue %s hangs on",
                    snap, k->what);
    }
}

static void
use_say(struct lines *l, const struct field *k)
{
    enum about about = l->f->leads ? MOVE : REPLICATE;
    char help[TEXT_SIZE];

    if (strcmp(k->kind, "device") == 0) {
        (void)snprintf(help, sizeof help, "close what has it open, then: zfs set volmode=none %s",
                       k->dataset);
        blocker_add(l, &(struct blocker){REPLICATE, "A-mount", help}, "%s has the device %s",
                    k->dataset, k->what);
    } else if (strcmp(k->kind, "mount") == 0) {
        (void)snprintf(help, sizeof help, "umount %s", k->what);
        blocker_add(l, &(struct blocker){REPLICATE, "A-mount", help}, "%s is mounted at %s",
                    k->dataset, k->what);
    } else {
        blocker_add(l, &(struct blocker){about, "A-process", "end it, or let it leave the tree"},
                    "%s is in use, not by the service: %s", k->dataset, k->what);
    }
}

static void
dataset_say(struct lines *l, const struct field *k)
{
    struct zb_trouble_at at = {l->f->service, ZB_TROUBLE_RECEIVE, l->f->view.leader};
    char help[TEXT_SIZE];

    if (strcmp(k->kind, "partial") == 0) {
        if (zb_trouble_find(l->f->a, &at) == NULL) {
            return; /* it is being gone on with */
        }
        (void)snprintf(help, sizeof help, "zfs receive -A %s begins it anew", k->dataset);
        blocker_add(l, &(struct blocker){REPLICATE, "A-partial", help},
                    "%s has a part of a set, and a token to go on from there", k->dataset);
    } else if (strcmp(k->kind, "foreign") == 0) {
        (void)snprintf(help, sizeof help, "zfs rename %s to a place outside the tree", k->dataset);
        blocker_add(l, &(struct blocker){REPLICATE, "A-foreign", help}, "%s is not zbaton's",
                    k->dataset);
    } else if (strcmp(k->kind, "volume") == 0 || strcmp(k->kind, "unfit") == 0) {
        (void)snprintf(help, sizeof help, "zfs rename %s", k->dataset);
        blocker_add(l, &(struct blocker){REPLICATE, "A-unfit", help}, "%s: no set holds %s",
                    k->dataset,
                    strcmp(k->kind, "volume") == 0 ? "a tree that is a volume itself"
                                                   : "a dataset of that name");
    }
}

/* --- prune --- */

/* Members that stand below what the number alone keeps: sets from there on stay (S5), the newest
 * `catch-up` of them while one is away. */
static void
bases_say(struct lines *l, struct zb_set_id kept)
{
    const struct zb_loss *m = &l->f->members;
    char help[ZB_HELP_SIZE];

    for (uint32_t i = 0; i < m->members_count; i++) {
        const struct zb_loss_member *one = &m->members[i];
        if (strcmp(one->node, l->self) == 0 || zb_set_id_cmp(one->set.id, kept) >= 0) {
            continue;
        }
        (void)snprintf(help, sizeof help,
                       one->reachable ? "zbaton explain %s %s"
                                      : "bring it back (zbaton explain %s %s), or apply the "
                                        "declaration without it",
                       l->service, one->node);
        blocker_add(l, &(struct blocker){PRUNE, "S5", help},
                    "%s stands on %s%" PRIu64 "/%" PRIu64 ": sets from there on stay for it%s",
                    one->node, zb_set_id_is_none(one->set.id) ? "no set, " : "set ",
                    one->set.id.term, one->set.id.seq,
                    one->reachable ? "" : " (the newest ones: catch-up of the declaration)");
    }
}

static void
sets_say(struct lines *l, const struct field *k)
{
    struct zb_set_id kept, oldest;
    const char *space = strchr(k->what, ' ');
    struct zb_wall time;
    char text[24];

    if (space != NULL && zb_set_name_parse(space + 1, &kept, NULL)) {
        bases_say(l, kept);
    }
    if (l->bad[PRUNE] == 0 && zb_set_name_parse(k->snap, &oldest, &time)) {
        zb_wall_format(time, text);
        fine_add(l, PRUNE, "prunable: %.*s sets, the oldest %" PRIu64 "/%" PRIu64 " of %s",
                 (int)strcspn(k->what, " "), k->what, oldest.term, oldest.seq, text);
    }
}

/* The fields of a line of the keeper's, cut at its tabs; false: it is none. */
static bool
fields_cut(char *line, struct field *k)
{
    const char **fields[] = {&k->kind, &k->dataset, &k->snap, &k->what};

    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        char *tab = strchr(line, '\t');
        *fields[i] = line;
        if (tab == NULL) {
            return i + 1 == sizeof fields / sizeof fields[0];
        }
        *tab = '\0';
        line = tab + 1;
    }
    return false;
}

static void
field_say(struct lines *l, const struct field *k)
{
    static const struct {
        const char *kind;
        void (*say)(struct lines *l, const struct field *k);
    } kinds[] = {
        {"hold", old_set_say},   {"clone", old_set_say},   {"rescue", old_set_say},
        {"peek", old_set_say},   {"mount", use_say},       {"device", use_say},
        {"process", use_say},    {"partial", dataset_say}, {"foreign", dataset_say},
        {"volume", dataset_say}, {"unfit", dataset_say},
    };

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(kinds[i].kind, k->kind) == 0) {
            kinds[i].say(l, k);
        }
    }
}

/* All that is in the way, then the line that counts the sets. */
static void
blockers_say(struct lines *l)
{
    const struct zb_explain_facts *f = l->f;
    char *text = f->blockers != NULL ? zb_must(strdup(f->blockers)) : NULL;
    struct field sets = {0};
    char *rest = text;
    char *line;

    if (f->blockers_rc != ZB_OK) {
        blocker_add(l, &(struct blocker){PRUNE, "A-blockers", NULL}, "%s", f->blockers_msg);
    }
    (void)trouble_add(l, ZB_TROUBLE_PRUNE, f->a->self,
                      &(struct blocker){PRUNE, "R-prune-failed", NULL});
    (void)trouble_add(l, ZB_TROUBLE_LOOK, f->a->self,
                      &(struct blocker){REPLICATE, "R-observe-failed", NULL});
    while (rest != NULL && (line = strsep(&rest, "\n")) != NULL) {
        struct field k;
        if (!fields_cut(line, &k)) {
            continue;
        }
        if (strcmp(k.kind, "sets") == 0) {
            sets = k;
        } else {
            field_say(l, &k);
        }
    }
    if (f->blockers_left_off > 0) {
        blocker_add(l, &(struct blocker){PRUNE, "A-blockers", NULL},
                    "and more than can be listed (%" PRIu32 ")", f->blockers_left_off);
    }
    if (sets.kind != NULL) {
        sets_say(l, &sets);
    }
    free(text);
}

json_t *
zb_explain_lines(const struct zb_explain_facts *f)
{
    struct lines l = {.f = f,
                      .service = f->a->services[f->service].conf.name,
                      .self = f->a->nodes[f->a->self].name};
    json_t *all = zb_json_array_new();

    for (unsigned i = 0; i < ABOUTS; i++) {
        l.arrays[i] = zb_json_array_new();
    }
    blockers_say(&l);
    move_say(&l);
    if (f->leads) {
        leader_say(&l);
    } else {
        copy_say(&l);
    }
    if (f->leads || f->view.leader == ZB_NODE_NONE) {
        promise_say(&l);
    }
    for (unsigned i = 0; i < ABOUTS; i++) {
        if (json_array_extend(all, l.arrays[i]) != 0) {
            zb_out_of_memory();
        }
        json_decref(l.arrays[i]);
    }
    return all;
}
