/* Making keys, requests and certificates; what is read and checked is in pki_check.c. */
#include "net/pki.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/log.h"
#include "net/x509.h"

#define SKEW_SECONDS (24 * 3600) /* a new node's clock may be behind ours */

void
zb_pki_text_free(char *text)
{
    if (text != NULL) {
        OPENSSL_cleanse(text, strlen(text));
        free(text);
    }
}

/* The bytes of a memory BIO as a heap string; wipes (BIO_s_secmem does) and frees the BIO. */
static char *
text_of_bio(BIO *bio)
{
    char *bytes;
    long length = BIO_get_mem_data(bio, &bytes);
    char *text = malloc((size_t)length + 1);
    if (text == NULL) {
        zb_out_of_memory();
    }
    memcpy(text, bytes, (size_t)length);
    text[length] = '\0';
    BIO_free(bio);
    return text;
}

static BIO *
bio_new(void)
{
    BIO *bio = BIO_new(BIO_s_secmem()); /* cleared when freed */
    if (bio == NULL) {
        zb_out_of_memory();
    }
    return bio;
}

static enum zb_rc
cert_text(X509 *cert, char **out, struct zb_err *err)
{
    BIO *bio = bio_new();
    if (PEM_write_bio_X509(bio, cert) != 1) {
        BIO_free(bio);
        return zb_x509_err(err, ZB_E_FAILED, "write certificate");
    }
    *out = text_of_bio(bio);
    return ZB_OK;
}

static enum zb_rc
key_text(EVP_PKEY *key, char **out, struct zb_err *err)
{
    BIO *bio = bio_new();
    if (PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1) {
        BIO_free(bio);
        return zb_x509_err(err, ZB_E_FAILED, "write private key");
    }
    *out = text_of_bio(bio);
    return ZB_OK;
}

enum zb_rc
zb_pki_key_create(char **key_pem, struct zb_err *err)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    if (key == NULL) {
        return zb_x509_err(err, ZB_E_FAILED, "make a P-256 key");
    }
    enum zb_rc rc = key_text(key, key_pem, err);
    EVP_PKEY_free(key);
    return rc;
}

static bool
name_set(X509_NAME *name, const char *common_name)
{
    return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)common_name,
                                      -1, -1, 0) == 1;
}

enum zb_rc
zb_pki_csr_create(struct zb_pem key, const char *node, char **csr_pem, struct zb_err *err)
{
    EVP_PKEY *pkey = NULL;
    X509_REQ *csr = X509_REQ_new();
    BIO *bio = bio_new();
    enum zb_rc rc;

    if (!zb_node_name_valid(node)) {
        rc = zb_err_set(err, ZB_E_USAGE, "\"%s\" is not a node name", node);
        goto out;
    }
    rc = zb_x509_key_load(key, &pkey, err);
    if (rc != ZB_OK) {
        goto out;
    }
    if (csr == NULL || X509_REQ_set_version(csr, X509_REQ_VERSION_1) != 1 ||
        !name_set(X509_REQ_get_subject_name(csr), node) || X509_REQ_set_pubkey(csr, pkey) != 1 ||
        X509_REQ_sign(csr, pkey, EVP_sha256()) <= 0 || PEM_write_bio_X509_REQ(bio, csr) != 1) {
        rc = zb_x509_err(err, ZB_E_FAILED, "make a certificate request");
        goto out;
    }
    *csr_pem = text_of_bio(bio);
    bio = NULL;
out:
    BIO_free(bio);
    X509_REQ_free(csr);
    EVP_PKEY_free(pkey);
    return rc;
}

/* Random serial of 127 bits, validity from a day ago, version 3. */
static bool
cert_start(X509 *cert, int days)
{
    uint8_t random[16];
    zb_random(random, sizeof random);
    random[0] = (uint8_t)((random[0] & 0x7f) | 0x40); /* positive, always 16 bytes */
    BIGNUM *serial = BN_bin2bn(random, sizeof random, NULL);
    bool done = serial != NULL && X509_set_version(cert, X509_VERSION_3) == 1 &&
                BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(cert)) != NULL &&
                X509_gmtime_adj(X509_getm_notBefore(cert), -SKEW_SECONDS) != NULL &&
                X509_time_adj_ex(X509_getm_notAfter(cert), days, 0, NULL) != NULL;
    BN_free(serial);
    return done;
}

struct extension {
    int nid;
    const char *value;
};

static bool
extensions_add(X509 *cert, X509 *issuer, const struct extension *list, size_t count)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    for (size_t i = 0; i < count; i++) {
        X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, list[i].nid, list[i].value);
        bool added = ext != NULL && X509_add_ext(cert, ext, -1) == 1;
        X509_EXTENSION_free(ext);
        if (!added) {
            return false;
        }
    }
    return true;
}

static bool
ca_fill(X509 *cert, EVP_PKEY *key, const char *common_name)
{
    static const struct extension list[] = {
        {NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
        {NID_key_usage, "critical,keyCertSign,cRLSign"},
        {NID_subject_key_identifier, "hash"},
    };
    X509_NAME *name = X509_get_subject_name(cert);
    return cert_start(cert, ZB_PKI_CA_DAYS) && name_set(name, common_name) &&
           X509_set_issuer_name(cert, name) == 1 && X509_set_pubkey(cert, key) == 1 &&
           extensions_add(cert, cert, list, sizeof list / sizeof list[0]) &&
           X509_sign(cert, key, EVP_sha256()) > 0;
}

static enum zb_rc
ca_create(const char *common_name, char **cert_pem, char **key_pem, struct zb_err *err)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    char *cert_out = NULL;
    enum zb_rc rc;

    if (key == NULL || cert == NULL || !ca_fill(cert, key, common_name)) {
        rc = zb_x509_err(err, ZB_E_FAILED, "make a CA");
        goto out;
    }
    rc = cert_text(cert, &cert_out, err);
    if (rc == ZB_OK) {
        rc = key_text(key, key_pem, err);
    }
    if (rc == ZB_OK) {
        *cert_pem = cert_out;
        cert_out = NULL;
    }
out:
    zb_pki_text_free(cert_out);
    X509_free(cert);
    EVP_PKEY_free(key);
    return rc;
}

enum zb_rc
zb_pki_ca_create(const char *cluster_name, char **cert_pem, char **key_pem, struct zb_err *err)
{
    if (!zb_node_name_valid(cluster_name)) {
        return zb_err_set(err, ZB_E_USAGE, "\"%s\" is not a cluster name", cluster_name);
    }
    /* X.520 limits a CN to 64 characters; "zbaton CA " and 54 of the name tell clusters apart. */
    char common_name[65];
    (void)snprintf(common_name, sizeof common_name, "zbaton CA %.54s", cluster_name);
    return ca_create(common_name, cert_pem, key_pem, err);
}

enum zb_rc
zb_pki_etcd_ca_create(char **cert_pem, char **key_pem, struct zb_err *err)
{
    return ca_create("zbaton etcd CA", cert_pem, key_pem, err);
}

static bool
node_fill(X509 *cert, X509 *ca, EVP_PKEY *ca_key, EVP_PKEY *key, const char *node)
{
    char san[ZB_NODE_NAME_SIZE + 8];
    (void)snprintf(san, sizeof san, "DNS:%s", node);
    const struct extension list[] = {
        {NID_basic_constraints, "critical,CA:FALSE"},
        {NID_key_usage, "critical,digitalSignature"},
        {NID_ext_key_usage, "serverAuth,clientAuth"},
        {NID_subject_alt_name, san},
        {NID_subject_key_identifier, "hash"},
        {NID_authority_key_identifier, "keyid:always"},
    };
    return cert_start(cert, ZB_PKI_NODE_DAYS) && name_set(X509_get_subject_name(cert), node) &&
           X509_set_issuer_name(cert, X509_get_subject_name(ca)) == 1 &&
           X509_set_pubkey(cert, key) == 1 &&
           extensions_add(cert, ca, list, sizeof list / sizeof list[0]) &&
           X509_sign(cert, ca_key, EVP_sha256()) > 0;
}

enum zb_rc
zb_pki_sign(struct zb_pem ca_cert, struct zb_pem ca_key, struct zb_pem csr, const char *node,
            char **cert_pem, struct zb_err *err)
{
    X509 *ca = NULL, *cert = X509_new();
    EVP_PKEY *key = NULL;
    X509_REQ *request = NULL;
    enum zb_rc rc = zb_pki_csr_check(csr, node, err);

    if (rc == ZB_OK) {
        rc = zb_x509_cert_load(ca_cert, &ca, err);
    }
    if (rc == ZB_OK) {
        rc = zb_x509_key_load(ca_key, &key, err);
    }
    if (rc == ZB_OK) {
        rc = zb_x509_csr_load(csr, &request, err);
    }
    if (rc != ZB_OK) {
        goto out;
    }
    if (X509_check_private_key(ca, key) != 1) {
        ERR_clear_error();
        rc = zb_err_set(err, ZB_E_MISMATCH, "%s: not the key of %s", ca_key.name, ca_cert.name);
        goto out;
    }
    if (cert == NULL || !node_fill(cert, ca, key, X509_REQ_get0_pubkey(request), node)) {
        rc = zb_x509_err(err, ZB_E_FAILED, "sign a certificate");
        goto out;
    }
    rc = cert_text(cert, cert_pem, err);
out:
    X509_REQ_free(request);
    EVP_PKEY_free(key);
    X509_free(cert);
    X509_free(ca);
    return rc;
}

static bool
etcd_fill(X509 *cert, X509 *ca, EVP_PKEY *ca_key, EVP_PKEY *key, const char *san)
{
    const struct extension list[] = {
        {NID_basic_constraints, "critical,CA:FALSE"},
        {NID_key_usage, "critical,digitalSignature"},
        {NID_ext_key_usage, san != NULL ? "serverAuth,clientAuth" : "clientAuth"},
        {NID_subject_key_identifier, "hash"},
        {NID_authority_key_identifier, "keyid:always"},
        {NID_subject_alt_name, san},
    };
    size_t count = sizeof list / sizeof list[0] - (san == NULL ? 1 : 0);
    const unsigned char *unit = (const unsigned char *)(san != NULL ? "etcd" : "client of etcd");
    X509_NAME *name = X509_get_subject_name(cert);
    return cert_start(cert, ZB_PKI_NODE_DAYS) &&
           X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, (const unsigned char *)"zbaton", -1,
                                      -1, 0) == 1 &&
           X509_NAME_add_entry_by_txt(name, "OU", MBSTRING_ASC, unit, -1, -1, 0) == 1 &&
           X509_set_issuer_name(cert, X509_get_subject_name(ca)) == 1 &&
           X509_set_pubkey(cert, key) == 1 && extensions_add(cert, ca, list, count) &&
           X509_sign(cert, ca_key, EVP_sha256()) > 0;
}

enum zb_rc
zb_pki_etcd_cert_create(struct zb_pem ca_cert, struct zb_pem ca_key, const char *name,
                        const char *address, struct zb_pki_pair *out, struct zb_err *err)
{
    char san[ZB_NODE_NAME_SIZE + INET6_ADDRSTRLEN + 64];
    struct in6_addr binary;
    struct zb_pki_pair pair = {0};
    X509 *ca = NULL, *cert = X509_new();
    EVP_PKEY *signer = NULL, *key = NULL;

    if (name != NULL &&
        (!zb_node_name_valid(name) || (inet_pton(AF_INET, address, &binary) != 1 &&
                                       inet_pton(AF_INET6, address, &binary) != 1))) {
        X509_free(cert);
        return zb_err_set(err, ZB_E_USAGE, "%.64s=%.64s: no name with a numeric address", name,
                          address);
    }
    (void)snprintf(san, sizeof san, "DNS:%s,IP:%s,DNS:localhost,IP:127.0.0.1,IP:::1",
                   name != NULL ? name : "", name != NULL ? address : "");
    enum zb_rc rc = zb_x509_cert_load(ca_cert, &ca, err);
    if (rc == ZB_OK) {
        rc = zb_x509_key_load(ca_key, &signer, err);
    }
    if (rc == ZB_OK && X509_check_private_key(ca, signer) != 1) {
        ERR_clear_error();
        rc = zb_err_set(err, ZB_E_MISMATCH, "%s: not the key of %s", ca_key.name, ca_cert.name);
    }
    if (rc == ZB_OK && (cert == NULL || (key = EVP_EC_gen("P-256")) == NULL ||
                        !etcd_fill(cert, ca, signer, key, name != NULL ? san : NULL))) {
        rc = zb_x509_err(err, ZB_E_FAILED, "make a certificate for etcd");
    }
    if (rc == ZB_OK) {
        rc = cert_text(cert, &pair.cert, err);
    }
    if (rc == ZB_OK) {
        rc = key_text(key, &pair.key, err);
    }
    if (rc == ZB_OK) {
        *out = pair;
    } else {
        zb_pki_text_free(pair.cert);
    }
    EVP_PKEY_free(key);
    EVP_PKEY_free(signer);
    X509_free(cert);
    X509_free(ca);
    return rc;
}
