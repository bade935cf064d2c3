/*
 * How a new node gets its certificate.
 *
 * A member of the cluster that holds the CA key issues a token, "zbt1.<base64url of JSON>": where
 * to connect, the fingerprint of the CA, an id and a secret of 32 random bytes. The issuer keeps
 * only a record: id, expiry, a used flag and a verifier, which is the Ed25519 public key whose
 * seed is the secret. Who reads the record cannot join with it, and since the joiner signs instead
 * of sending the secret, who relays the exchange cannot either: the signature covers the TLS
 * exporter of this one connection (RFC 8446 7.5, RFC 9266), the request and the CSR.
 *
 * Exchange, on the peers' port, without a client certificate: the joiner checks the server's chain
 * against the pinned CA inside the handshake, before a byte of its own is sent; sends one frame
 * {"join":1, id, node, address, csr, proof, renew?}; gets {cert, ca, cluster_id, cluster_name,
 * nodes} or
 * {"error": reason}. At most ZB_WIRE_HELLO_MAX bytes and ZB_JOIN_TIMEOUT_MS.
 */
#ifndef ZB_NET_JOIN_H
#define ZB_NET_JOIN_H

#include "base/types.h"
#include "net/pki.h"

#define ZB_TOKEN_ID_SIZE 17 /* 16 lower hex digits, NUL */
#define ZB_TOKEN_SECRET_SIZE 32
#define ZB_TOKEN_VERIFIER_SIZE 32
#define ZB_TOKEN_TEXT_SIZE 1024 /* a token's text with NUL */
#define ZB_CLUSTER_NAME_SIZE ZB_NODE_NAME_SIZE
#define ZB_JOIN_TIMEOUT_MS 10000

/* A token taken apart. Holds the secret: wipe with zb_token_close. */
struct zb_token {
    char cluster_id[ZB_UUID_SIZE];
    char address[ZB_ADDRESS_SIZE]; /* of the issuing node */
    char ca_fingerprint[ZB_FINGERPRINT_SIZE];
    char id[ZB_TOKEN_ID_SIZE];
    uint8_t secret[ZB_TOKEN_SECRET_SIZE];
    struct zb_wall expires;
};

/* What the issuing node stores (the agent keeps it; nothing here is secret). */
struct zb_token_record {
    char id[ZB_TOKEN_ID_SIZE];
    uint8_t verifier[ZB_TOKEN_VERIFIER_SIZE];
    struct zb_wall expires;
    bool used;
};

/* New token. The caller fills cluster_id, address, ca_fingerprint and expires of *token; id and
 * secret are made here; text gets the token, record what to store. ZB_E_USAGE for a field that
 * zb_token_parse would refuse. */
enum zb_rc zb_token_create(struct zb_token *token, char text[ZB_TOKEN_TEXT_SIZE],
                           struct zb_token_record *record, struct zb_err *err) ZB_CHECKED;

/* Takes a token apart. ZB_E_FORMAT (what is wrong with it), ZB_E_VERSION (not zbt1), ZB_E_LIMIT,
 * ZB_E_STALE (expired before now: "expired 2026-11-22T06:41:07Z"). Surrounding white space is
 * ignored. */
enum zb_rc zb_token_parse(const char *text, struct zb_wall now, struct zb_token *token,
                          struct zb_err *err) ZB_CHECKED;
void zb_token_close(struct zb_token *token);

/* --- the side that lets nodes in (agent) --- */

#define ZB_JOIN_BINDING_SIZE 32
#define ZB_JOIN_PROOF_SIZE 64

/* A request as it came in: well formed (names and address valid, CSR checked with zb_pki_csr_check
 * for this node name), but nothing is proved yet. */
struct zb_join_request {
    uint64_t id;                /* of this connection: zb_net_join_reply */
    char from[ZB_ADDRESS_SIZE]; /* where it came from */
    char token_id[ZB_TOKEN_ID_SIZE];
    char node[ZB_NODE_NAME_SIZE];
    bool renew;                    /* a new certificate for who is a node already */
    bool lost;                     /* the host that had the name is off for good */
    char address[ZB_ADDRESS_SIZE]; /* where the new node will listen; "": as known (renew) */
    const char *csr_pem;           /* borrowed: valid during the callback */
    uint8_t binding[ZB_JOIN_BINDING_SIZE]; /* TLS exporter of the connection */
    uint8_t proof[ZB_JOIN_PROOF_SIZE];
};

/* The request was made by who holds the token of this record, on this very connection, before it
 * expired and was used. Then, and only then, the agent marks the record used (durably), signs with
 * zb_pki_sign and answers. ZB_E_NOTFOUND (record NULL or another id), ZB_E_STALE (expired),
 * ZB_E_REFUSED (used before), ZB_E_AUTH (bad proof). */
enum zb_rc zb_join_request_verify(const struct zb_join_request *request,
                                  const struct zb_token_record *record, struct zb_wall now,
                                  struct zb_err *err) ZB_CHECKED;

struct zb_join_node {
    char name[ZB_NODE_NAME_SIZE];
    char address[ZB_ADDRESS_SIZE];
    char fingerprint[ZB_FINGERPRINT_SIZE]; /* may be empty */
};

/* What a joined node learns. Members owned when it came from zb_join_ask: close it then. */
struct zb_join_result {
    char *cert_pem;
    char *ca_pem;
    char cluster_id[ZB_UUID_SIZE];
    char cluster_name[ZB_CLUSTER_NAME_SIZE];
    uint32_t nodes_count;
    struct zb_join_node nodes[ZB_NODES_MAX];
};

void zb_join_result_close(struct zb_join_result *result);

/* --- the side that wants in (CLI) --- */

struct zb_join_ask {
    const struct zb_token *token;
    const char *node;
    const char *address; /* where this node will listen; "": as known (renew) */
    bool renew;          /* it is a node already, and stays that */
    bool lost;           /* the host that had the name is off for good */
    struct zb_pem key;   /* stays here */
    uint32_t timeout_ms; /* for all of it; 0 is ZB_JOIN_TIMEOUT_MS */
};

/* Makes the CSR, connects to the token's address and asks. Blocks up to the timeout. *result (zero
 * before) only on success, and then checked: CA of the pinned fingerprint, cluster id of the token,
 * certificate for this node and key. ZB_E_AUTH when the server is not of the pinned CA (nothing
 * was sent), ZB_E_REFUSED with the server's reason, ZB_E_TIMEOUT, ZB_E_SYS, ZB_E_CLOSED,
 * ZB_E_FORMAT. */
enum zb_rc zb_join_ask(const struct zb_join_ask *ask, struct zb_join_result *result,
                       struct zb_err *err) ZB_CHECKED;

#endif
