/*
 * Certificates and certificate requests of other hosts. The input is PEM, or DER (which begins
 * with '0', the tag of a sequence) and becomes PEM here.
 */
#include "fuzz.h"

#include <openssl/pem.h>

#include "net/pki.h"

/* PEM under this name, for free(). */
static char *
pem_of(const char *name, const uint8_t *der, size_t size)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *bytes = NULL;

    assert(bio != NULL);
    int written = PEM_write_bio(bio, name, "", der, (long)size);
    assert(written > 0);
    long length = BIO_get_mem_data(bio, &bytes);
    char *text = strndup(bytes, (size_t)length);
    assert(text != NULL);
    BIO_free(bio);
    return text;
}

static void
certificate(const char *text)
{
    struct zb_pki_cert_info info;
    struct zb_err err;

    if (zb_pki_cert_info((struct zb_pem){"certificate", text}, &info, &err) == ZB_OK) {
        assert(info.common_name[0] != '\0');
        assert(memchr(info.common_name, '\0', sizeof info.common_name) != NULL);
        assert(strlen(info.fingerprint) == ZB_FINGERPRINT_SIZE - 1);
    }
}

static void
request(const char *text)
{
    struct zb_err err;
    enum zb_rc rc = zb_pki_csr_check((struct zb_pem){"request", text}, "vm2", &err);

    assert(rc == ZB_OK || rc == ZB_E_FORMAT || rc == ZB_E_AUTH || rc == ZB_E_LIMIT);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool der = size > 0 && data[0] == '0';
    char *cert = der ? pem_of("CERTIFICATE", data, size) : fuzz_text(data, size);
    char *csr = der ? pem_of("CERTIFICATE REQUEST", data, size) : fuzz_text(data, size);

    certificate(cert);
    request(csr);
    free(csr);
    free(cert);
    return 0;
}
