/* One attempt at one endpoint: the transfers it takes, and what their ends mean. */
#include "etcd/internal.h"

#include <inttypes.h>
#include <string.h>

#define URL_SIZE (ZB_ETCD_ENDPOINT_SIZE + 32)

static size_t
on_body(char *bytes, size_t one, size_t size, void *ctx)
{
    struct zb_etcd_request *r = ctx;

    (void)one;
    if (size > ZB_ETCD_ANSWER_MAX - r->got_size) {
        r->got_too_much = true;
        return 0; /* ends the transfer */
    }
    r->got = must(realloc(r->got, r->got_size + size + 1));
    memcpy(r->got + r->got_size, bytes, size);
    r->got_size += size;
    return size;
}

/* Before the request is written to a connection. libcurl does so again by itself when one that it
 * had kept ends without an answer; but the first may have been done. */
static int
on_send(void *ctx, char *there_ip, char *here_ip, int there_port, int here_port)
{
    struct zb_etcd_request *r = ctx;

    (void)there_ip, (void)here_ip, (void)there_port, (void)here_port;
    if (r->sent) {
        return CURL_PREREQFUNC_ABORT;
    }
    r->sent = true;
    return CURL_PREREQFUNC_OK;
}

/* The first option that is not taken decides. */
#define SET(option, value)                                                                         \
    do {                                                                                           \
        if (rc == CURLE_OK) {                                                                      \
            rc = curl_easy_setopt(easy, option, value);                                            \
        }                                                                                          \
    } while (0)

static CURLcode
blob_set(CURL *easy, CURLoption option, char *text)
{
    struct curl_blob blob = {.data = text, .len = strlen(text), .flags = CURL_BLOB_NOCOPY};

    return curl_easy_setopt(easy, option, &blob);
}

/* Only the given CA is believed: not the host's. */
static CURLcode
tls_set(CURL *easy, const struct zb_etcd_identity *identity)
{
    CURLcode rc = CURLE_OK;

    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_CAPATH, NULL);
    SET(CURLOPT_CAINFO, NULL);
    if (rc == CURLE_OK && identity->ca != NULL) {
        rc = blob_set(easy, CURLOPT_CAINFO_BLOB, identity->ca);
    }
    if (identity->cert != NULL) {
        SET(CURLOPT_SSLCERTTYPE, "PEM");
        SET(CURLOPT_SSLKEYTYPE, "PEM");
        rc = rc == CURLE_OK ? blob_set(easy, CURLOPT_SSLCERT_BLOB, identity->cert) : rc;
        rc = rc == CURLE_OK ? blob_set(easy, CURLOPT_SSLKEY_BLOB, identity->key) : rc;
    }
    return rc;
}

static CURLcode
transfer_set(struct zb_etcd_request *r, const char *url, const char *body)
{
    CURL *easy = r->easy;
    CURLcode rc = tls_set(easy, &r->etcd->identity);

    SET(CURLOPT_URL, url);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_PROXY, ""); /* whatever the environment says */
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    /* One request per connection: HTTP/2 would put all of them on one that may be stuck. */
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_POSTFIELDSIZE, (long)strlen(body));
    SET(CURLOPT_POSTFIELDS, body);
    SET(CURLOPT_HTTPHEADER, r->headers);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, r);
    SET(CURLOPT_PREREQFUNCTION, on_send);
    SET(CURLOPT_PREREQDATA, r);
    SET(CURLOPT_ERRORBUFFER, r->reason);
    SET(CURLOPT_PRIVATE, r);
    return rc;
}

static void
header_add(struct zb_etcd_request *r, const char *line)
{
    r->headers = must(curl_slist_append(r->headers, line));
}

static void
headers_make(struct zb_etcd_request *r)
{
    header_add(r, "Content-Type: application/json");
    header_add(r, "Grpc-Metadata-hasleader: true"); /* a member without a leader says so at once */
    header_add(r, "Expect:");
    if (r->token != NULL) {
        static const char name[] = "Authorization: ";
        size_t size = sizeof name + strlen(r->token);
        char *line = must(malloc(size));
        (void)snprintf(line, size, "%s%s", name, r->token);
        header_add(r, line);
        zb_etcd_secret_free(line);
    }
}

void
zb_etcd_attempt_end(struct zb_etcd_request *r)
{
    if (r->easy != NULL) {
        (void)curl_multi_remove_handle(r->etcd->multi, r->easy);
        curl_easy_cleanup(r->easy);
    }
    for (struct curl_slist *h = r->headers; h != NULL; h = h->next) {
        explicit_bzero(h->data, strlen(h->data));
    }
    curl_slist_free_all(r->headers);
    if (r->got != NULL) {
        explicit_bzero(r->got, r->got_size); /* may be a token */
    }
    free(r->got);
    zb_etcd_secret_free(r->login);
    zb_etcd_secret_free(r->token);
    r->easy = NULL;
    r->headers = NULL;
    r->got = r->login = r->token = NULL;
    r->got_size = 0;
    r->sent = r->got_too_much = false;
}

static void
transfer_begin(struct zb_etcd_request *r, const char *path, const char *body)
{
    char url[URL_SIZE];

    (void)snprintf(url, sizeof url, "%s%s", r->etcd->endpoints[r->endpoint], path);
    r->reason[0] = '\0';
    r->easy = must(curl_easy_init());
    headers_make(r);
    CURLcode rc = transfer_set(r, url, body);
    if (rc == CURLE_OK && curl_multi_add_handle(r->etcd->multi, r->easy) != CURLM_OK) {
        rc = CURLE_FAILED_INIT;
    }
    if (rc != CURLE_OK) {
        zb_etcd_request_finish(r, ZB_E_FAILED, "libcurl: %s", curl_easy_strerror(rc));
    }
}

void
zb_etcd_attempt_begin(struct zb_etcd_request *r)
{
    static const char *const paths[] = {
        [ZB_ETCD_CALL_TXN] = "/v3/kv/txn", [ZB_ETCD_CALL_COMPACT] = "/v3/kv/compaction"};
    struct zb_etcd *etcd = r->etcd;
    const struct zb_etcd_identity *identity = &etcd->identity;

    zb_etcd_attempt_end(r);
    if (identity->user != NULL && etcd->token == NULL && !etcd->login_not_needed) {
        r->state = ZB_ETCD_LOGIN;
        r->login = zb_etcd_login_encode(identity->user, identity->password);
        transfer_begin(r, "/v3/auth/authenticate", r->login);
        return;
    }
    r->state = ZB_ETCD_CALL;
    r->token = etcd->token != NULL ? must(strdup(etcd->token)) : NULL;
    transfer_begin(r, paths[r->asked.call], r->body);
}

/* --- ends --- */

static void
broken(struct zb_etcd_request *r, CURLcode code)
{
    const char *reason = code == CURLE_ABORTED_BY_CALLBACK
                             ? "the connection ended without an answer"
                         : r->reason[0] != '\0' ? r->reason
                                                : curl_easy_strerror(code);
    bool sent = r->sent && r->state == ZB_ETCD_CALL;
    enum zb_rc rc = sent ? ZB_E_CLOSED : ZB_E_FAILED;

    if (r->got_too_much) {
        zb_etcd_request_finish(r, rc, "an answer of more than %u bytes", ZB_ETCD_ANSWER_MAX);
        return;
    }
    if (!sent && (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CERTPROBLEM ||
                  code == CURLE_SSL_CACERT_BADFILE || code == CURLE_SSL_CLIENTCERT)) {
        rc = ZB_E_AUTH;
    }
    zb_etcd_request_finish(r, rc, "%s", reason);
}

/* A login changes nothing: whatever became of it, the request itself was not sent. */
static void
login_done(struct zb_etcd_request *r, long status)
{
    struct zb_etcd *etcd = r->etcd;
    struct zb_etcd_refusal refusal;
    struct zb_err err;
    char *token = NULL;

    if (status == 200) {
        if (zb_etcd_login_decode(r->got, r->got_size, &token, &err) != ZB_OK) {
            zb_etcd_request_finish(r, ZB_E_FAILED, "%s", err.msg);
            return;
        }
        zb_etcd_secret_free(etcd->token);
        etcd->token = token;
        r->logged_in = true;
        zb_etcd_attempt_begin(r);
        return;
    }
    zb_etcd_refusal_decode(status, r->got, r->got_size, &refusal);
    if (refusal.login_not_needed) {
        etcd->login_not_needed = true;
        r->logged_in = true;
        zb_etcd_attempt_begin(r);
        return;
    }
    zb_etcd_request_finish(r, refusal.rc == ZB_E_CLOSED ? ZB_E_FAILED : refusal.rc, "login: %s",
                           refusal.text);
}

/* True when the attempt goes on: with a token that another request got, or after a login. */
static bool
token_renew(struct zb_etcd_request *r)
{
    struct zb_etcd *etcd = r->etcd;

    if (etcd->identity.user == NULL || r->logged_in) {
        return false;
    }
    if (etcd->token != NULL && r->token != NULL && strcmp(etcd->token, r->token) == 0) {
        zb_etcd_secret_free(etcd->token);
        etcd->token = NULL;
    }
    etcd->login_not_needed = false;
    zb_etcd_attempt_begin(r);
    return true;
}

/* A member of a lower term than one before has not heard of the leader since; but one that was
 * restored from a backup begins with a low one, and is believed the next time. A cluster of another
 * id begins anew; that it is another one, or went back, is for the caller to see. */
static bool
term_check(struct zb_etcd *etcd, const struct zb_etcd_answer *answer)
{
    bool good = answer->cluster_id != etcd->cluster_id || answer->raft_term >= etcd->raft_term;

    etcd->cluster_id = answer->cluster_id;
    etcd->raft_term = answer->raft_term;
    return good;
}

static void
call_done(struct zb_etcd_request *r, long status)
{
    struct zb_etcd_answer answer = {0};
    struct zb_etcd_refusal refusal;
    struct zb_err err;

    if (status != 200) {
        zb_etcd_refusal_decode(status, r->got, r->got_size, &refusal);
        if (!refusal.token || !token_renew(r)) {
            zb_etcd_request_finish(r, refusal.rc, "%s", refusal.text);
        }
        return;
    }
    if (zb_etcd_answer_decode(r->got, r->got_size, &r->asked, &answer, &err) != ZB_OK) {
        zb_etcd_request_finish(r, ZB_E_CLOSED, "%s", err.msg);
        return;
    }
    if (!term_check(r->etcd, &answer)) {
        zb_etcd_request_finish(r, ZB_E_CLOSED, "its raft term went back to %" PRIu64,
                               answer.raft_term);
        zb_etcd_answer_close(&answer);
        return;
    }
    r->answer = answer;
    zb_etcd_request_finish(r, ZB_OK, "%s", "");
}

void
zb_etcd_attempt_done(struct zb_etcd_request *r, CURLcode code)
{
    long status = 0;

    if (code != CURLE_OK ||
        curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status) != CURLE_OK) {
        broken(r, code);
    } else if (r->state == ZB_ETCD_LOGIN) {
        login_done(r, status);
    } else {
        call_done(r, status);
    }
}
