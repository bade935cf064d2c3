/* Reading and checking certificates and requests. */
#include "net/pki.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/log.h"
#include "net/x509.h"

/* The request's key is the curve that we make; anything else would be somebody else's program. */
static bool
key_is_p256(EVP_PKEY *key)
{
    char group[32] = "";
    return key != NULL && EVP_PKEY_get_group_name(key, group, sizeof group, NULL) == 1 &&
           strcmp(group, "prime256v1") == 0;
}

enum zb_rc
zb_pki_csr_check(struct zb_pem csr, const char *node, struct zb_err *err)
{
    X509_REQ *request = NULL;
    char name[ZB_NODE_NAME_SIZE];
    enum zb_rc rc = zb_x509_csr_load(csr, &request, err);

    if (rc != ZB_OK) {
        return rc;
    }
    EVP_PKEY *key = X509_REQ_get0_pubkey(request);
    if (!key_is_p256(key)) {
        rc = zb_err_set(err, ZB_E_FORMAT, "%s: its key is not a P-256 key", csr.name);
    } else if (X509_REQ_verify(request, key) != 1) {
        rc = zb_err_set(err, ZB_E_AUTH, "%s: not signed by its own key", csr.name);
    } else if (!zb_x509_common_name(X509_REQ_get_subject_name(request), name, sizeof name) ||
               !zb_node_name_valid(name)) {
        rc = zb_err_set(err, ZB_E_FORMAT, "%s: its common name is not a node name", csr.name);
    } else if (strcmp(name, node) != 0) {
        rc = zb_err_set(err, ZB_E_AUTH, "%s: made for node %s, not for %s", csr.name, name, node);
    }
    ERR_clear_error();
    X509_REQ_free(request);
    return rc;
}

static bool
time_parse(const ASN1_TIME *from, struct zb_wall *to)
{
    struct tm tm;
    if (ASN1_TIME_to_tm(from, &tm) != 1) {
        return false;
    }
    to->s = timegm(&tm);
    return true;
}

enum zb_rc
zb_pki_cert_info(struct zb_pem cert, struct zb_pki_cert_info *info, struct zb_err *err)
{
    X509 *x509 = NULL;
    struct zb_pki_cert_info found = {0};
    enum zb_rc rc = zb_x509_cert_load(cert, &x509, err);

    if (rc != ZB_OK) {
        return rc;
    }
    if (!zb_x509_common_name(X509_get_subject_name(x509), found.common_name,
                             sizeof found.common_name)) {
        rc = zb_err_set(err, ZB_E_FORMAT, "%s: no single common name", cert.name);
    } else if (!time_parse(X509_get0_notBefore(x509), &found.not_before) ||
               !time_parse(X509_get0_notAfter(x509), &found.not_after)) {
        rc = zb_err_set(err, ZB_E_FORMAT, "%s: unreadable dates", cert.name);
    } else {
        zb_x509_fingerprint(x509, found.fingerprint);
        *info = found;
    }
    ERR_clear_error();
    X509_free(x509);
    return rc;
}

/* The chain cert -> ca, dates and use, in OpenSSL's words. */
static enum zb_rc
chain_check(X509 *ca, X509 *cert, const char *name, struct zb_err *err)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    enum zb_rc rc = ZB_OK;

    if (store == NULL || ctx == NULL || X509_STORE_add_cert(store, ca) != 1 ||
        X509_STORE_CTX_init(ctx, store, cert, NULL) != 1 ||
        X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_CLIENT) != 1) {
        zb_out_of_memory();
    }
    if (X509_verify_cert(ctx) != 1) {
        const char *reason = X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx));
        rc = zb_err_set(err, ZB_E_AUTH, "%s: %s", name, reason);
    }
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    return rc;
}

enum zb_rc
zb_pki_identity_check(struct zb_pem ca_cert, struct zb_pem cert, struct zb_pem key,
                      const char *node, struct zb_err *err)
{
    X509 *ca = NULL, *x509 = NULL;
    EVP_PKEY *pkey = NULL;
    char name[ZB_NODE_NAME_SIZE];
    enum zb_rc rc = zb_x509_cert_load(ca_cert, &ca, err);

    if (rc == ZB_OK) {
        rc = zb_x509_cert_load(cert, &x509, err);
    }
    if (rc == ZB_OK) {
        rc = zb_x509_key_load(key, &pkey, err);
    }
    if (rc == ZB_OK) {
        rc = chain_check(ca, x509, cert.name, err);
    }
    if (rc != ZB_OK) {
        goto out;
    }
    if (X509_check_private_key(x509, pkey) != 1) {
        rc = zb_err_set(err, ZB_E_MISMATCH, "%s: not the key of %s", key.name, cert.name);
    } else if (!zb_x509_common_name(X509_get_subject_name(x509), name, sizeof name)) {
        rc = zb_err_set(err, ZB_E_FORMAT, "%s: no single common name", cert.name);
    } else if (strcmp(name, node) != 0) {
        rc = zb_err_set(err, ZB_E_AUTH, "%s: is of node %s, not of %s", cert.name, name, node);
    }
out:
    ERR_clear_error();
    EVP_PKEY_free(pkey);
    X509_free(x509);
    X509_free(ca);
    return rc;
}
