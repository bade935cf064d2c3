/* System calls on files of our own code: EIO, and of a write its first half. */
#include "fault.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* The names that the linker sees with 64-bit offsets. */
int __real_open64(const char *path, int flags, mode_t mode);
int __real_openat64(int dir, const char *path, int flags, mode_t mode);
int __real_mkostemp64(char *path, int flags);
ssize_t __real_read(int fd, void *to, size_t size);
ssize_t __real_write(int fd, const void *from, size_t size);
int __real_fsync(int fd);
int __real_fstat64(int fd, struct stat *st);
int __real_rename(const char *from, const char *to);
int __real_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __real_unlinkat(int dir, const char *path, int flags);
int __real_fchown(int fd, uid_t uid, gid_t gid);
int __real_chown(const char *path, uid_t uid, gid_t gid);
int __real_chmod(const char *path, mode_t mode);
DIR *__real_fdopendir(int fd);
struct dirent *__real_readdir64(DIR *dir);

int __wrap_open64(const char *path, int flags, ...);
int __wrap_openat64(int dir, const char *path, int flags, ...);
int __wrap_mkostemp64(char *path, int flags);
ssize_t __wrap_read(int fd, void *to, size_t size);
ssize_t __wrap_write(int fd, const void *from, size_t size);
int __wrap_fsync(int fd);
int __wrap_fstat64(int fd, struct stat *st);
int __wrap_rename(const char *from, const char *to);
int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __wrap_unlinkat(int dir, const char *path, int flags);
int __wrap_fchown(int fd, uid_t uid, gid_t gid);
int __wrap_chown(const char *path, uid_t uid, gid_t gid);
int __wrap_chmod(const char *path, mode_t mode);
DIR *__wrap_fdopendir(int fd);
struct dirent *__wrap_readdir64(DIR *dir);

static bool
refused(void)
{
    bool due = fault_due();

    if (due) {
        errno = EIO;
    }
    return due;
}

/* The mode of an open that makes a file. */
static mode_t
mode_of(int flags, va_list args)
{
    return (flags & O_CREAT) != 0 ? va_arg(args, mode_t) : 0;
}

int
__wrap_open64(const char *path, int flags, ...)
{
    va_list args;

    va_start(args, flags);
    mode_t mode = mode_of(flags, args);
    va_end(args);
    return refused() ? -1 : __real_open64(path, flags, mode);
}

int
__wrap_openat64(int dir, const char *path, int flags, ...)
{
    va_list args;

    va_start(args, flags);
    mode_t mode = mode_of(flags, args);
    va_end(args);
    return refused() ? -1 : __real_openat64(dir, path, flags, mode);
}

int
__wrap_mkostemp64(char *path, int flags)
{
    return refused() ? -1 : __real_mkostemp64(path, flags);
}

ssize_t
__wrap_read(int fd, void *to, size_t size)
{
    return refused() ? -1 : __real_read(fd, to, size);
}

ssize_t
__wrap_write(int fd, const void *from, size_t size)
{
    if (!refused()) {
        return __real_write(fd, from, size);
    }
    (void)!__real_write(fd, from, size / 2);
    errno = EIO;
    return -1;
}

int
__wrap_fsync(int fd)
{
    return refused() ? -1 : __real_fsync(fd);
}

int
__wrap_fstat64(int fd, struct stat *st)
{
    return refused() ? -1 : __real_fstat64(fd, st);
}

int
__wrap_rename(const char *from, const char *to)
{
    return refused() ? -1 : __real_rename(from, to);
}

int
__wrap_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    return refused() ? -1 : __real_renameat(from_dir, from, to_dir, to);
}

int
__wrap_unlinkat(int dir, const char *path, int flags)
{
    return refused() ? -1 : __real_unlinkat(dir, path, flags);
}

int
__wrap_fchown(int fd, uid_t uid, gid_t gid)
{
    return refused() ? -1 : __real_fchown(fd, uid, gid);
}

int
__wrap_chown(const char *path, uid_t uid, gid_t gid)
{
    return refused() ? -1 : __real_chown(path, uid, gid);
}

int
__wrap_chmod(const char *path, mode_t mode)
{
    return refused() ? -1 : __real_chmod(path, mode);
}

DIR *
__wrap_fdopendir(int fd)
{
    return refused() ? NULL : __real_fdopendir(fd);
}

struct dirent *
__wrap_readdir64(DIR *dir)
{
    return refused() ? NULL : __real_readdir64(dir);
}
