/*
 * pki etcd: keys and certificates with which the traps of etcd's JSON gateway are not met. Works
 * without the daemon and without a cluster.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/cli.h"
#include "etcd/etcd.h"
#include "net/pki.h"

struct host {
    char name[ZB_NODE_NAME_SIZE];
    char address[INET6_ADDRSTRLEN];
    bool six;
    struct zb_pki_pair pair;
};

struct minting {
    const char *dir;
    struct zb_pki_pair ca;
    bool ca_found; /* in dir: one more host for an etcd cluster that is there */
    struct host hosts[ZB_ETCD_ENDPOINTS_MAX];
    size_t hosts_count;
    struct zb_pki_pair client;
};

static void
pair_close(struct zb_pki_pair *pair)
{
    zb_pki_text_free(pair->cert);
    zb_pki_text_free(pair->key);
}

static void
minting_close(struct minting *m)
{
    for (size_t i = 0; i < m->hosts_count; i++) {
        pair_close(&m->hosts[i].pair);
    }
    pair_close(&m->ca);
    pair_close(&m->client);
}

static bool
host_parse(const char *text, struct host *h)
{
    struct in6_addr binary;
    const char *equals = strchr(text, '=');

    if (equals == NULL || (size_t)(equals - text) >= sizeof h->name ||
        strlen(equals + 1) >= sizeof h->address) {
        return false;
    }
    memcpy(h->name, text, (size_t)(equals - text));
    h->name[equals - text] = '\0';
    zb_strcopy(h->address, sizeof h->address, equals + 1);
    h->six = strchr(h->address, ':') != NULL;
    /* Names of files that are made beside the hosts'. */
    return zb_node_name_valid(h->name) && strcmp(h->name, "ca") != 0 &&
           strcmp(h->name, "client") != 0 &&
           inet_pton(h->six ? AF_INET6 : AF_INET, h->address, &binary) == 1;
}

static enum zb_rc
hosts_take(const struct zb_cli *cli, struct minting *m, struct zb_err *err)
{
    for (int i = 0; i < cli->operands_count; i++) {
        struct host *h = &m->hosts[m->hosts_count];
        if (!host_parse(cli->operands[i], h)) {
            return zb_err_set(err, ZB_E_USAGE,
                              "'%.100s' is not NAME=ADDRESS, as vm1=10.77.0.1 (a numeric address)",
                              cli->operands[i]);
        }
        for (size_t j = 0; j < m->hosts_count; j++) {
            if (strcmp(m->hosts[j].name, h->name) == 0 ||
                strcmp(m->hosts[j].address, h->address) == 0) {
                return zb_err_set(err, ZB_E_USAGE, "%s=%s: that name or address is there twice",
                                  h->name, h->address);
            }
        }
        m->hosts_count++;
    }
    return ZB_OK;
}

static enum zb_rc
path_make(const struct minting *m, const char *name, const char *ending, char *path,
          struct zb_err *err)
{
    if ((size_t)snprintf(path, ZB_PATH_SIZE, "%s/%s%s", m->dir, name, ending) >= ZB_PATH_SIZE) {
        return zb_err_set(err, ZB_E_LIMIT, "%.64s...: path too long", m->dir);
    }
    return ZB_OK;
}

/* *text stays NULL for a file that is not there. */
static enum zb_rc
file_read(const struct minting *m, const char *name, const char *ending, char **text,
          struct zb_err *err)
{
    char path[ZB_PATH_SIZE];
    enum zb_rc rc = path_make(m, name, ending, path, err);

    if (rc == ZB_OK) {
        rc = zb_pki_file_read(path, text, err);
    }
    return rc == ZB_E_NOTFOUND ? ZB_OK : rc;
}

static enum zb_rc
pair_read(const struct minting *m, const char *name, struct zb_pki_pair *pair, struct zb_err *err)
{
    enum zb_rc rc = file_read(m, name, ".crt", &pair->cert, err);

    if (rc == ZB_OK) {
        rc = file_read(m, name, ".key", &pair->key, err);
    }
    if (rc == ZB_OK && (pair->cert == NULL) != (pair->key == NULL)) {
        rc = zb_err_set(err, ZB_E_FAILED, "%s has only one of %s.crt and %s.key", m->dir, name,
                        name);
    }
    return rc;
}

static enum zb_rc
pair_write(const struct minting *m, const char *name, const struct zb_pki_pair *pair,
           struct zb_err *err)
{
    char path[ZB_PATH_SIZE];
    enum zb_rc rc = path_make(m, name, ".key", path, err);

    if (rc == ZB_OK) {
        rc = zb_pki_file_write(path, pair->key, geteuid(), getegid(), err);
    }
    if (rc == ZB_OK) {
        rc = path_make(m, name, ".crt", path, err);
    }
    return rc == ZB_OK ? zb_pki_file_write(path, pair->cert, geteuid(), getegid(), err) : rc;
}

/* What is there stays: the CA and the client's are used again, a host's is in the way. */
static enum zb_rc
found_read(struct minting *m, struct zb_err *err)
{
    enum zb_rc rc = pair_read(m, "ca", &m->ca, err);

    m->ca_found = m->ca.key != NULL;
    if (rc == ZB_OK) {
        rc = pair_read(m, "client", &m->client, err);
    }
    if (rc == ZB_OK && m->client.key != NULL && !m->ca_found) {
        rc = zb_err_set(err, ZB_E_EXISTS, "%s has client.key, but no ca.key", m->dir);
    }
    for (size_t i = 0; i < m->hosts_count && rc == ZB_OK; i++) {
        struct zb_pki_pair there = {0};
        rc = pair_read(m, m->hosts[i].name, &there, err);
        if (rc == ZB_OK && there.key != NULL) {
            (void)zb_err_set(err, ZB_E_EXISTS, "%s has %s.key already", m->dir, m->hosts[i].name);
            rc = zb_err_hint(err, "move %s.crt and %s.key away to have new ones", m->hosts[i].name,
                             m->hosts[i].name);
        }
        pair_close(&there);
    }
    return rc;
}

static enum zb_rc
mint(struct minting *m, struct zb_err *err)
{
    enum zb_rc rc = m->ca_found ? ZB_OK : zb_pki_etcd_ca_create(&m->ca.cert, &m->ca.key, err);

    for (size_t i = 0; i < m->hosts_count && rc == ZB_OK; i++) {
        struct host *h = &m->hosts[i];
        rc = zb_pki_etcd_cert_create((struct zb_pem){"ca.crt", m->ca.cert},
                                     (struct zb_pem){"ca.key", m->ca.key}, h->name, h->address,
                                     &h->pair, err);
    }
    return rc;
}

static enum zb_rc
mint_client(struct minting *m, struct zb_err *err)
{
    if (m->client.key != NULL) {
        return ZB_OK;
    }
    enum zb_rc rc =
        zb_pki_etcd_cert_create((struct zb_pem){"ca.crt", m->ca.cert},
                                (struct zb_pem){"ca.key", m->ca.key}, NULL, NULL, &m->client, err);
    return rc == ZB_OK ? pair_write(m, "client", &m->client, err) : rc;
}

static enum zb_rc
store(const struct minting *m, struct zb_err *err)
{
    enum zb_rc rc = m->ca_found ? ZB_OK : pair_write(m, "ca", &m->ca, err);

    for (size_t i = 0; i < m->hosts_count && rc == ZB_OK; i++) {
        rc = pair_write(m, m->hosts[i].name, &m->hosts[i].pair, err);
    }
    return rc;
}

static void
url_print(const struct host *h, int port)
{
    printf(h->six ? "https://[%s]:%d" : "https://%s:%d", h->address, port);
}

static void
setting_print(const struct host *h, const char *name, int port)
{
    printf("  ETCD_%s=\"", name);
    url_print(h, port);
    puts("\"");
}

static void
host_told(const struct minting *m, const struct host *h)
{
    printf("\n%s: %s.crt, %s.key and ca.crt go to /etc/etcd, readable by etcd alone; in "
           "/etc/default/etcd:\n\n"
           "  ETCD_NAME=\"%s\"\n",
           h->name, h->name, h->name, h->name);
    setting_print(h, "LISTEN_CLIENT_URLS", 2379);
    setting_print(h, "ADVERTISE_CLIENT_URLS", 2379);
    setting_print(h, "LISTEN_PEER_URLS", 2380);
    setting_print(h, "INITIAL_ADVERTISE_PEER_URLS", 2380);
    fputs("  ETCD_INITIAL_CLUSTER=\"", stdout);
    for (size_t i = 0; i < m->hosts_count; i++) {
        printf("%s%s=", i == 0 ? "" : ",", m->hosts[i].name);
        url_print(&m->hosts[i], 2380);
    }
    puts("\"");
    static const char *const sides[] = {"", "PEER_"};
    for (size_t i = 0; i < 2; i++) {
        printf("  ETCD_%sCERT_FILE=\"/etc/etcd/%s.crt\"\n  ETCD_%sKEY_FILE=\"/etc/etcd/%s.key\"\n"
               "  ETCD_%sTRUSTED_CA_FILE=\"/etc/etcd/ca.crt\"\n"
               "  ETCD_%sCLIENT_CERT_AUTH=\"true\"\n",
               sides[i], h->name, sides[i], h->name, sides[i], sides[i]);
    }
    puts("  ETCD_AUTO_COMPACTION_RETENTION=\"1h\"");
}

static void
told(const struct minting *m)
{
    printf("In %s: %s, a certificate for each member, and one for every zbatond.\n"
           "Keep ca.key in a safe place; who has it can let members and clients in.\n",
           m->dir, m->ca_found ? "the CA that was there" : "a CA for etcd alone");
    for (size_t i = 0; i < m->hosts_count; i++) {
        host_told(m, &m->hosts[i]);
    }
    if (m->ca_found) {
        puts("\nThe members that are there come into ETCD_INITIAL_CLUSTER too, and\n"
             "ETCD_INITIAL_CLUSTER_STATE is \"existing\": etcdctl member add tells both. And they\n"
             "come into etcd of every zbatond.conf.");
    }
    puts(
        "\netcd's data must not be on a dataset that zbaton replicates.\n\n"
        "Every node: ca.crt, client.crt and client.key go to /etc/zbaton/etcd; in zbatond.conf:\n");
    fputs("  etcd = \"", stdout);
    for (size_t i = 0; i < m->hosts_count; i++) {
        fputs(i == 0 ? "" : " ", stdout);
        url_print(&m->hosts[i], 2379);
    }
    puts("\"\n"
         "  etcd-ca = \"/etc/zbaton/etcd/ca.crt\"\n"
         "  etcd-cert = \"/etc/zbaton/etcd/client.crt\"\n"
         "  etcd-key = \"/etc/zbaton/etcd/client.key\"");
}

int
zb_run_pki_etcd(struct zb_cli *cli)
{
    struct minting m = {.dir = cli->values[ZB_OPT_OUT]};
    struct zb_err err;
    enum zb_rc rc = hosts_take(cli, &m, &err);

    if (rc == ZB_OK && mkdir(m.dir, 0700) != 0 && errno != EEXIST) {
        rc = zb_err_sys(&err, errno, "make %s", m.dir);
    }
    if (rc == ZB_OK) {
        rc = found_read(&m, &err);
    }
    if (rc == ZB_OK) {
        rc = mint(&m, &err);
    }
    if (rc == ZB_OK) {
        rc = store(&m, &err);
    }
    if (rc == ZB_OK) {
        rc = mint_client(&m, &err);
    }
    if (rc == ZB_OK) {
        told(&m);
    }
    minting_close(&m);
    return rc == ZB_OK ? 0 : zb_cli_fail(cli, &err);
}
