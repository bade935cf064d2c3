#include "unit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/pki.h"

struct texts {
    char *ca_cert, *ca_key, *key, *csr, *cert;
};

static struct zb_pem
pem(const char *name, const char *text)
{
    return (struct zb_pem){name, text};
}

static void
texts_open(struct texts *t, const char *node)
{
    struct zb_err err;
    memset(t, 0, sizeof *t);
    assert_int_equal(zb_pki_ca_create("garden", &t->ca_cert, &t->ca_key, &err), ZB_OK);
    assert_int_equal(zb_pki_key_create(&t->key, &err), ZB_OK);
    assert_int_equal(zb_pki_csr_create(pem("node.key", t->key), node, &t->csr, &err), ZB_OK);
    assert_int_equal(zb_pki_sign(pem("ca.crt", t->ca_cert), pem("ca.key", t->ca_key),
                                 pem("node.csr", t->csr), node, &t->cert, &err),
                     ZB_OK);
}

static void
texts_close(struct texts *t)
{
    zb_pki_text_free(t->ca_cert);
    zb_pki_text_free(t->ca_key);
    zb_pki_text_free(t->key);
    zb_pki_text_free(t->csr);
    zb_pki_text_free(t->cert);
}

static void
test_what_certificates_say(void **state)
{
    struct texts t;
    struct zb_err err;
    struct zb_pki_cert_info ca, node;
    const int64_t day = 24 * 3600;
    (void)state;
    texts_open(&t, "vm1");
    assert_int_equal(zb_pki_cert_info(pem("ca.crt", t.ca_cert), &ca, &err), ZB_OK);
    assert_int_equal(zb_pki_cert_info(pem("node.crt", t.cert), &node, &err), ZB_OK);
    assert_string_equal(ca.common_name, "zbaton CA garden");
    assert_string_equal(node.common_name, "vm1");
    assert_true(zb_fingerprint_valid(ca.fingerprint) && zb_fingerprint_valid(node.fingerprint));
    assert_string_not_equal(ca.fingerprint, node.fingerprint);
    int64_t now_s = zb_wall_now().s;
    assert_true(node.not_before.s < now_s);
    assert_true(llabs(node.not_after.s - now_s - ZB_PKI_NODE_DAYS * day) < day);
    assert_true(llabs(ca.not_after.s - now_s - ZB_PKI_CA_DAYS * day) < day);
    texts_close(&t);
}

static void
test_identity(void **state)
{
    struct texts t, other;
    struct zb_err err;
    (void)state;
    texts_open(&t, "vm1");
    texts_open(&other, "vm1");
    struct zb_pem ca = pem("ca.crt", t.ca_cert), cert = pem("node.crt", t.cert),
                  key = pem("node.key", t.key);
    assert_int_equal(zb_pki_identity_check(ca, cert, key, "vm1", &err), ZB_OK);
    assert_int_equal(zb_pki_identity_check(ca, cert, key, "vm2", &err), ZB_E_AUTH);
    assert_string_equal(err.msg, "node.crt: is of node vm1, not of vm2");
    assert_int_equal(zb_pki_identity_check(ca, cert, pem("x.key", other.key), "vm1", &err),
                     ZB_E_MISMATCH);
    assert_string_equal(err.msg, "x.key: not the key of node.crt");
    assert_int_equal(zb_pki_identity_check(pem("o.crt", other.ca_cert), cert, key, "vm1", &err),
                     ZB_E_AUTH);
    assert_non_null(strstr(err.msg, "node.crt: "));
    assert_int_equal(zb_pki_identity_check(ca, pem("node.crt", "rubbish"), key, "vm1", &err),
                     ZB_E_FORMAT);
    assert_string_equal(err.msg, "node.crt: not a certificate in PEM form");
    assert_int_equal(zb_pki_identity_check(ca, cert, pem("node.key", ""), "vm1", &err),
                     ZB_E_FORMAT);
    assert_string_equal(err.msg, "node.key: empty, expected a private key without a passphrase");
    texts_close(&t);
    texts_close(&other);
}

static void
test_requests(void **state)
{
    struct texts t, other;
    struct zb_err err;
    char *made = NULL;
    (void)state;
    texts_open(&t, "vm1");
    texts_open(&other, "vm9");
    struct zb_pem ca = pem("ca.crt", t.ca_cert), ca_key = pem("ca.key", t.ca_key);
    assert_int_equal(zb_pki_csr_check(pem("csr", t.csr), "vm1", &err), ZB_OK);
    assert_int_equal(zb_pki_csr_check(pem("csr", t.csr), "vm2", &err), ZB_E_AUTH);
    assert_string_equal(err.msg, "csr: made for node vm1, not for vm2");
    assert_int_equal(zb_pki_csr_check(pem("csr", t.cert), "vm1", &err), ZB_E_FORMAT);
    assert_int_equal(zb_pki_csr_create(pem("key", t.key), "Not A Name", &made, &err), ZB_E_USAGE);
    assert_int_equal(zb_pki_ca_create("Not A Name", &made, &made, &err), ZB_E_USAGE);
    assert_int_equal(zb_pki_sign(ca, ca_key, pem("csr", other.csr), "vm1", &made, &err), ZB_E_AUTH);
    assert_int_equal(
        zb_pki_sign(ca, pem("o.key", other.ca_key), pem("csr", t.csr), "vm1", &made, &err),
        ZB_E_MISMATCH);
    assert_null(made);
    texts_close(&t);
    texts_close(&other);
}

static void
test_too_long(void **state)
{
    struct zb_pki_cert_info info;
    struct zb_err err;
    (void)state;
    char *text = calloc(1, ZB_PKI_PEM_MAX + 2);
    memset(text, 'x', ZB_PKI_PEM_MAX + 1);
    assert_int_equal(zb_pki_cert_info(pem("big", text), &info, &err), ZB_E_LIMIT);
    free(text);
}

static void
test_files(void **state)
{
    char directory[] = "/tmp/zb-pki-XXXXXX", path[64], *text = NULL;
    struct zb_err err;
    struct stat st;
    (void)state;
    assert_non_null(mkdtemp(directory));
    (void)snprintf(path, sizeof path, "%s/node.key", directory);
    assert_int_equal(zb_pki_file_read(path, &text, &err), ZB_E_NOTFOUND);
    assert_non_null(strstr(err.msg, path));
    assert_int_equal(zb_pki_file_write(path, "first\n", getuid(), getgid(), &err), ZB_OK);
    assert_int_equal(zb_pki_file_write(path, "second\n", getuid(), getgid(), &err), ZB_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_uid, getuid());
    assert_int_equal(zb_pki_file_read(path, &text, &err), ZB_OK);
    assert_string_equal(text, "second\n");
    zb_pki_text_free(text);

    int fd = open(path, O_WRONLY | O_TRUNC);
    assert_int_equal(write(fd, "a\0b", 3), 3);
    assert_int_equal(zb_pki_file_read(path, &text, &err), ZB_E_FORMAT);
    assert_int_equal(ftruncate(fd, ZB_PKI_PEM_MAX + 1), 0);
    close(fd);
    assert_int_equal(zb_pki_file_read(path, &text, &err), ZB_E_LIMIT);
    assert_int_equal(zb_pki_file_write("/nonexistent/x", "a", 0, 0, &err), ZB_E_SYS);
    unlink(path);
    assert_int_equal(rmdir(directory), 0); /* no temporary file was left */
}

static void
test_etcd(void **state)
{
    struct zb_pki_pair ca = {0}, other = {0}, member = {0}, client = {0}, none = {0};
    struct zb_pki_cert_info info;
    struct zb_err err;

    (void)state;
    assert_int_equal(zb_pki_etcd_ca_create(&ca.cert, &ca.key, &err), ZB_OK);
    assert_int_equal(zb_pki_etcd_ca_create(&other.cert, &other.key, &err), ZB_OK);
    struct zb_pem ca_crt = pem("ca.crt", ca.cert), ca_key = pem("ca.key", ca.key);
    assert_int_equal(zb_pki_etcd_cert_create(ca_crt, ca_key, "vm1", "2001:db8::1", &member, &err),
                     ZB_OK);
    assert_int_equal(zb_pki_etcd_cert_create(ca_crt, ca_key, NULL, NULL, &client, &err), ZB_OK);
    /* No CN: what needs one of a certificate does not take it. */
    assert_int_equal(zb_pki_cert_info(pem("vm1.crt", member.cert), &info, &err), ZB_E_FORMAT);
    assert_int_equal(zb_pki_cert_info(pem("client.crt", client.cert), &info, &err), ZB_E_FORMAT);

    assert_int_equal(
        zb_pki_etcd_cert_create(ca_crt, pem("other.key", other.key), NULL, NULL, &none, &err),
        ZB_E_MISMATCH);
    assert_int_equal(zb_pki_etcd_cert_create(ca_crt, ca_key, "vm1", "vm1.example", &none, &err),
                     ZB_E_USAGE);
    assert_int_equal(zb_pki_etcd_cert_create(ca_crt, ca_key, "vm1", "10.0.0.1,DNS:x", &none, &err),
                     ZB_E_USAGE);
    assert_int_equal(
        zb_pki_etcd_cert_create(ca_crt, ca_key, "a,IP:10.0.0.2", "10.0.0.1", &none, &err),
        ZB_E_USAGE);
    assert_null(none.cert);
    struct zb_pki_pair *const made[] = {&ca, &other, &member, &client};
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) {
        zb_pki_text_free(made[i]->cert);
        zb_pki_text_free(made[i]->key);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_certificates_say),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_too_long),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_etcd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
