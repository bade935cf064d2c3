#include "vfs.h"

#include "fault.h"

#include <sqlite3.h>
#include <unistd.h>

#define FILES_MAX 16

/* A file as it is known to be on the disk. size < 0: it is not there. */
struct image {
    char path[256];
    long size;
    char *bytes;
};

struct shim_file {
    sqlite3_file base; /* what SQLite sees */
    struct image *image;
    sqlite3_file *real;
};

static sqlite3_vfs *below;
static sqlite3_vfs shim;
static int failing_rc;
static struct image images[FILES_MAX];
static unsigned images_count;

static sqlite3_file *
real_of(sqlite3_file *file)
{
    return ((struct shim_file *)(void *)file)->real;
}

static int
failure(int kind)
{
    return failing_rc == SQLITE_FULL ? SQLITE_FULL : kind;
}

/* --- what is on the disk --- */

static void
image_read(struct image *image)
{
    FILE *file = fopen(image->path, "re");

    free(image->bytes);
    image->bytes = NULL;
    image->size = -1;
    if (file == NULL) {
        return;
    }
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    image->size = ftell(file);
    rewind(file);
    image->bytes = malloc((size_t)image->size + 1);
    assert_non_null(image->bytes);
    assert_int_equal(fread(image->bytes, 1, (size_t)image->size, file), image->size);
    (void)fclose(file);
}

/* With the sync of a file go the deletions before it: a file that is new is synced with its
 * directory, and file systems keep the order. */
static void
images_sync(struct image *synced)
{
    for (unsigned i = 0; i < images_count; i++) {
        if (&images[i] == synced || access(images[i].path, F_OK) != 0) {
            image_read(&images[i]);
        }
    }
}

static struct image *
image_of(const char *path)
{
    for (unsigned i = 0; i < images_count; i++) {
        if (strcmp(images[i].path, path) == 0) {
            return &images[i];
        }
    }
    assert_true(images_count < FILES_MAX);
    struct image *image = &images[images_count++];
    (void)snprintf(image->path, sizeof image->path, "%s", path);
    image_read(image);
    return image;
}

void
fault_vfs_power_on(void)
{
    while (images_count > 0) {
        free(images[--images_count].bytes);
    }
    memset(images, 0, sizeof images);
}

void
fault_vfs_power_cut(void)
{
    for (unsigned i = 0; i < images_count; i++) {
        struct image *image = &images[i];
        (void)unlink(image->path);
        if (image->size < 0) {
            continue;
        }
        FILE *file = fopen(image->path, "we");
        assert_non_null(file);
        assert_int_equal(fwrite(image->bytes, 1, (size_t)image->size, file), image->size);
        assert_int_equal(fclose(file), 0);
    }
    fault_vfs_power_on();
}

/* --- files --- */

static int
file_close(sqlite3_file *file)
{
    return real_of(file)->pMethods->xClose(real_of(file));
}

static int
file_read(sqlite3_file *file, void *to, int size, sqlite3_int64 at)
{
    return real_of(file)->pMethods->xRead(real_of(file), to, size, at);
}

static int
file_write(sqlite3_file *file, const void *from, int size, sqlite3_int64 at)
{
    sqlite3_file *real = real_of(file);

    if (fault_due()) {
        (void)real->pMethods->xWrite(real, from, size / 2, at);
        return failure(SQLITE_IOERR_WRITE);
    }
    return real->pMethods->xWrite(real, from, size, at);
}

static int
file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    return fault_due() ? failure(SQLITE_IOERR_TRUNCATE)
                       : real_of(file)->pMethods->xTruncate(real_of(file), size);
}

static int
file_sync(sqlite3_file *file, int flags)
{
    struct shim_file *f = (void *)file;

    if (fault_due()) {
        return failure(SQLITE_IOERR_FSYNC);
    }
    int rc = f->real->pMethods->xSync(f->real, flags);
    if (rc == SQLITE_OK && f->image != NULL) {
        images_sync(f->image);
    }
    return rc;
}

static int
file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    return real_of(file)->pMethods->xFileSize(real_of(file), size);
}

static int
file_lock(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xLock(real_of(file), level);
}

static int
file_unlock(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xUnlock(real_of(file), level);
}

static int
file_reserved(sqlite3_file *file, int *out)
{
    return real_of(file)->pMethods->xCheckReservedLock(real_of(file), out);
}

static int
file_control(sqlite3_file *file, int op, void *arg)
{
    return real_of(file)->pMethods->xFileControl(real_of(file), op, arg);
}

static int
file_sector(sqlite3_file *file)
{
    return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int
file_features(sqlite3_file *file)
{
    return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

static int
file_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **out)
{
    return real_of(file)->pMethods->xShmMap(real_of(file), page, size, extend, out);
}

static int
file_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
    return real_of(file)->pMethods->xShmLock(real_of(file), offset, n, flags);
}

static void
file_shm_barrier(sqlite3_file *file)
{
    real_of(file)->pMethods->xShmBarrier(real_of(file));
}

static int
file_shm_unmap(sqlite3_file *file, int remove_it)
{
    return real_of(file)->pMethods->xShmUnmap(real_of(file), remove_it);
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector,
    .xDeviceCharacteristics = file_features,
    .xShmMap = file_shm_map,
    .xShmLock = file_shm_lock,
    .xShmBarrier = file_shm_barrier,
    .xShmUnmap = file_shm_unmap,
};

/* --- the file system --- */

static int
shim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
    struct shim_file *f = (void *)file;

    (void)vfs;
    f->base.pMethods = NULL;
    f->real = (void *)(f + 1);
    f->image = name != NULL ? image_of(name) : NULL;
    int rc = below->xOpen(below, name, f->real, flags, out_flags);
    if (f->real->pMethods != NULL) {
        f->base.pMethods = &methods;
    }
    return rc;
}

static int
shim_delete(sqlite3_vfs *vfs, const char *name, int sync_dir)
{
    (void)vfs;
    if (fault_due()) {
        return failure(SQLITE_IOERR_DELETE);
    }
    int rc = below->xDelete(below, name, sync_dir);
    if (rc == SQLITE_OK && sync_dir != 0) {
        images_sync(NULL);
    }
    return rc;
}

static int
shim_last_error(sqlite3_vfs *vfs, int size, char *text)
{
    (void)vfs;
    (void)size;
    (void)text;
    return 0; /* a failure of ours has no errno */
}

void
fault_vfs_use(int rc)
{
    failing_rc = rc;
    if (below != NULL) {
        return;
    }
    below = sqlite3_vfs_find(NULL);
    assert_non_null(below);
    shim = *below;
    shim.zName = "fault";
    shim.szOsFile = below->szOsFile + (int)sizeof(struct shim_file);
    shim.xOpen = shim_open;
    shim.xDelete = shim_delete;
    shim.xGetLastError = shim_last_error;
    assert_int_equal(sqlite3_vfs_register(&shim, 1), SQLITE_OK);
}

/* --- memory --- */

static sqlite3_mem_methods sqlite_own;

static void *
sqlite_malloc(int size)
{
    return fault_due() ? NULL : sqlite_own.xMalloc(size);
}

static void *
sqlite_realloc(void *old, int size)
{
    return fault_due() ? NULL : sqlite_own.xRealloc(old, size);
}

void
fault_sqlite_memory_use(void)
{
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &sqlite_own), SQLITE_OK);
    sqlite3_mem_methods ours = sqlite_own;
    ours.xMalloc = sqlite_malloc;
    ours.xRealloc = sqlite_realloc;
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_MALLOC, &ours), SQLITE_OK);
}
