#include "keeper/sum.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/be.h"

#define PIECE_BYTES (256u << 10)
#define PART_BYTES (16u << 20) /* of a volume that are one name: whole pieces */
#define DIGEST_BYTES 32
#define NAMES_BYTES (44u << 10)
#define ERRORS_BYTES (8u << 10)
#define SHOWN_MAX 300 /* bytes of a path that are told */

/* --- texts --- */

static bool
text_open(struct zb_sum_text *t, size_t size)
{
    t->bytes = calloc(1, size);
    t->size = size;
    return t->bytes != NULL;
}

/* A whole line, or none. */
static void __attribute__((format(printf, 2, 3)))
text_add(struct zb_sum_text *t, const char *fmt, ...)
{
    size_t room = t->size - t->used;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(t->bytes + t->used, room, fmt, ap);
    va_end(ap);
    if (n > 0 && (size_t)n < room) {
        t->used += (size_t)n;
    } else {
        t->bytes[t->used] = '\0';
        t->left_off++;
    }
}

/* "log/a\x0ab": printable, one line, and of an end that shows where it was cut. */
static void
path_show(const struct zb_sum *s, char shown[SHOWN_MAX + 8])
{
    const char *parts[] = {s->rel, s->rel[0] != '\0' ? "/" : "",
                           s->path[0] != '\0' ? s->path : "."};
    size_t used = 0;

    for (size_t i = 0; i < 3; i++) {
        for (const char *p = parts[i]; *p != '\0'; p++) {
            unsigned char c = (unsigned char)*p;
            if (used >= SHOWN_MAX) {
                (void)snprintf(shown + used, 8, "...");
                return;
            }
            if (c >= ' ' && c < 0x7f && c != '\\') {
                shown[used++] = (char)c;
            } else {
                used += (size_t)snprintf(shown + used, 5, "\\x%02x", c);
            }
        }
    }
    shown[used] = '\0';
}

/* --- what is wanted --- */

static bool
number_read(const char **p, uint64_t max, uint64_t *value)
{
    char *end;

    if (**p < '0' || **p > '9') {
        return false;
    }
    errno = 0;
    *value = strtoull(*p, &end, 10);
    *p = end;
    return errno == 0 && *value <= max;
}

bool
zb_sum_range_parse(const char *text, struct zb_sum_options *o)
{
    struct zb_sum_options read = {0};
    uint64_t value;

    if (text != NULL && text[0] != '\0') {
        if (!number_read(&text, 2 * ZB_SUM_BUCKET_BITS, &value)) {
            return false;
        }
        read.bits = (uint32_t)value;
        while (*text == ' ' && read.prefixes_count < ZB_SUM_PREFIXES_MAX) {
            text++;
            if (!number_read(&text, (1u << read.bits) - 1, &value)) {
                return false;
            }
            read.prefixes[read.prefixes_count++] = (uint32_t)value;
        }
        if (*text != '\0' || (read.bits == 0) != (read.prefixes_count == 0)) {
            return false;
        }
    }
    o->bits = read.bits;
    o->prefixes_count = read.prefixes_count;
    memcpy(o->prefixes, read.prefixes, sizeof(read.prefixes));
    return true;
}

static bool
is_wanted(const struct zb_sum_options *o, uint64_t position)
{
    if (o->bits == 0) {
        return true;
    }
    for (uint32_t i = 0; i < o->prefixes_count; i++) {
        if (position >> (64 - o->bits) == o->prefixes[i]) {
            return true;
        }
    }
    return false;
}

/* --- digests --- */

static bool
digest_begin(const struct zb_sum *s)
{
    return EVP_DigestInit_ex2(s->md_ctx, s->md, NULL) == 1;
}

static bool
digest_add(const struct zb_sum *s, const void *bytes, size_t size)
{
    return EVP_DigestUpdate(s->md_ctx, bytes, size) == 1;
}

static bool
digest_end(const struct zb_sum *s, uint8_t digest[DIGEST_BYTES])
{
    return EVP_DigestFinal_ex(s->md_ctx, digest, NULL) == 1;
}

static enum zb_rc
digest_failed(struct zb_err *err)
{
    return zb_err_set(err, ZB_E_NOMEM, "no memory for a digest");
}

static bool
key_make(const struct zb_sum *s, uint8_t key[DIGEST_BYTES])
{
    uint8_t seed[8];

    zb_be64_put(seed, s->options.seed);
    return digest_begin(s) && digest_add(s, seed, sizeof(seed)) &&
           digest_add(s, s->rel, strlen(s->rel) + 1) &&
           digest_add(s, s->path, strlen(s->path) + 1) && digest_end(s, key);
}

/* --- one name --- */

struct entry {
    int fd;           /* of the directory it is in */
    const char *name; /* in that */
    const struct stat *st;
    int error;  /* why it, or its content, cannot be read */
    int device; /* of a volume, whose part it is; else -1 */
    off_t from; /* where the part begins */
    uint8_t key[DIGEST_BYTES];
    uint8_t digest[DIGEST_BYTES];
};

/* A piece of a file, all of it unless the file ends. -1 with errno. */
static ssize_t
piece_read(const struct zb_sum *s, int file, off_t at)
{
    size_t used = 0;
    ssize_t n = 1;

    while (used < PIECE_BYTES && n > 0) {
        n = pread(file, s->piece + used, PIECE_BYTES - used, at + (off_t)used);
        if (n < 0 && errno == EINTR) {
            n = 1;
        } else if (n > 0) {
            used += (size_t)n;
        }
    }
    return n < 0 ? -1 : (ssize_t)used;
}

static bool
is_zeros(const uint8_t *bytes, size_t size)
{
    return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

/* Adds a piece with where it stands. A piece of zeros is left out, as holes are: which of the two a
 * file system has made of it differs between hosts, and says nothing of the content. */
static bool
piece_add(const struct zb_sum *s, off_t at, size_t size)
{
    uint8_t head[16];

    zb_be64_put(head, (uint64_t)at);
    zb_be64_put(head + 8, size);
    return is_zeros(s->piece, size) ||
           (digest_add(s, head, sizeof(head)) && digest_add(s, s->piece, size));
}

/* Where the first piece with data at or after `at` begins, which begins one; -1: there is none. */
static off_t
data_find(int file, off_t at)
{
    off_t data = lseek(file, at, SEEK_DATA);

    if (data < 0) {
        return errno == ENXIO ? -1 : at; /* else it cannot tell: all of it is read */
    }
    return data - data % (off_t)PIECE_BYTES;
}

/* What go_on says; of the time that is over, in which file. */
static enum zb_rc
go_on_in(const struct zb_sum *s, struct zb_err *err)
{
    char shown[SHOWN_MAX + 8];
    enum zb_rc rc = s->options.go_on != NULL ? s->options.go_on(s->options.ctx, err) : ZB_OK;

    if (rc == ZB_E_TIMEOUT) {
        path_show(s, shown);
        rc = zb_err_wrap(err, "in %s", shown);
    }
    return rc;
}

/* Piece by piece, from where it is at to its end, or to `end`. */
static enum zb_rc
pieces_add(struct zb_sum *s, struct entry *e, int file, off_t at, off_t end, struct zb_err *err)
{
    enum zb_rc rc = ZB_OK;

    while (rc == ZB_OK && at < end && (at = data_find(file, at)) >= 0 && at < end) {
        ssize_t n = piece_read(s, file, at);
        if (n <= 0) {
            e->error = n < 0 ? errno : 0;
            break;
        }
        s->read_bytes += (uint64_t)n;
        rc = piece_add(s, at, (size_t)n) ? go_on_in(s, err) : digest_failed(err);
        if ((size_t)n < PIECE_BYTES) {
            break;
        }
        at += n;
    }
    s->read_files += e->error == 0 ? 1 : 0;
    return rc;
}

/* The content of a regular file. */
static enum zb_rc
content_add(struct zb_sum *s, struct entry *e, struct zb_err *err)
{
    int file = openat(e->fd, e->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    enum zb_rc rc = ZB_OK;
    struct stat now;

    if (file < 0 || fstat(file, &now) != 0) {
        e->error = errno;
    } else if (!S_ISREG(now.st_mode) || now.st_ino != e->st->st_ino) {
        e->error = ESTALE; /* of a set nothing changes under us */
    }
    if (e->error == 0) {
        rc = pieces_add(s, e, file, 0, INT64_MAX, err);
    }
    if (file >= 0) {
        (void)close(file);
    }
    return rc;
}

static enum zb_rc
target_add(const struct zb_sum *s, struct entry *e, struct zb_err *err)
{
    char target[PATH_MAX];
    ssize_t n = readlinkat(e->fd, e->name, target, sizeof(target));

    if (n < 0) {
        e->error = errno;
        return ZB_OK;
    }
    return digest_add(s, target, (size_t)n) ? ZB_OK : digest_failed(err);
}

/* Type, mode and owner of everything; what else counts depends on the type. */
static bool
meta_add(const struct zb_sum *s, const struct stat *st)
{
    bool sized = S_ISREG(st->st_mode) || S_ISLNK(st->st_mode);
    bool device = S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode);
    char text[160];
    int n = snprintf(
        text, sizeof(text), "%o %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRId64 " %u:%u\n",
        (unsigned)st->st_mode, (uint64_t)st->st_uid, (uint64_t)st->st_gid,
        S_ISDIR(st->st_mode) ? 0 : (uint64_t)st->st_nlink, sized ? (int64_t)st->st_size : 0,
        device ? major(st->st_rdev) : 0, device ? minor(st->st_rdev) : 0);

    return digest_add(s, text, (size_t)n);
}

static void
unreadable_tell(struct zb_sum *s, int error)
{
    char shown[SHOWN_MAX + 8];

    if (++s->unreadable <= ZB_SUM_ERRORS_MAX) {
        path_show(s, shown);
        text_add(&s->errors, "error %d %s\n", error, shown);
    }
}

static void
tally(struct zb_sum *s, uint64_t position, const uint8_t digest[DIGEST_BYTES])
{
    const uint64_t words[2] = {zb_be64_get(digest), zb_be64_get(digest + 8)};
    uint64_t after = s->options.bits == 0 ? position : position << s->options.bits;
    struct zb_sum_bucket *b = &s->buckets[after >> (64 - ZB_SUM_BUCKET_BITS)];
    char shown[SHOWN_MAX + 8];

    b->count++;
    b->words[0] += words[0]; /* they wrap around */
    b->words[1] += words[1];
    if (s->options.list) {
        path_show(s, shown);
        text_add(&s->names, "name %016" PRIx64 " %016" PRIx64 "%016" PRIx64 " %s\n", position,
                 words[0], words[1], shown);
    }
}

/* What is in it: of a file that is drawn, or of a symbolic link. */
static enum zb_rc
inside_add(struct zb_sum *s, struct entry *e, struct zb_err *err)
{
    if (e->error != 0 || S_ISDIR(e->st->st_mode)) {
        return ZB_OK;
    }
    if (S_ISLNK(e->st->st_mode)) {
        return target_add(s, e, err);
    }
    bool drawn = zb_be32_get(e->key + 8) % ZB_SUM_ALL < s->options.share;
    if (!S_ISREG(e->st->st_mode) || !drawn) {
        return ZB_OK;
    }
    if (e->device >= 0) {
        return pieces_add(s, e, e->device, e->from, e->from + e->st->st_size, err);
    }
    return content_add(s, e, err);
}

/* The digest of a name over its key, what it is, and what is in it. */
static enum zb_rc
entry_digest(struct zb_sum *s, struct entry *e, struct zb_err *err)
{
    enum zb_rc rc;
    char text[32];
    int n;

    if (!digest_begin(s) || !digest_add(s, e->key, DIGEST_BYTES) ||
        (e->error == 0 && !meta_add(s, e->st))) {
        return digest_failed(err);
    }
    rc = inside_add(s, e, err);
    if (rc != ZB_OK) {
        return rc;
    }
    n = snprintf(text, sizeof(text), "\nerror %d", e->error);
    return digest_add(s, text, (size_t)n) && digest_end(s, e->digest) ? ZB_OK : digest_failed(err);
}

static enum zb_rc
entry_add(struct zb_sum *s, struct entry *e, struct zb_err *err)
{
    uint64_t position;
    enum zb_rc rc;

    if (!key_make(s, e->key)) {
        return digest_failed(err);
    }
    position = zb_be64_get(e->key);
    if (!is_wanted(&s->options, position)) {
        return ZB_OK;
    }
    rc = entry_digest(s, e, err);
    if (rc != ZB_OK) {
        return rc;
    }
    s->entries++;
    s->files += e->st != NULL && S_ISREG(e->st->st_mode) ? 1 : 0;
    if (e->error != 0) {
        unreadable_tell(s, e->error);
    }
    tally(s, position, e->digest);
    return ZB_OK;
}

enum zb_rc
zb_sum_entry_add(struct zb_sum *s, int fd, const char *name, const struct stat *st, int error,
                 struct zb_err *err)
{
    struct entry e = {.fd = fd, .name = name, .st = st, .error = error, .device = -1};

    return entry_add(s, &e, err);
}

/* --- volumes --- */

static enum zb_rc
parts_add(struct zb_sum *s, int device, off_t size, struct zb_err *err)
{
    enum zb_rc rc = ZB_OK;

    for (off_t at = 0; at < size && rc == ZB_OK; at += PART_BYTES) {
        const struct stat st = {.st_mode = S_IFREG,
                                .st_size = size - at < PART_BYTES ? size - at : PART_BYTES};
        struct entry e = {.fd = -1, .name = "", .st = &st, .device = device, .from = at};

        (void)snprintf(s->path, ZB_SUM_PATH_MAX, "from byte %" PRId64, (int64_t)at);
        rc = entry_add(s, &e, err);
        if (rc == ZB_OK && s->options.go_on != NULL) {
            rc = s->options.go_on(s->options.ctx, err);
        }
    }
    s->path[0] = '\0';
    return rc;
}

enum zb_rc
zb_sum_volume(struct zb_sum *s, const char *rel, const char *path, dev_t dev, struct zb_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    enum zb_rc rc = ZB_OK;
    off_t size = 0;

    if (fd < 0 || fstat(fd, &st) != 0 || (size = lseek(fd, 0, SEEK_END)) < 0) {
        rc = zb_err_sys(err, errno, "open %.400s", path);
    } else if (!S_ISBLK(st.st_mode) || st.st_rdev != dev) {
        rc = zb_err_set(err, ZB_E_MISMATCH, "%.400s is another device than before", path);
    }
    if (rc == ZB_OK) {
        s->rel = rel;
        rc = parts_add(s, fd, size, err);
        s->rel = "";
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return rc;
}

/* --- all of it --- */

enum zb_rc
zb_sum_open(struct zb_sum *s, const struct zb_sum_options *options, struct zb_err *err)
{
    *s = (struct zb_sum){.options = *options, .rel = ""};
    if (options->share > ZB_SUM_ALL || (!options->list && options->prefixes_count > 1)) {
        return zb_err_set(err, ZB_E_USAGE, "a share of at most %u and one range are wanted",
                          ZB_SUM_ALL);
    }
    s->buckets = calloc(ZB_SUM_BUCKETS, sizeof(*s->buckets));
    s->piece = malloc(PIECE_BYTES);
    s->path = calloc(1, ZB_SUM_PATH_MAX);
    s->md = EVP_MD_fetch(NULL, "SHA256", NULL);
    s->md_ctx = EVP_MD_CTX_new();
    if (!text_open(&s->names, NAMES_BYTES) || !text_open(&s->errors, ERRORS_BYTES) ||
        s->buckets == NULL || s->piece == NULL || s->path == NULL || s->md == NULL ||
        s->md_ctx == NULL) {
        return zb_err_set(err, ZB_E_NOMEM, "no memory for sums");
    }
    return ZB_OK;
}

void
zb_sum_close(struct zb_sum *s)
{
    free(s->buckets);
    free(s->piece);
    free(s->path);
    free(s->names.bytes);
    free(s->errors.bytes);
    EVP_MD_free(s->md);
    EVP_MD_CTX_free(s->md_ctx);
    *s = (struct zb_sum){0};
}

char *
zb_sum_text_new(const struct zb_sum *s)
{
    struct zb_sum_text t = {0};

    if (!text_open(&t, NAMES_BYTES + ERRORS_BYTES + 256)) {
        return NULL;
    }
    text_add(&t, "total %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", s->entries,
             s->files, s->read_files, s->read_bytes, s->unreadable);
    text_add(&t, "%s", s->errors.bytes);
    if (s->options.list) {
        text_add(&t, "%s", s->names.bytes);
        if (s->names.left_off > 0) {
            text_add(&t, "more %" PRIu64 "\n", s->names.left_off);
        }
        return t.bytes;
    }
    for (size_t i = 0; i < ZB_SUM_BUCKETS; i++) {
        const struct zb_sum_bucket *b = &s->buckets[i];
        if (b->count > 0) {
            text_add(&t, "sum %zu %016" PRIx64 "%016" PRIx64 "\n", i, b->words[0], b->words[1]);
        }
    }
    return t.bytes;
}
