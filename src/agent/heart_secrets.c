#include <string.h>

#include "agent/heart.h"
#include "agent/internal.h"

static enum zb_rc
secret_read(const char *path, char **text, struct zb_err *err)
{
    enum zb_rc rc = path[0] != '\0' ? zb_pki_file_read(path, text, err) : ZB_OK;

    return rc == ZB_OK ? rc : zb_err_wrap(err, "etcd");
}

enum zb_rc
zb_heart_secrets_read(const struct zb_conf_node *conf, struct zb_heart_secrets *secrets,
                      struct zb_err *err)
{
    enum zb_rc rc = secret_read(conf->etcd_ca, &secrets->ca, err);

    if (rc == ZB_OK) {
        rc = secret_read(conf->etcd_cert, &secrets->cert, err);
    }
    if (rc == ZB_OK) {
        rc = secret_read(conf->etcd_key, &secrets->key, err);
    }
    if (rc == ZB_OK) {
        rc = secret_read(conf->etcd_password_file, &secrets->password, err);
    }
    if (rc == ZB_OK && secrets->password != NULL) {
        secrets->password[strcspn(secrets->password, "\r\n")] = '\0';
    }
    return rc;
}

void
zb_heart_secrets_close(struct zb_heart_secrets *secrets)
{
    zb_pki_text_free(secrets->ca);
    zb_pki_text_free(secrets->cert);
    zb_pki_text_free(secrets->key);
    zb_pki_text_free(secrets->password);
    *secrets = (struct zb_heart_secrets){0};
}
