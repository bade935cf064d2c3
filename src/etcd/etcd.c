/* The client: who is asked, until when, and the callbacks. */
#include "etcd/internal.h"

#include <signal.h>
#include <stdarg.h>
#include <string.h>

void
zb_etcd_secret_free(char *text)
{
    if (text != NULL) {
        explicit_bzero(text, strlen(text));
        free(text);
    }
}

/* --- requests --- */

static void on_deadline(uv_timer_t *timer);

/* The timer stands at the earliest deadline, or at once when a callback is due. */
static void
deadline_arm(struct zb_etcd *etcd)
{
    uint64_t earliest = UINT64_MAX;

    uv_update_time(etcd->deadline.loop);
    uint64_t now = uv_now(etcd->deadline.loop);
    for (size_t i = 0; i < etcd->requests_count; i++) {
        const struct zb_etcd_request *r = etcd->requests[i];
        uint64_t due = r->state == ZB_ETCD_DONE || r->deadline_ms < now ? now : r->deadline_ms;
        earliest = due < earliest ? due : earliest;
    }
    if (earliest == UINT64_MAX) {
        (void)uv_timer_stop(&etcd->deadline);
    } else {
        (void)uv_timer_start(&etcd->deadline, on_deadline, earliest - now, 0);
    }
}

/* One that is not in the list. */
static void
request_free(struct zb_etcd_request *r)
{
    zb_etcd_attempt_end(r);
    zb_etcd_answer_close(&r->answer);
    zb_etcd_asked_close(&r->asked);
    free(r->body);
    free(r);
}

/* From the list; the caller has it then. */
static struct zb_etcd_request *
request_remove(struct zb_etcd *etcd, size_t at)
{
    struct zb_etcd_request *r = etcd->requests[at];

    if (r->state != ZB_ETCD_DONE) {
        etcd->running_count--;
    }
    etcd->requests_count--;
    memmove(&etcd->requests[at], &etcd->requests[at + 1],
            (etcd->requests_count - at) * sizeof(struct zb_etcd_request *));
    return r;
}

/* True for what says nothing about the endpoint. */
static bool
endpoint_good(enum zb_rc rc)
{
    return rc == ZB_OK || rc == ZB_E_USAGE || rc == ZB_E_LIMIT || rc == ZB_E_REFUSED ||
           rc == ZB_E_STALE;
}

void
zb_etcd_request_finish(struct zb_etcd_request *r, enum zb_rc rc, const char *fmt, ...)
{
    struct zb_etcd *etcd = r->etcd;
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(r->answer.text, sizeof r->answer.text, fmt, args);
    va_end(args);
    r->answer.rc = rc;
    r->answer.endpoint = r->body != NULL ? etcd->endpoints[r->endpoint] : "";
    zb_etcd_attempt_end(r);
    r->state = ZB_ETCD_DONE;
    etcd->running_count--;
    /* Of several that fail at once, one moves on. */
    if (!endpoint_good(rc) && r->endpoint == etcd->endpoint) {
        etcd->endpoint = (etcd->endpoint + 1) % etcd->endpoints_count;
    }
    deadline_arm(etcd);
}

/* The first whose callback is due, not later than that one; requests_count when there is none. */
static size_t
done_find(const struct zb_etcd *etcd, uint64_t last_id)
{
    size_t i = 0;

    while (i < etcd->requests_count && etcd->requests[i]->state != ZB_ETCD_DONE) {
        i++;
    }
    return i < etcd->requests_count && etcd->requests[i]->id > last_id ? etcd->requests_count : i;
}

/* Those that a callback adds come in the next turn. A callback may free all. */
static void
callbacks_run(struct zb_etcd *etcd)
{
    uint64_t last_id = etcd->ids_count;
    size_t at;

    while ((at = done_find(etcd, last_id)) < etcd->requests_count) {
        struct zb_etcd_request *r = request_remove(etcd, at);
        r->cb(r->ctx, &r->answer);
        request_free(r);
    }
}

static void
on_deadline(uv_timer_t *timer)
{
    struct zb_etcd *etcd = timer->data;
    uint64_t now = uv_now(timer->loop);

    for (size_t i = 0; i < etcd->requests_count; i++) {
        struct zb_etcd_request *r = etcd->requests[i];
        if (r->state != ZB_ETCD_DONE && r->deadline_ms <= now) {
            zb_etcd_request_finish(r, ZB_E_TIMEOUT, "no answer within %u ms", etcd->request_ms);
        }
    }
    callbacks_run(etcd);
    if (!etcd->freed) {
        deadline_arm(etcd);
    }
}

static struct zb_etcd_request *
request_new(struct zb_etcd *etcd, zb_etcd_cb *cb, void *ctx)
{
    struct zb_etcd_request *r = must(calloc(1, sizeof *r));

    uv_update_time(etcd->deadline.loop);
    r->etcd = etcd;
    r->id = ++etcd->ids_count;
    r->cb = cb;
    r->ctx = ctx;
    r->endpoint = etcd->endpoint;
    r->deadline_ms = uv_now(etcd->deadline.loop) + etcd->request_ms;
    size_t size = (etcd->requests_count + 1) * sizeof(struct zb_etcd_request *);
    etcd->requests = must(realloc(etcd->requests, size));
    etcd->requests[etcd->requests_count++] = r;
    etcd->running_count++;
    return r;
}

static void
request_begin(struct zb_etcd_request *r, enum zb_rc rc, const struct zb_err *err)
{
    if (rc != ZB_OK) {
        zb_etcd_request_finish(r, rc, "%s", err->msg);
    } else if (r->etcd->running_count > ZB_ETCD_REQUESTS_MAX) {
        zb_etcd_request_finish(r, ZB_E_LIMIT, "more than %d requests at once",
                               ZB_ETCD_REQUESTS_MAX);
    } else {
        zb_etcd_attempt_begin(r);
        deadline_arm(r->etcd);
    }
}

void
zb_etcd_txn(struct zb_etcd *etcd, const struct zb_etcd_txn *txn, zb_etcd_cb *cb, void *ctx)
{
    struct zb_etcd_request *r = request_new(etcd, cb, ctx);
    struct zb_err err;
    enum zb_rc rc = zb_etcd_txn_encode(txn, &r->body, &r->asked, &err);

    request_begin(r, rc, &err);
}

void
zb_etcd_compact(struct zb_etcd *etcd, int64_t revision, zb_etcd_cb *cb, void *ctx)
{
    struct zb_etcd_request *r = request_new(etcd, cb, ctx);
    struct zb_err err;
    enum zb_rc rc = zb_etcd_compact_encode(revision, &r->body, &err);

    r->asked.call = ZB_ETCD_CALL_COMPACT;
    request_begin(r, rc, &err);
}

/* --- new and free --- */

static enum zb_rc
options_check(const struct zb_etcd_options *o, struct zb_err *err)
{
    if (o->endpoints_count == 0 || o->endpoints_count > ZB_ETCD_ENDPOINTS_MAX) {
        return zb_err_set(err, ZB_E_USAGE, "%u endpoints, at least 1 and at most %d",
                          o->endpoints_count, ZB_ETCD_ENDPOINTS_MAX);
    }
    if (o->request_ms == 0 || o->request_ms > ZB_ETCD_REQUEST_MS_MAX) {
        return zb_err_set(err, ZB_E_USAGE, "a request of %u ms, at least 1 and at most %d",
                          o->request_ms, ZB_ETCD_REQUEST_MS_MAX);
    }
    if ((o->cert == NULL) != (o->key == NULL) || (o->user == NULL) != (o->password == NULL)) {
        return zb_err_set(err, ZB_E_USAGE, "certificate and key, user and password: both or none");
    }
    for (uint32_t i = 0; i < o->endpoints_count; i++) {
        bool tls;
        enum zb_rc rc = zb_etcd_endpoint_check(o->endpoints[i], &tls, err);
        if (rc == ZB_OK && tls && o->ca == NULL) {
            rc = zb_err_set(err, ZB_E_USAGE, "endpoint %s needs a CA", o->endpoints[i]);
        }
        if (rc != ZB_OK) {
            return rc;
        }
    }
    return ZB_OK;
}

static char *
text_copy(const char *text)
{
    return text != NULL ? must(strdup(text)) : NULL;
}

enum zb_rc
zb_etcd_new(const struct zb_etcd_options *options, struct zb_etcd **out, struct zb_err *err)
{
    enum zb_rc rc = options_check(options, err);

    if (rc != ZB_OK) {
        return rc;
    }
    struct zb_etcd *etcd = must(calloc(1, sizeof *etcd));
    rc = zb_etcd_multi_open(etcd, err);
    if (rc != ZB_OK) {
        free(etcd);
        return rc;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    (void)uv_timer_init(options->loop, &etcd->deadline);
    (void)uv_timer_init(options->loop, &etcd->curl_timer);
    etcd->deadline.data = etcd->curl_timer.data = etcd;
    etcd->endpoints_count = options->endpoints_count;
    for (uint32_t i = 0; i < options->endpoints_count; i++) {
        zb_strcopy(etcd->endpoints[i], sizeof etcd->endpoints[i], options->endpoints[i]);
    }
    etcd->identity = (struct zb_etcd_identity){.ca = text_copy(options->ca),
                                               .cert = text_copy(options->cert),
                                               .key = text_copy(options->key),
                                               .user = text_copy(options->user),
                                               .password = text_copy(options->password)};
    etcd->request_ms = options->request_ms;
    *out = etcd;
    return ZB_OK;
}

static void
on_close(uv_handle_t *handle)
{
    struct zb_etcd *etcd = handle->data;

    if (--etcd->closing_count == 0) {
        free(etcd);
    }
}

void
zb_etcd_free(struct zb_etcd *etcd)
{
    if (etcd == NULL) {
        return;
    }
    while (etcd->requests_count > 0) {
        request_free(request_remove(etcd, etcd->requests_count - 1));
    }
    free(etcd->requests);
    etcd->requests = NULL;
    zb_etcd_multi_close(etcd);
    free(etcd->identity.ca);
    free(etcd->identity.cert);
    zb_etcd_secret_free(etcd->identity.key);
    free(etcd->identity.user);
    zb_etcd_secret_free(etcd->identity.password);
    zb_etcd_secret_free(etcd->token);
    etcd->freed = true;
    etcd->closing_count = 2;
    uv_close((uv_handle_t *)&etcd->deadline, on_close);
    uv_close((uv_handle_t *)&etcd->curl_timer, on_close);
}
