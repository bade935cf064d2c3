#include "agent/cert.h"

#include <inttypes.h>

#include "agent/config.h"
#include "agent/files.h"
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/member.h"
#include "agent/must.h"
#include "agent/request.h"

#define FIRST_MS 5000
#define LOOK_MS 60000
#define DAY_S 86400
#define TICK_MS 200     /* while a renewal is under way */
#define SIGN_MS 30000   /* for the node that signs */
#define KNOW_MS 30000   /* for the others to know of the new one */
#define SETTLE_MS 15000 /* for the last step; then it is made up for later */

struct renewal;

struct zb_certs {
    uv_timer_t timer;
    struct zb_pki_cert_info own;
    int64_t told_day;        /* when its end was last told */
    bool settling;           /* the last step is under way */
    struct renewal *renewal; /* NULL: none */
};

enum step { SIGNING, ANNOUNCING, WAITING, SETTLING };

struct renewal {
    struct zb_agent *a;
    enum step step;
    uint32_t ticks;   /* that are left for the step; ANNOUNCING has its own time */
    uint64_t version; /* of the configuration that names the new one */
    bool retried;     /* another change came first: once */
    struct zb_cert_order order;
    char who[128];
    char *key;
    char *cert;
    struct zb_pki_cert_info info;
};

static void on_timer(uv_timer_t *timer);

/* --- which one is used --- */

static bool
info_of(const char *name, const char *text, struct zb_pki_cert_info *info)
{
    struct zb_err err;

    if (zb_pki_cert_info((struct zb_pem){name, text}, info, &err) == ZB_OK) {
        return true;
    }
    zb_log_error("%s", err.msg);
    return false;
}

/* Takes cert and key. */
static void
identity_use(struct zb_agent *a, char *cert, char *key)
{
    zb_pki_text_free(a->pki.node_crt);
    zb_pki_text_free(a->pki.node_key);
    a->pki.node_crt = cert;
    a->pki.node_key = key;
}

/* Takes the place of the one in the files. */
static enum zb_rc
renewed_use(struct zb_agent *a, const char *cert, const char *key, struct zb_err *err)
{
    const struct zb_pem renewed = {"renewed certificate", cert};
    struct zb_pki_cert_info in_file, info;
    enum zb_rc rc = zb_pki_cert_info(renewed, &info, err);

    if (rc == ZB_OK && info_of(ZB_FILE_NODE_CRT, a->pki.node_crt, &in_file) &&
        in_file.not_before.s > info.not_before.s) {
        return ZB_OK;
    }
    if (rc == ZB_OK) {
        rc = zb_pki_identity_check((struct zb_pem){ZB_FILE_CA_CRT, a->pki.ca_crt}, renewed,
                                   (struct zb_pem){"its key", key}, a->conf->node, err);
    }
    if (rc == ZB_OK) {
        identity_use(a, zb_must(strdup(cert)), zb_must(strdup(key)));
    }
    return rc;
}

enum zb_rc
zb_cert_load(struct zb_agent *a, struct zb_err *err)
{
    char *text = NULL;
    enum zb_rc rc = zb_history_meta_get(a->history, ZB_CERT_META, &text, err);

    if (rc != ZB_OK || text[0] == '\0') {
        free(text);
        return rc == ZB_E_NOTFOUND ? ZB_OK : rc;
    }
    json_t *identity = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    const char *cert = json_string_value(json_object_get(identity, "cert"));
    const char *key = json_string_value(json_object_get(identity, "key"));
    if (cert == NULL || key == NULL) {
        rc = zb_err_set(err, ZB_E_FORMAT,
                        "the renewed certificate in the history is not understood");
    } else {
        rc = renewed_use(a, cert, key, err);
    }
    json_decref(identity);
    zb_pki_text_free(text);
    return rc == ZB_OK
               ? ZB_OK
               : zb_err_hint(err, "is the clock of this host right? Else: zbaton cert renew "
                                  "--token TOKEN, with a token of zbaton token create");
}

static enum zb_rc
identity_store(struct zb_agent *a, const char *cert, const char *key, struct zb_err *err)
{
    json_t *identity = zb_must(json_object());

    zb_json_put(identity, "cert", zb_json_text(cert));
    zb_json_put(identity, "key", zb_json_text(key));
    char *text = zb_must(json_dumps(identity, JSON_COMPACT | JSON_SORT_KEYS));
    enum zb_rc rc = zb_history_meta_set(a->history, ZB_CERT_META, text, err);
    zb_pki_text_free(text);
    json_decref(identity);
    return rc;
}

struct zb_wall
zb_cert_ends(const struct zb_agent *a)
{
    return a->certs != NULL ? a->certs->own.not_after : (struct zb_wall){0};
}

const char *
zb_cert_fingerprint(const struct zb_agent *a)
{
    return a->certs != NULL ? a->certs->own.fingerprint : "";
}

/* --- signing --- */

enum zb_rc
zb_cert_sign(struct zb_agent *a, const char *node, const char *csr, char **cert, struct zb_err *err)
{
    enum zb_rc rc = zb_member_issuer_check(a, err);

    if (rc == ZB_OK) {
        rc = zb_pki_sign((struct zb_pem){ZB_FILE_CA_CRT, a->pki.ca_crt},
                         (struct zb_pem){ZB_FILE_CA_KEY, a->pki.ca_key},
                         (struct zb_pem){"request", csr}, node, cert, err);
    }
    if (rc == ZB_OK) {
        zb_agent_event(a, ZB_LOG_INFO, "", "A-cert-signed", "signed a new certificate for %s",
                       node);
    }
    return rc;
}

/* --- the configuration --- */

static const struct zb_config_node *
own_entry(const struct zb_agent *a)
{
    const struct zb_config_doc *doc = zb_config_current(a);
    int index = zb_config_doc_node_find(doc, a->nodes[a->self].name);

    return index >= 0 ? &doc->nodes[index] : NULL;
}

/* alone: the only one; else beside the one in force. */
static void
pin_change(struct zb_agent *a, const char *fingerprint, bool alone,
           void (*on_done)(void *ctx, const struct zb_config_outcome *outcome), void *ctx)
{
    struct zb_config_doc doc = {0};
    struct zb_err err;
    enum zb_rc rc = zb_config_doc_copy(&doc, zb_config_current(a), &err);
    int index = rc == ZB_OK ? zb_config_doc_node_find(&doc, a->nodes[a->self].name) : -1;

    if (rc == ZB_OK && index < 0) {
        rc = zb_err_set(&err, ZB_E_REFUSED, "this node is no longer in the configuration");
    }
    if (rc != ZB_OK) {
        const struct zb_config_outcome outcome = {.rc = rc, .err = &err};
        on_done(ctx, &outcome);
        return;
    }
    struct zb_config_node *n = &doc.nodes[index];
    char *pin = alone ? n->fingerprint : n->next;
    n->next[0] = '\0';
    zb_strcopy(pin, sizeof n->next, fingerprint);
    doc.version++;
    const struct zb_config_change change = {.doc = &doc, .on_done = on_done, .ctx = ctx};
    zb_config_change(a, &change);
    zb_config_doc_close(&doc);
}

/* --- the end of a renewal --- */

static void
renewal_end(struct renewal *n, const struct zb_err *err)
{
    const struct zb_cert_order order = n->order;
    const struct zb_wall ends = n->info.not_after;
    struct zb_certs *c = n->a->certs;

    if (c != NULL) {
        c->renewal = NULL;
        (void)uv_timer_start(&c->timer, on_timer, LOOK_MS, LOOK_MS);
    }
    zb_pki_text_free(n->key);
    zb_pki_text_free(n->cert);
    free(n);
    order.on_done(order.ctx, err == NULL ? &ends : NULL, err);
}

static void
step_begin(struct renewal *n, enum step step, uint32_t ms)
{
    n->step = step;
    n->ticks = ms / TICK_MS;
}

/* --- the last step --- */

static void
on_settled(void *ctx, const struct zb_config_outcome *outcome)
{
    struct zb_agent *a = ctx;
    struct zb_certs *c = a->certs;
    struct renewal *n =
        c != NULL && c->renewal != NULL && c->renewal->step == SETTLING ? c->renewal : NULL;

    if (c != NULL) {
        c->settling = false;
    }
    if (n != NULL && outcome->rc == ZB_E_STALE && !n->retried) {
        n->retried = true; /* by the next tick */
        return;
    }
    if (outcome->rc != ZB_OK) {
        zb_log_warning("the certificate before this one is accepted still: %s", outcome->err->msg);
    }
    if (n != NULL) {
        renewal_end(n, NULL);
    }
}

/* What is used is what the configuration calls the next one: its last step is still to come. */
static bool
is_unsettled(const struct zb_agent *a)
{
    const struct zb_config_node *own = own_entry(a);

    return own != NULL && strcmp(own->next, a->certs->own.fingerprint) == 0;
}

/* Then the one before goes, once everybody knows both. A next one that a renewal has left behind,
 * which came to nothing, goes at once: all accept what is used. */
static void
settle(struct zb_agent *a)
{
    struct zb_certs *c = a->certs;
    const struct zb_config_node *own = own_entry(a);
    bool due = is_unsettled(a) ? zb_config_behind(a, zb_config_current(a)->version) == ZB_NODE_NONE
                               : own != NULL && own->next[0] != '\0' &&
                                     strcmp(own->fingerprint, c->own.fingerprint) == 0;

    if (!c->settling && due) {
        c->settling = true;
        pin_change(a, c->own.fingerprint, true, on_settled, a);
    }
}

/* --- a renewal --- */

static enum zb_rc
renewal_use(struct renewal *n, struct zb_err *err)
{
    struct zb_agent *a = n->a;
    const struct zb_pem ca = {ZB_FILE_CA_CRT, a->pki.ca_crt};
    struct zb_err back;
    enum zb_rc rc = zb_net_identity_set(a->net, ca, (struct zb_pem){"new certificate", n->cert},
                                        (struct zb_pem){"new key", n->key}, err);

    if (rc != ZB_OK) {
        return rc;
    }
    /* Stored last: what is stored, and is not used, would be what the next start uses. */
    rc = identity_store(a, n->cert, n->key, err);
    if (rc != ZB_OK) {
        if (zb_net_identity_set(a->net, ca, (struct zb_pem){"certificate", a->pki.node_crt},
                                (struct zb_pem){"key", a->pki.node_key}, &back) != ZB_OK) {
            zb_log_error("the certificate before this one: %s", back.msg);
        }
    } else {
        identity_use(a, n->cert, n->key);
        n->cert = n->key = NULL;
        a->certs->own = n->info;
    }
    return rc;
}

/* Every node knows both. */
static void
renewal_switch(struct renewal *n)
{
    struct zb_agent *a = n->a;
    const struct zb_config_node *own = own_entry(a);
    char ends[24];
    struct zb_err err;
    enum zb_rc rc = own != NULL && strcmp(own->next, n->info.fingerprint) == 0
                        ? renewal_use(n, &err)
                        : zb_err_set(&err, ZB_E_STALE, "another change took it back");

    if (rc != ZB_OK) {
        renewal_end(n, &err);
        return;
    }
    zb_wall_format(n->info.not_after, ends);
    zb_agent_event(a, ZB_LOG_INFO, "", "A-cert-renewed", "%s renewed the certificate: it ends %s",
                   n->who, ends);
    step_begin(n, SETTLING, SETTLE_MS);
    n->retried = false;
    n->order.on_used(n->order.ctx, n->info.not_after);
}

static void
renewal_tick(struct renewal *n)
{
    struct zb_agent *a = n->a;
    bool late = n->ticks == 0;
    uint8_t behind = n->step == WAITING ? zb_config_behind(a, n->version) : ZB_NODE_NONE;
    struct zb_err err;

    n->ticks -= late ? 0 : 1;
    if (n->step == SIGNING && late) {
        zb_forward_end(a, n);
    } else if (n->step == WAITING && behind == ZB_NODE_NONE) {
        renewal_switch(n);
    } else if (n->step == WAITING && late) {
        (void)zb_err_set(&err, ZB_E_TIMEOUT,
                         "%s has not said that it knows of the new certificate: the one before is "
                         "used still",
                         a->nodes[behind].name);
        (void)zb_err_hint(&err, "zbaton node list; then repeat the command");
        renewal_end(n, &err);
    } else if (n->step == SETTLING && late && !a->certs->settling) {
        renewal_end(n, NULL);
    } else if (n->step == SETTLING) {
        settle(a);
    }
}

static void
on_accepted(void *ctx, const struct zb_config_outcome *outcome)
{
    struct renewal *n = ctx;
    struct zb_agent *a = n->a;
    struct zb_err err;

    if (outcome->rc == ZB_E_STALE && !n->retried && a->certs != NULL) {
        n->retried = true;
        pin_change(a, n->info.fingerprint, false, on_accepted, n);
    } else if (outcome->rc != ZB_OK || a->certs == NULL) {
        err = outcome->rc != ZB_OK ? *outcome->err : (struct zb_err){.rc = ZB_E_CLOSED};
        renewal_end(n, &err);
    } else {
        n->version = outcome->version;
        step_begin(n, WAITING, KNOW_MS);
    }
}

/* Takes cert. */
static void
renewal_signed(struct renewal *n, char *cert)
{
    struct zb_agent *a = n->a;
    struct zb_err err;

    n->cert = cert;
    enum zb_rc rc = zb_pki_identity_check(
        (struct zb_pem){ZB_FILE_CA_CRT, a->pki.ca_crt}, (struct zb_pem){"new certificate", cert},
        (struct zb_pem){"new key", n->key}, a->nodes[a->self].name, &err);
    if (rc == ZB_OK) {
        rc = zb_pki_cert_info((struct zb_pem){"new certificate", cert}, &n->info, &err);
    }
    if (rc == ZB_OK) {
        step_begin(n, ANNOUNCING, 0);
        pin_change(a, n->info.fingerprint, false, on_accepted, n);
    } else {
        renewal_end(n, &err);
    }
}

static void
on_answer(void *ctx, json_t *result)
{
    struct renewal *n = ctx;
    struct zb_err err;
    const json_t *data = zb_result_data(result, &err);
    const char *cert = json_string_value(json_object_get(data, "cert"));

    if (cert != NULL) {
        renewal_signed(n, zb_must(strdup(cert)));
        return;
    }
    if (data != NULL) {
        (void)zb_err_set(&err, ZB_E_FORMAT, "the answer is not understood");
    }
    renewal_end(n, &err);
}

/* Asks the node that holds the CA's key, or is it. */
static void
renewal_sign(struct renewal *n, const char *csr)
{
    struct zb_agent *a = n->a;
    char *cert = NULL;
    struct zb_err err;

    if (a->pki.ca_key != NULL) {
        if (zb_cert_sign(a, a->nodes[a->self].name, csr, &cert, &err) == ZB_OK) {
            renewal_signed(n, cert);
        } else {
            renewal_end(n, &err);
        }
        return;
    }
    uint8_t issuer = 0;
    while (issuer < a->nodes_count &&
           !(a->nodes[issuer].present && a->nodes[issuer].up && zb_member_is_issuer(a, issuer))) {
        issuer++;
    }
    if (issuer == a->nodes_count) {
        (void)zb_err_set(&err, ZB_E_CLOSED,
                         "the node that holds the key of the cluster's CA is not reachable");
        (void)zb_err_hint(&err, "zbaton node list");
        renewal_end(n, &err);
        return;
    }
    json_t *args = zb_must(json_object());
    zb_json_put(args, "csr", zb_json_text(csr));
    const struct zb_forward_ask ask = {.node = issuer,
                                       .cmd = "cert.sign",
                                       .args = args,
                                       .who = n->who,
                                       .on_result = on_answer,
                                       .ctx = n};
    zb_forward_start(a, &ask);
    json_decref(args);
}

/* A node that is away would refuse this one when it is back, whatever the others agree on. */
static enum zb_rc
all_up_check(const struct zb_agent *a, struct zb_err *err)
{
    const struct zb_config_doc *doc = zb_config_current(a);

    for (uint32_t i = 0; i < doc->nodes_count; i++) {
        const char *name = doc->nodes[i].name;
        uint8_t n = zb_agent_node_find(a, name);
        if (n != a->self && (n == ZB_NODE_NONE || !a->nodes[n].up)) {
            (void)zb_err_set(
                err, ZB_E_REFUSED,
                "%s is not reachable: it would not know the new certificate when it is "
                "back, and refuse %s",
                name, a->nodes[a->self].name);
            return zb_err_hint(err,
                               "once it is back; or if it is gone for ever, first: zbaton node "
                               "remove --lost %s",
                               name);
        }
    }
    return ZB_OK;
}

void
zb_cert_renew(struct zb_agent *a, const struct zb_cert_order *order)
{
    struct zb_certs *c = a->certs;
    char *csr = NULL;
    struct zb_err err;
    enum zb_rc rc = c->renewal != NULL || c->settling
                        ? zb_err_set(&err, ZB_E_BUSY, "the certificate is being renewed already")
                        : all_up_check(a, &err);

    if (rc == ZB_OK && is_unsettled(a)) {
        /* A third one would take the place of the one that is used. */
        (void)zb_err_set(&err, ZB_E_BUSY, "the renewal before has not come to its end yet");
        rc = zb_err_hint(&err, "again in a minute, while all nodes are up (zbaton node list)");
        settle(a);
    }
    if (rc != ZB_OK) {
        order->on_done(order->ctx, NULL, &err);
        return;
    }
    struct renewal *n = zb_must_alloc(1, sizeof *n);
    *n = (struct renewal){.a = a, .order = *order};
    (void)snprintf(n->who, sizeof n->who, "%s", order->who);
    c->renewal = n;
    (void)uv_timer_start(&c->timer, on_timer, TICK_MS, TICK_MS);
    step_begin(n, SIGNING, SIGN_MS);
    rc = zb_pki_key_create(&n->key, &err);
    if (rc == ZB_OK) {
        rc = zb_pki_csr_create((struct zb_pem){"new key", n->key}, a->nodes[a->self].name, &csr,
                               &err);
    }
    if (rc == ZB_OK) {
        renewal_sign(n, csr);
    } else {
        renewal_end(n, &err);
    }
    zb_pki_text_free(csr);
}

/* --- its end --- */

static void
on_timer(uv_timer_t *timer)
{
    struct zb_agent *a = timer->data;
    struct zb_certs *c = a->certs;
    const struct zb_wall now = zb_wall_now();
    char text[ZB_CERT_SAY_SIZE];

    if (c->renewal != NULL) {
        renewal_tick(c->renewal);
        return;
    }
    settle(a);
    if (c->told_day != now.s / DAY_S && zb_cert_say(c->own.not_after, now, text)) {
        c->told_day = now.s / DAY_S;
        zb_agent_event(a, ZB_LOG_WARNING, "", "A-cert-ends", "%s: %s (zbaton cert renew %s)",
                       a->nodes[a->self].name, text, a->nodes[a->self].name);
    }
}

struct zb_certs *
zb_certs_new(struct zb_agent *a)
{
    struct zb_certs *c = zb_must_alloc(1, sizeof *c);

    (void)info_of(ZB_FILE_NODE_CRT, a->pki.node_crt, &c->own);
    (void)uv_timer_init(&a->loop, &c->timer);
    c->timer.data = a;
    (void)uv_timer_start(&c->timer, on_timer, FIRST_MS, LOOK_MS);
    return c;
}

static void
on_closed(uv_handle_t *handle)
{
    free(handle); /* it is the first of the struct */
}

void
zb_certs_close(struct zb_agent *a)
{
    struct zb_certs *c = a->certs;
    struct zb_err err;

    if (c == NULL) {
        return;
    }
    a->certs = NULL;
    if (c->renewal != NULL) {
        (void)zb_err_set(&err, ZB_E_CLOSED, "zbatond is ending");
        renewal_end(c->renewal, &err);
    }
    uv_close((uv_handle_t *)&c->timer, on_closed);
}
