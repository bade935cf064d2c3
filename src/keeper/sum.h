/*
 * What is in mounted file systems, and in volumes, as sums that another host's can be compared
 * with: of each name its type, mode, owner, links, and size, the target of a symbolic link, the
 * number of a device; and of the files that are drawn their content, where holes are as good as
 * zeros and are not read. Not the times. SHA-256 by OpenSSL.
 *
 * Each name has a position, the digest of a seed and of its path, by which it falls into a bucket;
 * a bucket's sum does not depend on the order in which a directory tells its names. So two trees
 * are compared by ZB_SUM_BUCKETS sums, and the names of a bucket that differs are looked at in
 * another walk. Memory is bounded whatever the tree is like: of a path below ZB_SUM_PATH_MAX, and
 * of ZB_SUM_OPEN_MAX directories that are open at once.
 *
 * What cannot be read is part of the sums with its error, counted, and told by name. Changes
 * nothing, and within a file system follows no symbolic link, and opens nothing but directories and
 * regular files. Blocks as
 * the file system does: worker threads only.
 */
#ifndef ZB_KEEPER_SUM_H
#define ZB_KEEPER_SUM_H

#include <dirent.h>
#include <sys/stat.h>

#include <openssl/evp.h>

#include "base/types.h"

#define ZB_SUM_BUCKET_BITS 10
#define ZB_SUM_BUCKETS (1u << ZB_SUM_BUCKET_BITS)
#define ZB_SUM_PREFIXES_MAX 8
#define ZB_SUM_ALL 10000u /* a share: every file's content */
#define ZB_SUM_PATH_MAX 65536u
#define ZB_SUM_OPEN_MAX 64
#define ZB_SUM_ERRORS_MAX 20 /* that are told by name */

struct zb_sum_options {
    uint64_t seed;
    uint32_t share; /* of the files whose content is read, in 1/ZB_SUM_ALL, drawn by position */
    bool list;      /* tell names instead of sums */
    /* Only names whose position begins with one of these, of `bits` bits each; bits 0: all. Sums
     * are of the ZB_SUM_BUCKET_BITS bits that follow, so they want one prefix. */
    uint32_t bits;
    uint32_t prefixes_count;
    uint32_t prefixes[ZB_SUM_PREFIXES_MAX];
    /* Asked before each name and each piece of a file: other than ZB_OK ends the walk with it. May
     * be NULL. */
    enum zb_rc (*go_on)(void *ctx, struct zb_err *err);
    void *ctx;
};

/* Reads "BITS PREFIX...", as a VERIFY's text has it; "" or NULL: all. *o is written on success
 * only. False: it is not that. */
bool zb_sum_range_parse(const char *text, struct zb_sum_options *o);

struct zb_sum_bucket {
    uint64_t count;
    uint64_t words[2];
};

struct zb_sum_text {
    char *bytes;
    size_t size, used;
    uint64_t left_off; /* lines that did not fit */
};

struct zb_sum {
    struct zb_sum_options options;
    const char *rel; /* of the file system that is walked; borrowed for the walk */
    uint64_t entries, files;
    uint64_t read_files, read_bytes;
    uint64_t unreadable;
    struct zb_sum_bucket *buckets;
    struct zb_sum_text names, errors;
    EVP_MD *md;
    EVP_MD_CTX *md_ctx;
    uint8_t *piece;
    char *path; /* of the name that is looked at, below rel */
};

/* Close it in any case. ZB_E_USAGE, ZB_E_NOMEM. */
enum zb_rc zb_sum_open(struct zb_sum *s, const struct zb_sum_options *options,
                       struct zb_err *err) ZB_CHECKED;
void zb_sum_close(struct zb_sum *s);

/* Adds what is in the file system dev that is mounted at dir, and has the name rel in its set; what
 * is mounted below it is left out. ZB_E_MISMATCH: that is not what is at dir, before or afterwards:
 * without it there is the bare directory. ZB_E_SYS: dir cannot be opened, or a directory that is
 * left behind cannot be come back to; else what go_on said, or ZB_E_NOMEM. After an error the sums
 * are of no use. */
enum zb_rc zb_sum_tree(struct zb_sum *s, const char *rel, const char *dir, dev_t dev,
                       struct zb_err *err) ZB_CHECKED;

/* Adds the volume rel, whose device is at path, 16 MiB of it as a file each, "rel/from byte N". As
 * above; ZB_E_MISMATCH: there is another device. */
enum zb_rc zb_sum_volume(struct zb_sum *s, const char *rel, const char *path, dev_t dev,
                         struct zb_err *err) ZB_CHECKED;

/* What was found, in lines as VERIFY of kmsg.h has them; for free(). NULL: no memory. */
char *zb_sum_text_new(const struct zb_sum *s);

/* --- between sum_walk.c and sum.c --- */

/* Adds the name s->path. fd: of the directory it is in, name: in that; error: why it could not be
 * looked at (0: st holds). */
enum zb_rc zb_sum_entry_add(struct zb_sum *s, int fd, const char *name, const struct stat *st,
                            int error, struct zb_err *err) ZB_CHECKED;

#endif
