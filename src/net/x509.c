#include "net/x509.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "base/log.h"

enum zb_rc
zb_x509_err(struct zb_err *err, enum zb_rc rc, const char *phrase)
{
    unsigned long code = ERR_peek_error();
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;

    zb_err_set(err, rc, "%s: %s", phrase, reason != NULL ? reason : "no reason given by OpenSSL");
    ERR_clear_error();
    return rc;
}

static enum zb_rc
text_bio(struct zb_pem pem, BIO **out, struct zb_err *err)
{
    size_t length = strnlen(pem.text, ZB_PKI_PEM_MAX + 1);
    if (length > ZB_PKI_PEM_MAX) {
        return zb_err_set(err, ZB_E_LIMIT, "%s: longer than %u bytes", pem.name, ZB_PKI_PEM_MAX);
    }
    *out = BIO_new_mem_buf(pem.text, (int)length);
    if (*out == NULL) {
        zb_out_of_memory();
    }
    return ZB_OK;
}

/* pem_password_cb: no passphrase, and no question on the terminal either. */
static int
no_passphrase(char *buf, int size, int rwflag, void *ctx)
{
    (void)buf;
    (void)size;
    (void)rwflag;
    (void)ctx;
    return -1;
}

static enum zb_rc
not_loaded(struct zb_err *err, struct zb_pem pem, const char *what)
{
    ERR_clear_error();
    if (pem.text[0] == '\0') {
        return zb_err_set(err, ZB_E_FORMAT, "%s: empty, expected %s", pem.name, what);
    }
    return zb_err_set(err, ZB_E_FORMAT, "%s: not %s in PEM form", pem.name, what);
}

enum zb_rc
zb_x509_cert_load(struct zb_pem pem, X509 **out, struct zb_err *err)
{
    BIO *bio = NULL;
    enum zb_rc rc = text_bio(pem, &bio, err);
    if (rc != ZB_OK) {
        return rc;
    }
    X509 *cert = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
    BIO_free(bio);
    if (cert == NULL) {
        return not_loaded(err, pem, "a certificate");
    }
    *out = cert;
    return ZB_OK;
}

enum zb_rc
zb_x509_key_load(struct zb_pem pem, EVP_PKEY **out, struct zb_err *err)
{
    BIO *bio = NULL;
    enum zb_rc rc = text_bio(pem, &bio, err);
    if (rc != ZB_OK) {
        return rc;
    }
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    BIO_free(bio);
    if (key == NULL) {
        return not_loaded(err, pem, "a private key without a passphrase");
    }
    *out = key;
    return ZB_OK;
}

enum zb_rc
zb_x509_csr_load(struct zb_pem pem, X509_REQ **out, struct zb_err *err)
{
    BIO *bio = NULL;
    enum zb_rc rc = text_bio(pem, &bio, err);
    if (rc != ZB_OK) {
        return rc;
    }
    X509_REQ *csr = PEM_read_bio_X509_REQ(bio, NULL, no_passphrase, NULL);
    BIO_free(bio);
    if (csr == NULL) {
        return not_loaded(err, pem, "a certificate request");
    }
    *out = csr;
    return ZB_OK;
}

bool
zb_x509_common_name(const X509_NAME *name, char *buf, size_t size)
{
    int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
    if (at < 0 || X509_NAME_get_index_by_NID(name, NID_commonName, at) >= 0) {
        return false;
    }
    unsigned char *text = NULL;
    int length =
        ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    bool fits = length > 0 && (size_t)length < size && memchr(text, '\0', (size_t)length) == NULL;
    if (fits) {
        memcpy(buf, text, (size_t)length);
        buf[length] = '\0';
    }
    OPENSSL_free(text);
    return fits;
}

void
zb_x509_fingerprint(const X509 *cert, char *buf)
{
    uint8_t digest[32];
    unsigned int length = 0;

    if (X509_digest(cert, EVP_sha256(), digest, &length) != 1 || length != sizeof digest) {
        zb_out_of_memory();
    }
    zb_hex_format(digest, sizeof digest, buf);
}

void
zb_hex_format(const uint8_t *bytes, size_t size, char *text)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < size; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    text[2 * size] = '\0';
}

/* 16 for what is not a lower hex digit. */
static unsigned
hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return (unsigned)(c - '0');
    }
    return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 16;
}

bool
zb_hex_parse(const char *text, uint8_t *bytes, size_t size)
{
    if (strnlen(text, 2 * size + 1) != 2 * size) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        unsigned high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);
        if (high > 15 || low > 15) {
            return false;
        }
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

bool
zb_fingerprint_valid(const char *s)
{
    uint8_t digest[32];
    return zb_hex_parse(s, digest, sizeof digest);
}
