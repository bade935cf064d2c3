/*
 * rekey: a service of the raw flavour gets the key that its key-file or key-command gives now. The
 * leader's keeper changes it, for root of that host, a set carries it, and each member that has the
 * set is asked whether it has the key. rekey.part is what the leader asks them.
 */
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/keeper.h"
#include "agent/must.h"
#include "agent/request.h"
#include "agent/rescue.h"

#define ANSWERS_MS 40000 /* a program may take 20 s, and derive what it says from a passphrase */

struct rekey;

struct rekey_member {
    struct rekey *k;
    char node[ZB_NODE_NAME_SIZE]; /* the declaration may be another one by the end */
    bool pending;
    bool known; /* key is what it has */
    enum zb_key_state key;
    char text[256]; /* why it is not known */
};

struct rekey {
    struct zb_request *r;
    uint16_t service;
    char name[ZB_SERVICE_NAME_SIZE];
    struct zb_mono begun;
    bool changed;
    struct zb_set_id set; /* with changed: that carries the key */
    uv_timer_t *timer;    /* it outlives this for a moment */
    uint32_t pending;
    uint32_t members_count;
    struct rekey_member members[ZB_MEMBERS_MAX];
};

static const char *
key_word(enum zb_key_state key)
{
    static const char *const words[] = {
        [ZB_KEY_GOOD] = "good",
        [ZB_KEY_MISSING] = "missing",
        [ZB_KEY_UNFIT] = "unfit",
        [ZB_KEY_OTHER] = "other",
    };
    return words[key];
}

/* --- the result --- */

static json_t *
member_json(const struct rekey_member *m)
{
    json_t *one = zb_must(json_object());
    const char *lack = m->known ? zb_core_key_lack(m->key) : m->text;

    zb_json_put(one, "node", zb_json_text(m->node));
    zb_json_put(one, "key", m->known ? zb_json_text(key_word(m->key)) : zb_must(json_null()));
    zb_json_put(one, "text", zb_json_text(lack != NULL ? lack : ""));
    return one;
}

static void
on_timer_closed(uv_handle_t *handle)
{
    free(handle);
}

static void
rekey_free(struct rekey *k)
{
    if (k->timer != NULL) {
        uv_close((uv_handle_t *)k->timer, on_timer_closed);
    }
    free(k);
}

static void
rekey_done(struct rekey *k)
{
    json_t *data = zb_must(json_object());
    json_t *members = zb_json_array_new();
    bool degraded = false;

    for (uint32_t i = 0; i < k->members_count; i++) {
        const struct rekey_member *m = &k->members[i];
        zb_json_append(members, member_json(m));
        degraded = degraded || !m->known || m->key != ZB_KEY_GOOD;
    }
    zb_json_put(data, "service", zb_json_text(k->name));
    zb_json_put(data, "changed", zb_json_bool(k->changed));
    zb_json_put(data, "set", k->changed ? zb_json_set_id(k->set) : zb_must(json_null()));
    zb_json_put(data, "members", members);
    zb_json_put(data, "degraded", zb_json_bool(degraded));
    zb_json_put(data, "elapsed_ms", zb_json_int(zb_mono_now().ms - k->begun.ms));
    zb_request_done(k->r, data);
    rekey_free(k);
}

static void
rekey_fail(struct rekey *k, const struct zb_err *err, const char *rule)
{
    zb_request_fail(k->r, err, rule);
    rekey_free(k);
}

/* --- who has it --- */

/* Null or a state; anything else is no answer of ours. */
static void
answer_take(struct rekey_member *m, const json_t *data)
{
    const json_t *key = json_object_get(data, "key");
    json_int_t value = json_integer_value(key);

    m->known = json_is_integer(key) && value >= 0 && value <= ZB_KEY_STATE_LAST;
    if (m->known) {
        m->key = (enum zb_key_state)value;
    } else {
        (void)snprintf(m->text, sizeof m->text, "%s",
                       json_is_null(key) ? "it has not got that set yet"
                                         : "the answer is not understood");
    }
}

static void
on_answer(void *ctx, json_t *result)
{
    struct rekey_member *m = ctx;
    struct rekey *k = m->k;
    struct zb_err err;
    const json_t *data = zb_result_data(result, &err);

    if (data != NULL) {
        answer_take(m, data);
    } else {
        (void)snprintf(m->text, sizeof m->text, "%.255s", err.msg);
    }
    m->pending = false;
    if (--k->pending == 0) {
        rekey_done(k);
    }
}

static void
on_timer(uv_timer_t *timer)
{
    struct rekey *k = timer->data;

    k->pending++; /* it lives until the end of this */
    for (uint32_t i = 0; i < k->members_count; i++) {
        if (k->members[i].pending) {
            zb_forward_end(k->r->a, &k->members[i]);
        }
    }
    if (--k->pending == 0) {
        rekey_done(k);
    }
}

static void
timer_start(struct rekey *k)
{
    k->timer = zb_must_alloc(1, sizeof *k->timer);
    (void)uv_timer_init(&k->r->a->loop, k->timer);
    k->timer->data = k;
    (void)uv_timer_start(k->timer, on_timer, ANSWERS_MS, 0);
}

static void
member_ask(struct rekey_member *m, const json_t *args)
{
    struct rekey *k = m->k;
    struct zb_agent *a = k->r->a;
    uint8_t node = zb_agent_node_find(a, m->node);
    const struct zb_forward_ask ask = {.node = node,
                                       .cmd = "rekey.part",
                                       .args = args,
                                       .who = k->r->who,
                                       .on_result = on_answer,
                                       .ctx = m};

    if (node == a->self) { /* its keeper has just compared them */
        m->known = true;
    } else if (node == ZB_NODE_NONE || !a->nodes[node].up) {
        (void)snprintf(m->text, sizeof m->text, "it is not reachable");
    } else {
        m->pending = true;
        k->pending++;
        zb_forward_start(a, &ask);
    }
}

static void
members_ask(struct rekey *k)
{
    const struct zb_conf_names *names = &k->r->a->services[k->service].conf.members;
    json_t *args = zb_must(json_object());
    char set[ZB_SET_ID_SIZE];

    zb_set_id_format(k->set, set);
    zb_json_put(args, "service", zb_json_text(k->name));
    zb_json_put(args, "set", zb_json_text(k->changed ? set : ""));
    k->members_count = names->count;
    for (uint32_t i = 0; i < names->count; i++) {
        k->members[i].k = k;
        zb_strcopy(k->members[i].node, sizeof k->members[i].node, names->items[i]);
    }
    timer_start(k);
    k->pending++; /* each may answer at once */
    for (uint32_t i = 0; i < k->members_count; i++) {
        member_ask(&k->members[i], args);
    }
    json_decref(args);
    if (--k->pending == 0) {
        rekey_done(k);
    }
}

/* --- rekey --- */

static void
on_synced(void *ctx, const struct zb_action *reply)
{
    struct rekey *k = ctx;
    struct zb_err err;

    if (reply->rc == ZB_OK) {
        k->set = reply->set.id;
        members_ask(k);
        return;
    }
    (void)zb_err_set(&err, reply->rc, "%s has another key now, but no set with it: %s", k->name,
                     reply->text);
    (void)zb_err_hint(&err,
                      "zbaton sync %s; while this node leads, any later set carries it: keep the "
                      "earlier one until then",
                      k->name);
    rekey_fail(k, &err, reply->rule);
}

static void
on_changed(void *ctx, const struct zb_krep *rep)
{
    struct rekey *k = ctx;
    struct zb_agent *a = k->r->a;
    struct zb_err err;
    char hint[64 + ZB_SERVICE_NAME_SIZE];

    if (rep->rc != ZB_OK) {
        (void)snprintf(hint, sizeof hint, "zbaton status %s", k->name);
        zb_keeper_reply_error(rep, hint, &err);
        rekey_fail(k, &err, NULL);
        return;
    }
    k->changed = (rep->flags & ZB_KF_SAME) == 0;
    if (!k->changed) {
        members_ask(k);
        return;
    }
    zb_agent_event(a, ZB_LOG_INFO, k->name, "A-rekey", "it has another key, as %s said", k->r->who);
    const struct zb_agent_command command = {.kind = ZB_CMD_SYNC,
                                             .service = k->service,
                                             .node = ZB_NODE_NONE,
                                             .who = k->r->who,
                                             .on_reply = on_synced,
                                             .ctx = k};
    zb_agent_command_start(a, &command);
}

/* Led here and staying so; *term is what it is led in. It is not passed on to who leads: there,
 * not here, root has to consent (keeper/consent.h). */
static enum zb_rc
lead_check(const struct zb_request *r, uint16_t service, uint64_t *term, struct zb_err *err)
{
    const struct zb_agent *a = r->a;
    const struct zb_conf_service *conf = &a->services[service].conf;
    struct zb_core_view view;
    struct zb_core_lead lead;

    zb_core_view(a->core, service, &view);
    if (view.leader >= a->nodes_count) {
        (void)zb_err_set(err, ZB_E_REFUSED, "nobody leads %s: %s", conf->name, view.why);
        return zb_err_hint(err, "zbaton status %s", conf->name);
    }
    if (view.leader != a->self) {
        (void)zb_err_set(err, ZB_E_REFUSED, "%s is not led here", conf->name);
        return zb_err_hint(err, "run it on %s, which leads", a->nodes[view.leader].name);
    }
    if (!zb_core_lead(a->core, service, &lead)) {
        (void)zb_err_set(err, ZB_E_REFUSED, "%s is on its way to another node", conf->name);
        return zb_err_hint(err, "zbaton status %s; then again", conf->name);
    }
    *term = lead.term;
    return ZB_OK;
}

static enum zb_rc
flavour_check(const struct zb_conf_service *conf, struct zb_err *err)
{
    if (conf->flavour == ZB_CONF_FLAVOUR_RAW) {
        return ZB_OK;
    }
    (void)zb_err_set(err, ZB_E_REFUSED, "%s is of flavour \"plain\": it has no key of its own",
                     conf->name);
    return zb_err_hint(err, "what a host encrypts from above its dataset: zfs change-key there");
}

/* What only a rescue has may be under the key of then, which could not be loaded any more once a
 * set has brought another one to the tree that it hangs on. */
static enum zb_rc
rescues_check(const struct zb_agent *a, const struct zb_conf_service *conf, struct zb_err *err)
{
    enum zb_rc rc = ZB_OK;

    for (uint8_t node = 0; node < a->nodes_count && rc == ZB_OK; node++) {
        json_t *told = zb_rescues_told(a, node, conf->name);
        const char *name = json_string_value(json_object_get(told, "name"));

        if (json_integer_value(json_object_get(told, "count")) > 0) {
            (void)zb_err_set(err, ZB_E_REFUSED,
                             "%s keeps rescue %s of it: what that alone has could not be read with "
                             "another key",
                             a->nodes[node].name, name != NULL ? name : "");
            rc = zb_err_hint(err, "there: zbaton rescue export NAME FILE; zbaton rescue drop NAME");
        }
        json_decref(told);
    }
    return rc;
}

void
zb_cmd_rekey(struct zb_request *r)
{
    uint16_t service = zb_request_service(r);
    struct zb_kreq req = {.op = ZB_KOP_REKEY};
    struct zb_err err;

    if (service == ZB_SERVICE_NONE) {
        return;
    }
    const struct zb_conf_service *conf = &r->a->services[service].conf;
    if (flavour_check(conf, &err) != ZB_OK) {
        zb_request_fail(r, &err, NULL);
        return;
    }
    if (lead_check(r, service, &req.term, &err) != ZB_OK ||
        rescues_check(r->a, conf, &err) != ZB_OK) {
        zb_request_fail(r, &err, NULL);
        return;
    }
    struct rekey *k = zb_must_alloc(1, sizeof *k);
    *k = (struct rekey){.r = r, .service = service, .begun = zb_mono_now()};
    zb_strcopy(k->name, sizeof k->name, conf->name);
    zb_strcopy(req.service, sizeof req.service, conf->name);
    zb_agent_keeper_call(r->a, &req, on_changed, k);
}

/* --- rekey.part --- */

static void
on_tried(void *ctx, const struct zb_krep *rep)
{
    struct zb_request *r = ctx;
    struct zb_err err;

    if (rep->rc != ZB_OK) {
        zb_keeper_reply_error(rep, "", &err);
        zb_request_fail(r, &err, NULL);
        return;
    }
    json_t *data = zb_must(json_object());
    zb_json_put(data, "key", zb_json_int(rep->key));
    zb_request_done(r, data);
}

void
zb_cmd_rekey_part(struct zb_request *r)
{
    uint16_t service = zb_request_service(r);
    bool any = zb_request_text(r, "set")[0] != '\0';
    struct zb_kreq req = {.op = ZB_KOP_REKEY, .flags = ZB_KF_DRY_RUN};
    struct zb_core_view view;
    struct zb_set_id set = {0};
    struct zb_err err;

    if (service == ZB_SERVICE_NONE) {
        return;
    }
    if (any && zb_request_set(r, service, &set, &err) != ZB_OK) {
        zb_request_fail(r, &err, NULL);
        return;
    }
    zb_core_view(r->a->core, service, &view);
    if (any && zb_set_id_cmp(view.obs.newest.id, set) < 0) { /* its copy has the earlier key */
        json_t *data = zb_must(json_object());
        zb_json_put(data, "key", zb_must(json_null()));
        zb_request_done(r, data);
        return;
    }
    zb_strcopy(req.service, sizeof req.service, r->a->services[service].conf.name);
    zb_agent_keeper_call(r->a, &req, on_tried, r);
}
