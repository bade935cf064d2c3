#include "cmd/setup.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/config.h"
#include "agent/files.h"
#include "agent/former.h"
#include "os/priv.h"
#include "os/spawn.h"

#define ZFS_MS 60000

/* --- what was made --- */

static void
made_add(struct zb_setup *s, const char *path)
{
    if (s->made_count == ZB_SETUP_MADE_MAX) {
        abort(); /* more files than there are names in agent/files.h */
    }
    zb_strcopy(s->made[s->made_count++], sizeof s->made[0], path);
}

static void
state_path(const struct zb_setup *s, const char *name, char *path, size_t size)
{
    (void)snprintf(path, size, "%s/%s", s->conf.state_dir, name);
}

/* --- zfs(8) --- */

/* Runs zfs with these arguments; output is what it printed. ZB_E_FAILED with its last words. */
static enum zb_rc
zfs_run(char *const *argv, char *output, size_t size, struct zb_err *err)
{
    const char *path = access("/usr/sbin/zfs", X_OK) == 0 ? "/usr/sbin/zfs" : "/sbin/zfs";
    struct zb_os_spawn_spec spec = {.path = path, .argv = argv, .output_fd = -1};
    struct zb_mono deadline = {zb_mono_now().ms + ZFS_MS};
    int status = 0;

    if (access(path, X_OK) != 0) {
        zb_err_set(err, ZB_E_UNSUPPORTED, "zfs(8) is not installed");
        return zb_err_hint(err, "apt install zfsutils-linux");
    }
    enum zb_rc rc = zb_os_run(&spec, deadline, output, size, &status, err);
    if (rc != ZB_OK) {
        return zb_err_wrap(err, "zfs %s", argv[1]);
    }
    output[strcspn(output, "\n")] = '\0';
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        return zb_err_set(err, ZB_E_FAILED, "zfs %s: %s", argv[1], output);
    }
    return ZB_OK;
}

static enum zb_rc
zfs_exists(const char *dataset, struct zb_err *err)
{
    char name[ZB_DATASET_NAME_SIZE];
    char output[512];
    char zfs[] = "zfs", list[] = "list", flags[] = "-Hp", o[] = "-o", field[] = "name";
    char t[] = "-t", type[] = "filesystem";
    char *argv[] = {zfs, list, flags, o, field, t, type, name, NULL};

    zb_strcopy(name, sizeof name, dataset);
    return zfs_run(argv, output, sizeof output, err);
}

/* One property; value of size. */
static enum zb_rc
zfs_get(const char *dataset, const char *property, char *value, size_t size, struct zb_err *err)
{
    char name[ZB_DATASET_NAME_SIZE], wanted[64];
    char zfs[] = "zfs", get[] = "get", flags[] = "-Hp", o[] = "-o", field[] = "value";
    char *argv[] = {zfs, get, flags, o, field, wanted, name, NULL};

    zb_strcopy(name, sizeof name, dataset);
    zb_strcopy(wanted, sizeof wanted, property);
    return zfs_run(argv, value, size, err);
}

/* The container that exists must be one: nothing of it is mounted or inherited as a mountpoint. */
static enum zb_rc
container_check(const char *root, struct zb_err *err)
{
    char canmount[64], mountpoint[ZB_PATH_SIZE];
    enum zb_rc rc = zfs_get(root, "canmount", canmount, sizeof canmount, err);

    if (rc == ZB_OK) {
        rc = zfs_get(root, "mountpoint", mountpoint, sizeof mountpoint, err);
    }
    if (rc == ZB_OK && (strcmp(canmount, "off") != 0 || strcmp(mountpoint, "none") != 0)) {
        zb_err_set(err, ZB_E_REFUSED, "%s exists with canmount=%s and mountpoint=%.100s", root,
                   canmount, mountpoint);
        rc = zb_err_hint(err,
                         "name a dataset that does not exist yet, or: zfs set canmount=off "
                         "mountpoint=none %.100s",
                         root);
    }
    return rc;
}

static enum zb_rc
container_make(struct zb_setup *s, struct zb_err *err)
{
    char name[ZB_DATASET_NAME_SIZE];
    char output[512];
    char zfs[] = "zfs", create[] = "create", o1[] = "-o", canmount[] = "canmount=off";
    char o2[] = "-o", mountpoint[] = "mountpoint=none";
    char *argv[] = {zfs, create, o1, canmount, o2, mountpoint, name, NULL};

    if (zfs_exists(s->conf.root, err) == ZB_OK) {
        return ZB_OK; /* looked at by zb_setup_begin */
    }
    zb_strcopy(name, sizeof name, s->conf.root);
    enum zb_rc rc = zfs_run(argv, output, sizeof output, err);
    s->dataset_made = rc == ZB_OK;
    return rc;
}

static void
container_destroy(const struct zb_setup *s)
{
    char name[ZB_DATASET_NAME_SIZE];
    char output[512];
    char zfs[] = "zfs", destroy[] = "destroy";
    char *argv[] = {zfs, destroy, name, NULL};
    struct zb_err err;

    zb_strcopy(name, sizeof name, s->conf.root);
    if (zfs_run(argv, output, sizeof output, &err) != ZB_OK) {
        fprintf(stderr, "zbaton: %s\n", err.msg);
    }
}

/* --- before anything is made --- */

static enum zb_rc
users_find(struct zb_setup *s, struct zb_err *err)
{
    const struct passwd *user = getpwnam(ZB_ENGINE_USER);

    if (user == NULL) {
        zb_err_set(err, ZB_E_NOTFOUND, "there is no user " ZB_ENGINE_USER);
        return zb_err_hint(err, "systemd-sysusers, or: useradd --system --user-group --home-dir / "
                                "--shell /usr/sbin/nologin " ZB_ENGINE_USER);
    }
    s->engine_uid = user->pw_uid;
    s->engine_gid = user->pw_gid;
    if (getgrnam(s->conf.group) == NULL) {
        fprintf(stderr,
                "warning: there is no group %s: only root will be able to use zbaton here "
                "(groupadd --system %s)\n",
                s->conf.group, s->conf.group);
    }
    return ZB_OK;
}

static bool
wildcard(const char *listen)
{
    return strncmp(listen, "0.0.0.0:", 8) == 0 || strncmp(listen, "[::]:", 5) == 0;
}

/* Values of the options, checked by parsing them as configuration. */
static enum zb_rc
conf_from_options(const struct zb_cli *cli, struct zb_setup *s, struct zb_err *err)
{
    char path[] = "/tmp/zbaton-conf-XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    enum zb_rc rc = ZB_OK;

    if (file == NULL) {
        return zb_err_sys(err, errno, "%s", path);
    }
    fprintf(file, "node = \"%s\"\nroot = \"%s\"\nlisten = \"%s\"\n", cli->values[ZB_OPT_NODE],
            cli->values[ZB_OPT_ROOT], cli->values[ZB_OPT_LISTEN]);
    if (fclose(file) != 0) {
        rc = zb_err_sys(err, errno, "%s", path);
    } else {
        rc = zb_conf_node_load(path, &s->conf, err);
    }
    unlink(path);
    if (rc == ZB_E_FORMAT) {
        zb_err_hint(err, "line 1 is --node, line 2 --root, line 3 --listen");
        err->rc = rc = ZB_E_USAGE;
    }
    return rc;
}

/* A file that is there already says more than the options (state-dir ...), but not something else.
 */
static enum zb_rc
conf_existing(const struct zb_cli *cli, struct zb_setup *s, struct zb_err *err)
{
    struct zb_conf_node conf;
    enum zb_rc rc = zb_conf_node_load(s->conf_path, &conf, err);

    if (rc != ZB_OK) {
        return rc;
    }
    if (strcmp(conf.node, cli->values[ZB_OPT_NODE]) != 0 ||
        strcmp(conf.root, cli->values[ZB_OPT_ROOT]) != 0 ||
        strcmp(conf.listen, cli->values[ZB_OPT_LISTEN]) != 0) {
        zb_err_set(err, ZB_E_REFUSED, "%s exists and says another node, root or listen",
                   s->conf_path);
        return zb_err_hint(err, "move it away, or give the options as it says");
    }
    s->conf = conf;
    s->conf_exists = true;
    return ZB_OK;
}

static enum zb_rc
nothing_here_check(const struct zb_setup *s, struct zb_err *err)
{
    static const char *const names[] = {ZB_FILE_CLUSTER, ZB_FILE_NODE_KEY, ZB_FILE_CA_KEY,
                                        ZB_FILE_HISTORY};
    char path[ZB_PATH_SIZE + 64];

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        state_path(s, names[i], path, sizeof path);
        if (access(path, F_OK) == 0) {
            zb_err_set(err, ZB_E_REFUSED, "%s exists: this host is a node already", path);
            return zb_err_hint(err, "zbaton status; to start anew, move %s away",
                               s->conf.state_dir);
        }
    }
    return ZB_OK;
}

/* A node that is made anew grants and leads as who knows nothing: not beside what it once knew. */
static enum zb_rc
no_records_check(const struct zb_setup *s, struct zb_err *err)
{
    char path[ZB_PATH_SIZE + 64];
    glob_t found = {0};
    enum zb_rc rc = ZB_OK;

    state_path(s, ZB_DIR_KEEPER "/*.record", path, sizeof path);
    if (glob(path, GLOB_NOSORT, NULL, &found) == 0) {
        zb_err_set(err, ZB_E_REFUSED, "%s exists: the keeper's records of a node are here",
                   found.gl_pathv[0]);
        rc = zb_err_hint(err, "move %s away", s->conf.state_dir);
    }
    globfree(&found);
    return rc;
}

static enum zb_rc
parent_check(struct zb_setup *s, struct zb_err *err)
{
    char parent[ZB_DATASET_NAME_SIZE];

    if (zfs_exists(s->conf.root, err) == ZB_OK) {
        s->root_exists = true;
        return container_check(s->conf.root, err);
    }
    zb_strcopy(parent, sizeof parent, s->conf.root);
    char *slash = strrchr(parent, '/');
    if (slash == NULL) {
        return err->rc; /* a whole pool that is not there */
    }
    *slash = '\0';
    enum zb_rc rc = zfs_exists(parent, err);
    if (rc == ZB_E_FAILED) {
        zb_err_hint(err, "--root names a dataset to be made in an existing pool or dataset");
    }
    return rc;
}

enum zb_rc
zb_setup_begin(const struct zb_cli *cli, struct zb_setup *s, struct zb_err *err)
{
    const char *address = cli->values[ZB_OPT_ADDRESS];
    enum zb_rc rc;

    *s = (struct zb_setup){.conf_path = cli->conf_path};
    if (geteuid() != 0) {
        return zb_err_set(err, ZB_E_AUTH, "only root can set up a node");
    }
    if (access(s->conf_path, F_OK) == 0) {
        rc = conf_existing(cli, s, err);
    } else {
        rc = conf_from_options(cli, s, err);
    }
    if (rc != ZB_OK) {
        return rc;
    }
    if (address == NULL && wildcard(s->conf.listen)) {
        return zb_err_set(err, ZB_E_USAGE,
                          "--listen %s is not an address to be reached at: give --address too",
                          s->conf.listen);
    }
    address = address == NULL ? s->conf.listen : address;
    if (strlen(address) >= sizeof s->address) {
        return zb_err_set(err, ZB_E_USAGE, "--address is too long");
    }
    zb_strcopy(s->address, sizeof s->address, address);
    rc = zb_cli_has(cli, ZB_OPT_RECOVER) ? ZB_OK : nothing_here_check(s, err);
    if (rc == ZB_OK && !zb_cli_has(cli, ZB_OPT_RECOVER)) {
        rc = no_records_check(s, err);
    }
    if (rc == ZB_OK) {
        rc = users_find(s, err);
    }
    return rc == ZB_OK ? parent_check(s, err) : rc;
}

/* --- making --- */

static enum zb_rc
dir_make(struct zb_setup *s, const char *path, mode_t mode, struct zb_err *err)
{
    if (mkdir(path, mode) == 0) {
        made_add(s, path);
        return ZB_OK;
    }
    return errno == EEXIST ? ZB_OK : zb_err_sys(err, errno, "make %s", path);
}

enum zb_rc
zb_setup_places_make(struct zb_setup *s, struct zb_err *err)
{
    char path[ZB_PATH_SIZE + 64];
    enum zb_rc rc = dir_make(s, s->conf.state_dir, 0755, err);

    if (rc == ZB_OK) {
        state_path(s, ZB_DIR_KEEPER, path, sizeof path);
        rc = dir_make(s, path, 0700, err);
    }
    if (rc == ZB_OK) {
        state_path(s, ZB_DIR_ENGINE, path, sizeof path);
        rc = dir_make(s, path, 0700, err);
    }
    return rc == ZB_OK ? container_make(s, err) : rc;
}

/* Made, too, is a file of which only the directory could not be synced. */
static enum zb_rc
file_make(struct zb_setup *s, const char *path, const char *text, struct zb_err *err)
{
    bool there = access(path, F_OK) == 0;
    enum zb_rc rc = zb_pki_file_write(path, text, 0, 0, err);

    if (rc == ZB_OK || (!there && access(path, F_OK) == 0)) {
        made_add(s, path);
    }
    return rc;
}

enum zb_rc
zb_setup_file_write(struct zb_setup *s, const char *name, const char *text, struct zb_err *err)
{
    char path[ZB_PATH_SIZE + 64];

    state_path(s, name, path, sizeof path);
    return file_make(s, path, text, err);
}

/* The history belongs to the engine; its directory is given away when everything in it is. */
static enum zb_rc
history_make(struct zb_setup *s, const struct zb_config_doc *doc, struct zb_err *err)
{
    /* Those beside the history are there when SQLite failed on the way, or at its end. */
    static const char *const names[] = {ZB_FILE_HISTORY, ZB_FILE_HISTORY "-journal",
                                        ZB_FILE_HISTORY "-wal", ZB_FILE_HISTORY "-shm"};
    const size_t count = sizeof names / sizeof names[0];
    char path[ZB_PATH_SIZE + 64];

    for (size_t i = 0; i < count; i++) {
        state_path(s, names[i], path, sizeof path);
        made_add(s, path);
    }
    state_path(s, ZB_FILE_HISTORY, path, sizeof path);
    enum zb_rc rc = zb_config_seed(path, doc, err);
    if (rc == ZB_OK && s->former[0] != '\0') {
        rc = zb_former_sets_copy(s->former, path, &doc->recovered, err);
    }
    if (rc != ZB_OK) {
        return rc;
    }
    for (size_t i = 0; i < count; i++) {
        state_path(s, names[i], path, sizeof path);
        if ((chmod(path, 0600) != 0 || chown(path, s->engine_uid, s->engine_gid) != 0) &&
            (i == 0 || errno != ENOENT)) {
            return zb_err_sys(err, errno, "%s", path);
        }
    }
    state_path(s, ZB_DIR_ENGINE, path, sizeof path);
    if (chown(path, s->engine_uid, s->engine_gid) != 0) {
        return zb_err_sys(err, errno, "%s", path);
    }
    return ZB_OK;
}

static enum zb_rc
conf_write(struct zb_setup *s, struct zb_err *err)
{
    char dir[ZB_PATH_SIZE];
    char *text = NULL;
    size_t size = 0;
    FILE *memory;
    enum zb_rc rc = ZB_OK;

    if (strlen(s->conf_path) >= sizeof dir) {
        return zb_err_set(err, ZB_E_LIMIT, "%s: path too long", s->conf_path);
    }
    zb_strcopy(dir, sizeof dir, s->conf_path);
    char *slash = strrchr(dir, '/');
    if (slash != NULL && slash != dir) {
        *slash = '\0';
        rc = dir_make(s, dir, 0755, err);
    }
    memory = rc == ZB_OK ? open_memstream(&text, &size) : NULL;
    if (memory == NULL) {
        return rc == ZB_OK ? zb_err_sys(err, errno, "%s", s->conf_path) : rc;
    }
    zb_conf_node_print(&s->conf, memory);
    if (fclose(memory) != 0) {
        rc = zb_err_sys(err, errno, "%s", s->conf_path);
    } else {
        rc = file_make(s, s->conf_path, text, err);
    }
    free(text);
    if (rc == ZB_OK) {
        /* Nothing in it is secret, and zbaton(8) of others reads where the socket is. */
        if (chmod(s->conf_path, 0644) != 0) {
            rc = zb_err_sys(err, errno, "%s", s->conf_path);
        }
    }
    return rc;
}

enum zb_rc
zb_setup_finish(struct zb_setup *s, const struct zb_config_doc *doc, const char *cluster_id,
                struct zb_err *err)
{
    char text[256];
    enum zb_rc rc = history_make(s, doc, err);

    if (rc == ZB_OK && !s->conf_exists) {
        rc = conf_write(s, err);
    }
    if (rc == ZB_OK) {
        (void)snprintf(text, sizeof text, "{\"name\": \"%s\", \"id\": \"%s\"}\n", doc->cluster,
                       cluster_id);
        rc = zb_setup_file_write(s, ZB_FILE_CLUSTER, text, err);
    }
    return rc;
}

void
zb_setup_undo(struct zb_setup *s)
{
    while (s->made_count > 0) {
        const char *path = s->made[--s->made_count];
        if (remove(path) != 0 && errno != ENOENT) {
            fprintf(stderr, "zbaton: %s stays: %s\n", path, strerror(errno));
        }
    }
    if (s->dataset_made) {
        container_destroy(s);
    }
    if (s->aside[0] != '\0' && rename(s->aside, s->conf.state_dir) != 0) {
        fprintf(stderr, "zbaton: %s stays: %s\n", s->aside, strerror(errno));
    }
}
