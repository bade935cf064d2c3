/*
 * Keys and certificates: one private CA per cluster (EC P-256, 20 years), one key and certificate
 * per node (EC P-256, 5 years, CN and DNS SAN = node name). A node's key never leaves the node: it
 * signs a request (CSR), a holder of the CA key turns that into a certificate.
 *
 * Everything works on PEM texts in memory, so that the engine needs no files inside its chroot;
 * only zb_pki_file_* touch files (CLI, and the daemon before it drops privileges). Texts returned
 * through char ** are heap strings: release with zb_pki_text_free, which wipes them first.
 * Blocking: CPU only (under a millisecond each). Not bound to a thread.
 */
#ifndef ZB_NET_PKI_H
#define ZB_NET_PKI_H

#include <sys/types.h>

#include "base/types.h"

#define ZB_PKI_PEM_MAX (64u << 10) /* a PEM text or file; a longer one is refused, ZB_E_LIMIT */
#define ZB_PKI_CA_DAYS (20 * 365)
#define ZB_PKI_NODE_DAYS (5 * 365)
#define ZB_FINGERPRINT_SIZE 65 /* SHA-256 of the DER certificate, 64 lower hex digits, NUL */

/* A PEM text and what to call it in errors (its file's path, or "join reply"). Borrowed. */
struct zb_pem {
    const char *name;
    const char *text;
};

/* Both owned. */
struct zb_pki_pair {
    char *cert;
    char *key;
};

struct zb_pki_cert_info {
    char common_name[ZB_NODE_NAME_SIZE + 32]; /* a node's name; "zbaton CA <cluster>" */
    char fingerprint[ZB_FINGERPRINT_SIZE];
    struct zb_wall not_before;
    struct zb_wall not_after;
};

/* Wipes and frees; NULL is fine. */
void zb_pki_text_free(char *text);

/* New CA for a cluster (name as zb_node_name_valid): self-signed, path length 0, signs only
 * certificates. All or nothing. ZB_E_USAGE for a bad name, ZB_E_FAILED with OpenSSL's reason. */
enum zb_rc zb_pki_ca_create(const char *cluster_name, char **cert_pem, char **key_pem,
                            struct zb_err *err) ZB_CHECKED;

/* New private key, PKCS#8 PEM without a passphrase. */
enum zb_rc zb_pki_key_create(char **key_pem, struct zb_err *err) ZB_CHECKED;

/* Request with CN = node, signed by key. */
enum zb_rc zb_pki_csr_create(struct zb_pem key, const char *node, char **csr_pem,
                             struct zb_err *err) ZB_CHECKED;

/* The request is well formed, signed by its own P-256 key, and its only CN is node.
 * ZB_E_FORMAT, ZB_E_AUTH (naming both names). */
enum zb_rc zb_pki_csr_check(struct zb_pem csr, const char *node, struct zb_err *err) ZB_CHECKED;

/* Checks the request as zb_pki_csr_check and signs it: of the request only the public key is
 * taken, every extension is ours (server and client use, SAN = DNS:node). ZB_E_MISMATCH when the
 * CA's key is not of the CA's certificate. */
enum zb_rc zb_pki_sign(struct zb_pem ca_cert, struct zb_pem ca_key, struct zb_pem csr,
                       const char *node, char **cert_pem, struct zb_err *err) ZB_CHECKED;

/* What a certificate says; no chain is checked. */
enum zb_rc zb_pki_cert_info(struct zb_pem cert, struct zb_pki_cert_info *info,
                            struct zb_err *err) ZB_CHECKED;

/* cert is of this CA, valid now, for this node's name and this private key: what a node must have
 * before its daemon starts or a renewed certificate replaces the old one. ZB_E_AUTH (other CA,
 * expired: OpenSSL's words), ZB_E_MISMATCH (other key), ZB_E_FORMAT; errors name the file. */
enum zb_rc zb_pki_identity_check(struct zb_pem ca_cert, struct zb_pem cert, struct zb_pem key,
                                 const char *node, struct zb_err *err) ZB_CHECKED;

/* New CA for the members of an etcd cluster and their clients, as zb_pki_ca_create. It is not the
 * cluster's: who may ask etcd is not who is a node. */
enum zb_rc zb_pki_etcd_ca_create(char **cert_pem, char **key_pem, struct zb_err *err) ZB_CHECKED;

/* New key and certificate of that CA. With name and address (numeric) for a member: SAN of both and
 * of the loopback, for its server, its peers, and its JSON gateway, which is a client of the member
 * itself. With NULL for a client. None has a CN: with RBAC the gateway refuses who has one.
 * ZB_E_USAGE, ZB_E_MISMATCH (the key is not of the CA's certificate). */
enum zb_rc zb_pki_etcd_cert_create(struct zb_pem ca_cert, struct zb_pem ca_key, const char *name,
                                   const char *address, struct zb_pki_pair *out,
                                   struct zb_err *err) ZB_CHECKED;

/* True for 64 lower hex digits. */
bool zb_fingerprint_valid(const char *s);

/* Writes text to path with mode 0600 and the given owner: temporary file beside it, fsync, rename,
 * fsync of the directory. All or nothing, except that the file is there when only its directory
 * could not be synced; blocks on the disk. ZB_E_SYS naming the path. */
enum zb_rc zb_pki_file_write(const char *path, const char *text, uid_t uid, gid_t gid,
                             struct zb_err *err) ZB_CHECKED;

/* Reads a whole file of at most ZB_PKI_PEM_MAX bytes. ZB_E_NOTFOUND, ZB_E_SYS, ZB_E_LIMIT,
 * ZB_E_FORMAT (a NUL byte in it); each naming the path. */
enum zb_rc zb_pki_file_read(const char *path, char **text, struct zb_err *err) ZB_CHECKED;

#endif
