#include "zfs/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* As large as any zfs_cmd_t; the kernel copies its own size of it (13-14 KiB). */
#define CMD_SIZE (16u << 10)
#define REPLY_SIZE_FIRST (16u << 10)
#define REPLY_SIZE_MAX (16u << 20)

/* The part of zfs_cmd_t whose layout has not changed since 2.1 (zfs_ioctl.h says so on purpose). */
struct cmd_prefix {
    char name[4096];
    uint64_t in;
    uint64_t in_size;
    uint64_t out;
    uint64_t out_size;
    uint32_t out_filled;
};

union cmd {
    struct cmd_prefix prefix;
    char bytes[CMD_SIZE];
};

static struct {
    pthread_mutex_t lock;
    unsigned users;
    int fd;
} g = {PTHREAD_MUTEX_INITIALIZER, 0, -1};

static bool
read_line(const char *path, char *buf, size_t size)
{
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        return false;
    }
    bool ok = fgets(buf, (int)size, f) != NULL;
    if (ok) {
        buf[strcspn(buf, "\n")] = '\0';
    }
    fclose(f);
    return ok;
}

enum zb_rc
zb_zfs_version_parse(const char *text, struct zb_zfs_version *version, struct zb_err *err)
{
    struct zb_zfs_version v = {.rw_mount_ok = true};
    // NOLINTNEXTLINE(cert-err34-c): a number too large is a version that is not supported either
    if (sscanf(text, "%u.%u.%u", &v.major, &v.minor, &v.patch) < 2) {
        return zb_err_set(err, ZB_E_FORMAT, "\"%s\" is not a version of ZFS", text);
    }
    snprintf(v.text, sizeof v.text, "%s", text);
    if ((v.major == 2 && v.minor == 3 && v.patch == 7) ||
        (v.major == 2 && v.minor == 4 && v.patch == 2)) {
        v.rw_mount_ok = false;
    }
    *version = v;
    if (v.major < 2 || (v.major == 2 && v.minor < 2)) {
        zb_err_set(err, ZB_E_UNSUPPORTED, "OpenZFS %s is too old", v.text);
        return zb_err_hint(err, "zbaton wants OpenZFS 2.2 or newer; 2.3.8 or newer is best");
    }
    return ZB_OK;
}

static enum zb_rc
open_library(struct zb_err *err)
{
    int e = libzfs_core_init();
    if (e == ENOENT || e == ENXIO || e == ENODEV) {
        zb_err_set(err, ZB_E_UNSUPPORTED, "the zfs module is not loaded");
        return zb_err_hint(err, "modprobe zfs");
    }
    if (e != 0) {
        return zb_err_sys(err, e, "open /dev/zfs");
    }
    g.fd = open("/dev/zfs", O_RDWR | O_CLOEXEC);
    if (g.fd < 0) {
        e = errno;
        libzfs_core_fini();
        return zb_err_sys(err, e, "open /dev/zfs");
    }
    return ZB_OK;
}

enum zb_rc
zb_zfs_init(struct zb_zfs_version *version, struct zb_err *err)
{
    enum zb_rc rc = ZB_OK;
    char text[64];

    pthread_mutex_lock(&g.lock);
    if (g.users == 0) {
        rc = open_library(err);
    }
    if (rc == ZB_OK) {
        g.users++;
    }
    pthread_mutex_unlock(&g.lock);
    if (rc != ZB_OK) {
        return rc;
    }
    if (!read_line("/sys/module/zfs/version", text, sizeof text)) {
        rc = zb_err_set(err, ZB_E_UNSUPPORTED, "the zfs module does not say its version");
    } else {
        rc = zb_zfs_version_parse(text, version, err);
    }
    if (rc != ZB_OK) {
        zb_zfs_close();
    }
    return rc;
}

void
zb_zfs_close(void)
{
    pthread_mutex_lock(&g.lock);
    if (g.users > 0 && --g.users == 0) {
        close(g.fd);
        g.fd = -1;
        libzfs_core_fini();
    }
    pthread_mutex_unlock(&g.lock);
}

void
zb_zfs_kstat_path(const char *pool, const char *file, char *path, size_t size)
{
    snprintf(path, size, "/proc/spl/kstat/zfs/%.*s/%s", (int)strcspn(pool, "/@#"), pool, file);
}

enum zb_zfs_pool_state
zb_zfs_pool_state(const char *pool)
{
    static const struct {
        const char *word;
        enum zb_zfs_pool_state state;
    } words[] = {
        {"ONLINE", ZB_ZFS_POOL_ONLINE},
        {"DEGRADED", ZB_ZFS_POOL_DEGRADED},
        {"SUSPENDED", ZB_ZFS_POOL_SUSPENDED},
    };
    char path[ZB_DATASET_NAME_SIZE + 64];
    char text[64];

    zb_zfs_kstat_path(pool, "state", path, sizeof path);
    if (!read_line(path, text, sizeof text)) {
        return ZB_ZFS_POOL_ABSENT;
    }
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(text, words[i].word) == 0) {
            return words[i].state;
        }
    }
    return ZB_ZFS_POOL_OTHER;
}

const char *
zb_zfs_pool_state_word(enum zb_zfs_pool_state state)
{
    switch (state) {
    case ZB_ZFS_POOL_ABSENT:
        return "absent";
    case ZB_ZFS_POOL_ONLINE:
        return "online";
    case ZB_ZFS_POOL_DEGRADED:
        return "degraded";
    case ZB_ZFS_POOL_SUSPENDED:
        return "suspended";
    case ZB_ZFS_POOL_OTHER:
        break;
    }
    return "unusable";
}

enum zb_rc
zb_zfs_pool_check(const char *pool, int64_t stuck_ms, struct zb_err *err)
{
    enum zb_zfs_pool_state state = zb_zfs_pool_state(pool);
    int64_t ms;

    if (state != ZB_ZFS_POOL_ONLINE && state != ZB_ZFS_POOL_DEGRADED) {
        return zb_err_set(err, ZB_E_SUSPENDED, "the pool of %s is %s", pool,
                          zb_zfs_pool_state_word(state));
    }
    ms = zb_zfs_txgs_sync_ms(pool);
    if (ms > stuck_ms) {
        return zb_err_set(err, ZB_E_SUSPENDED,
                          "the pool of %s has written nothing for %" PRId64 " s: its disks do not "
                          "answer",
                          pool, ms / 1000);
    }
    return ZB_OK;
}

enum zb_rc
zb_zfs_pool_guid(const char *pool, uint64_t *guid, struct zb_err *err)
{
    char path[ZB_DATASET_NAME_SIZE + 64];
    char text[64];
    char *end;

    zb_zfs_kstat_path(pool, "guid", path, sizeof path);
    if (!read_line(path, text, sizeof text)) {
        return zb_err_set(err, ZB_E_NOTFOUND, "the pool of %s is not imported", pool);
    }
    unsigned long long v = strtoull(text, &end, 10);
    if (end == text || v == 0) {
        return zb_err_set(err, ZB_E_FORMAT, "%s: no guid in \"%s\"", path, text);
    }
    *guid = v;
    return ZB_OK;
}

enum zb_rc
zb_zfs_pool_sync(const char *pool, struct zb_err *err)
{
    char name[ZB_DATASET_NAME_SIZE];
    nvlist_t *in = fnvlist_alloc();

    zb_zfs_pool_of(pool, name);
    fnvlist_add_boolean_value(in, "force", B_FALSE);
    int e = lzc_sync(name, in, NULL);
    fnvlist_free(in);
    return e == 0 ? ZB_OK : zb_zfs_fail(err, e, name, "sync pool %s", name);
}

/* One try with a reply buffer of *size bytes; on ENOMEM *size is what the kernel wants. */
static int
// NOLINTNEXTLINE(readability-function-size): both buffers with their sizes
ioctl_once(unsigned long request, const char *name, const char *in, size_t in_size, void *out,
           size_t *size, bool *filled)
{
    union cmd *cmd = calloc(1, sizeof *cmd);
    if (cmd == NULL) {
        return ENOBUFS;
    }
    snprintf(cmd->prefix.name, sizeof cmd->prefix.name, "%s", name);
    cmd->prefix.in = (uint64_t)(uintptr_t)in;
    cmd->prefix.in_size = in_size;
    cmd->prefix.out = (uint64_t)(uintptr_t)out;
    cmd->prefix.out_size = *size;
    int e = ioctl(g.fd, request, cmd) == 0 ? 0 : errno;
    *filled = cmd->prefix.out_filled != 0;
    *size = cmd->prefix.out_size;
    free(cmd);
    return e;
}

int
zb_zfs_ioctl(unsigned long request, const char *name, nvlist_t *in, nvlist_t **out)
{
    size_t in_size = 0;
    char *packed = in != NULL ? fnvlist_pack(in, &in_size) : NULL;
    size_t reply_size = out != NULL ? REPLY_SIZE_FIRST : 0;
    char *reply = NULL;
    bool filled = false;
    int e;

    if (out != NULL) {
        *out = NULL;
    }
    for (;;) {
        size_t wanted = reply_size;
        if (out != NULL && (reply = malloc(reply_size)) == NULL) {
            e = ENOBUFS;
            break;
        }
        e = ioctl_once(request, name, packed, in_size, reply, &wanted, &filled);
        if (e != ENOMEM || out == NULL || reply_size >= REPLY_SIZE_MAX) {
            reply_size = wanted;
            break;
        }
        free(reply);
        reply = NULL;
        reply_size = wanted > reply_size ? wanted : 2 * reply_size;
    }
    if (out != NULL && filled && reply != NULL && nvlist_unpack(reply, reply_size, out, 0) != 0) {
        *out = NULL;
        e = e != 0 ? e : EBADMSG;
    }
    free(reply);
    if (packed != NULL) {
        fnvlist_pack_free(packed, in_size);
    }
    return e;
}
