#include "zfs_test.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void
assert_contains(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) {
        fail_msg("\"%s\" does not contain \"%s\"", text, part);
    }
}

void
sh(const char *fmt, ...)
{
    char command[4096];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(command, sizeof command, fmt, ap);
    va_end(ap);
    int status = system(command);
    if (status != 0) {
        fail_msg("\"%s\" ended with %d", command, status);
    }
}

const char *
sh_out(const char *fmt, ...)
{
    static char line[4096];
    char command[4096];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(command, sizeof command, fmt, ap);
    va_end(ap);
    FILE *p = popen(command, "re");
    assert_non_null(p);
    line[0] = '\0';
    if (fgets(line, sizeof line, p) != NULL) {
        line[strcspn(line, "\n")] = '\0';
    }
    if (pclose(p) != 0) {
        fail_msg("\"%s\" failed", command);
    }
    return line;
}

uint64_t
sh_number(const char *fmt, ...)
{
    char command[4096];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(command, sizeof command, fmt, ap);
    va_end(ap);
    return strtoull(sh_out("%s", command), NULL, 10);
}

/* Children of a test that failed before it ended them. */
static int children[16];

static void
end_children(void)
{
    for (size_t i = 0; i < sizeof children / sizeof children[0]; i++) {
        if (children[i] != 0) {
            kill(-children[i], SIGKILL);
            waitpid(children[i], NULL, 0);
            children[i] = 0;
        }
    }
}

int
test_setup(void **state)
{
    (void)state;
    end_children();
    sh("{ tac /proc/mounts | awk '$2 ~ \"^/zt(/|$)\" {print $2}' | sed 's/\\\\040/ /g' |"
       " tr '\\n' '\\0' | xargs -0rn1 umount -l; losetup -D;"
       " for p in zta ztb; do"
       " zfs list -H $p/t >/dev/null 2>&1 && { zfs destroy -R $p/t ||"
       " { zfs list -Hrt snapshot -o name $p/t | xargs -rd '\\n' zfs holds -H |"
       " while read -r snap tag when; do zfs release $tag $snap; done; zfs destroy -R $p/t; }; };"
       " zfs create -o canmount=off -o mountpoint=none $p/t || exit 1;"
       " done; rm -rf --one-file-system /zt; mkdir /zt; } >&2");
    return 0;
}

void
make_copy(const char *dataset)
{
    static const struct zb_zfs_setprop props[] = {
        {.name = "readonly", .number = ZB_ZFS_ON},
        {.name = "canmount", .number = ZB_ZFS_CANMOUNT_NOAUTO},
        {.name = "dnodesize", .number = ZB_ZFS_DNODESIZE_LEGACY},
        {.name = "mountpoint", .text = "none"},
    };
    struct zb_err err;
    ok(zb_zfs_create(dataset, props, sizeof props / sizeof props[0], &err));
}

void
make_mounted(const char *dataset, const char *dir)
{
    struct zb_err err;
    make_copy(dataset);
    ok(zb_os_mount(dataset, dir, ZB_OS_MOUNT_RW, &err));
}

void
write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fsync(fd), 0);
    close(fd);
}

void
write_random(const char *path, size_t size)
{
    char *buf = malloc(size);
    assert_non_null(buf);
    zb_random(buf, size);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, buf, size), size);
    close(fd);
    free(buf);
}

uint64_t
guid_of(const char *name)
{
    return sh_number("zfs get -Hp -o value guid '%s'", name);
}

uint64_t
written_of(const char *dataset)
{
    struct zb_zfs_props props = {0};
    struct zb_err err;
    ok(zb_zfs_props_get(dataset, &props, &err));
    uint64_t written = props.written_bytes;
    zb_zfs_props_close(&props);
    return written;
}

bool
exists(const char *name)
{
    uint64_t guid;
    struct zb_err err;
    return zb_zfs_guids(&name, 1, &guid, &err) == ZB_OK;
}

void
snapshot(const char *snap)
{
    struct zb_err err;
    ok(zb_zfs_snapshot(&snap, 1, NULL, &err));
}

uint64_t
open_txg(const char *pool)
{
    return sh_number("awk 'END {print $1}' /proc/spl/kstat/zfs/%s/txgs", pool);
}

int64_t
now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void *
run_sender(void *arg)
{
    struct sender *s = arg;
    s->rc = zb_zfs_send(&s->send, &s->err);
    close(s->send.fd);
    return NULL;
}

void
sender_start_at(struct sender *s, const char *snap, const char *from,
                const struct zb_zfs_token *token)
{
    struct zb_err err;
    pthread_t thread;
    *s = (struct sender){.send = {.snap = snap, .from = from}};
    if (token != NULL) {
        s->send.resume_object = token->object;
        s->send.resume_offset = token->offset;
    }
    ok(zb_os_pipe_open(&s->read_fd, &s->send.fd, &err));
    assert_int_equal(pthread_create(&thread, NULL, run_sender, s), 0);
    s->thread = (uint64_t)thread;
}

void
sender_start(struct sender *s, const char *snap, const char *from)
{
    sender_start_at(s, snap, from, NULL);
}

enum zb_rc
sender_end(struct sender *s)
{
    if (s->read_fd >= 0) {
        close(s->read_fd);
        s->read_fd = -1;
    }
    pthread_join((pthread_t)s->thread, NULL);
    return s->rc;
}

enum zb_rc
transfer(const char *snap, const char *from, struct zb_zfs_receive *receive, struct zb_err *err)
{
    struct sender s;
    uint8_t begin[ZB_ZFS_BEGIN_SIZE];
    uint64_t bytes = 0;

    sender_start(&s, snap, from);
    enum zb_rc rc = zb_zfs_begin_read(s.read_fd, begin, err);
    if (rc == ZB_OK) {
        receive->fd = s.read_fd;
        receive->begin = begin;
        rc = zb_zfs_receive(receive, &bytes, err);
    }
    enum zb_rc sent = sender_end(&s);
    if (rc == ZB_OK) {
        assert_int_equal(sent, ZB_OK);
        assert_true(bytes > ZB_ZFS_BEGIN_SIZE);
    }
    return rc;
}

void
child_start(struct child *c, const char *command)
{
    int ends[2];
    char byte;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    c->pid = fork();
    assert_true(c->pid >= 0);
    if (c->pid == 0) {
        setpgid(0, 0);
        dup2(ends[1], 1);
        execl("/bin/bash", "bash", "-c", command, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    c->out = ends[0];
    for (size_t i = 0; i < sizeof children / sizeof children[0]; i++) {
        if (children[i] == 0) {
            children[i] = c->pid;
            break;
        }
    }
    assert_int_equal(read(c->out, &byte, 1), 1);
}

void
child_end(struct child *c)
{
    end_children();
    close(c->out);
}

int
main(int argc, char **argv)
{
    static const struct {
        const char *name;
        const struct CMUnitTest *tests;
        const size_t *count;
    } groups[] = {
        {"props", props_tests, &props_tests_count},
        {"snap", snap_tests, &snap_tests_count},
        {"snap_prop", snap_prop_tests, &snap_prop_tests_count},
        {"clone", clone_tests, &clone_tests_count},
        {"stream", stream_tests, &stream_tests_count},
        {"resume", resume_tests, &resume_tests_count},
        {"held", held_tests, &held_tests_count},
        {"mount", mount_tests, &mount_tests_count},
        {"holder", holder_tests, &holder_tests_count},
        {"measure", measure_tests, &measure_tests_count},
    };
    struct zb_zfs_version version;
    struct zb_err err;
    int failed = 0;

    if (zb_zfs_init(&version, &err) != ZB_OK) {
        fprintf(stderr, "%s\n", err.msg);
        return 2;
    }
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        failed +=
            _cmocka_run_group_tests(groups[i].name, groups[i].tests, *groups[i].count, NULL, NULL);
    }
    zb_zfs_close();
    return failed != 0;
}
