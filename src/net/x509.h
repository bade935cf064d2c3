/*
 * Between PEM texts and OpenSSL's objects, with errors that name the file. For pki*.c, tls.c and
 * the join client; nobody outside net sees OpenSSL.
 */
#ifndef ZB_NET_X509_H
#define ZB_NET_X509_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "net/pki.h"

/* rc with the phrase and ": " and OpenSSL's first reason in its queue, which is emptied. */
enum zb_rc zb_x509_err(struct zb_err *err, enum zb_rc rc, const char *phrase);

/* The first certificate, key or request of the text. Owned by the caller. ZB_E_FORMAT naming
 * pem.name, ZB_E_LIMIT. A key with a passphrase is a format error: nobody is there to ask. */
enum zb_rc zb_x509_cert_load(struct zb_pem pem, X509 **out, struct zb_err *err) ZB_CHECKED;
enum zb_rc zb_x509_key_load(struct zb_pem pem, EVP_PKEY **out, struct zb_err *err) ZB_CHECKED;
enum zb_rc zb_x509_csr_load(struct zb_pem pem, X509_REQ **out, struct zb_err *err) ZB_CHECKED;

/* The only CN of a name, without NUL bytes, into buf of size bytes. False otherwise. */
bool zb_x509_common_name(const X509_NAME *name, char *buf, size_t size);
/* SHA-256 of the DER form as lower hex; buf of ZB_FINGERPRINT_SIZE. */
void zb_x509_fingerprint(const X509 *cert, char *buf);

/* size bytes as 2 * size lower hex digits and NUL. */
void zb_hex_format(const uint8_t *bytes, size_t size, char *text);
/* False unless text is exactly 2 * size lower hex digits. */
bool zb_hex_parse(const char *text, uint8_t *bytes, size_t size);

#endif
