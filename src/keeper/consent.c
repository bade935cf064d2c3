#include "keeper/consent.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "keeper/internal.h"
#include "keeper/record.h"

#define NAME_SIZE (ZB_SERVICE_NAME_SIZE + sizeof(ZB_CONSENT_NAME))
#define TEXT_SIZE (ZB_COMMAND_SIZE + sizeof(ZB_CONSENT_COMMAND))

_Static_assert(ZB_PATH_SIZE <= ZB_COMMAND_SIZE, "a consent to any file has room");

/* A file that root alone can read and write, and not an old one. */
static bool
counts(const struct zb_keeper *k, const char *name)
{
    struct stat st;

    if (fstatat(k->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return false;
    }
    int64_t age_s = zb_wall_now().s - (int64_t)st.st_mtim.tv_sec;
    return S_ISREG(st.st_mode) && st.st_uid == 0 && (st.st_mode & (S_IRWXG | S_IRWXO)) == 0 &&
           age_s >= 0 && age_s <= ZB_CONSENT_MAX_S;
}

static bool
says(const struct zb_keeper *k, const char *name, const char *wanted)
{
    char *text = NULL;
    size_t size = 0;
    struct zb_err ignored;
    bool same = zb_keeper_file_load(k->dir_fd, name, TEXT_SIZE, &text, &size, &ignored) == ZB_OK &&
                size == strlen(wanted) && memcmp(text, wanted, size) == 0;

    free(text);
    return same;
}

enum zb_rc
zb_keeper_consent_check(const struct zb_keeper *k, const char *service,
                        const struct zb_keeper_key_source *source, struct zb_err *err)
{
    char name[NAME_SIZE];
    char wanted[TEXT_SIZE];

    (void)snprintf(name, sizeof(name), ZB_CONSENT_NAME, service);
    if (source->command[0] != '\0') {
        (void)snprintf(wanted, sizeof(wanted), ZB_CONSENT_COMMAND, source->command);
    } else {
        (void)snprintf(wanted, sizeof(wanted), ZB_CONSENT_FILE, source->file);
    }
    if (!counts(k, name)) {
        (void)zb_err_set(err, ZB_E_REFUSED,
                         "%s: another key wants the consent of this host's root, and there is none",
                         service);
        return zb_err_hint(err,
                           "as root, here: zbaton rekey %s --key-file FILE, or --key-command "
                           "COMMAND",
                           service);
    }
    if (!says(k, name, wanted)) {
        (void)zb_err_set(err, ZB_E_REFUSED,
                         "%s: root consented to another source of the key than is declared: %.*s",
                         service, (int)strcspn(wanted, "\n"), wanted);
        return zb_err_hint(err, "name the one that you know to be right; if it is another than is "
                                "declared: zbaton apply");
    }
    return ZB_OK;
}

void
zb_keeper_consent_drop(const struct zb_keeper *k, const char *service)
{
    char name[NAME_SIZE];
    struct zb_err err;

    (void)snprintf(name, sizeof(name), ZB_CONSENT_NAME, service);
    if (zb_keeper_file_remove(k->dir_fd, name, &err) != ZB_OK) {
        zb_log_warning("%s", err.msg);
    }
}
