/*
 * What the keeper knows durably of a service: one file <service>.record in its directory, and how
 * it is kept: written beside, fsync, rename, fsync of the directory. A file whose checksum, order
 * or values are not exactly what this module writes is damaged: it is refused, never guessed.
 *
 * The in-memory copy is replaced only after the file is durable. A store that fails may have
 * replaced the file all the same: it then says more than memory does (a term granted, a release
 * made), and nobody may go on by what memory says (zb_keeper_record_change).
 */
#ifndef ZB_KEEPER_RECORD_H
#define ZB_KEEPER_RECORD_H

#include "wire/kmsg.h"

/* The record of kmsg.h and what only this keeper needs. */
struct zb_keeper_record {
    struct zb_record rec;
    uint64_t granted_version;            /* of the voters' list of the last grant (M11) */
    uint64_t granted_nonce;              /* of the candidate's start it was granted to (M5) */
    char established_boot[ZB_UUID_SIZE]; /* boot in which established_term was promoted (M12); or ""
                                          */
    uint64_t pool_guid;                  /* of the pool that established_term was led on; 0 never */
};

#define ZB_KEEPER_RECORD_MAX 8192 /* bytes of a record file; a longer one is damaged */

/* As text with its checksum line. buf of ZB_KEEPER_RECORD_MAX; *used without the final NUL. Pure.
 */
void zb_keeper_record_format(const char *service, const struct zb_keeper_record *r, char *buf,
                             size_t *used);
/* The reverse. ZB_E_FORMAT says what is wrong with it: checksum, another service's, a value. Pure.
 */
enum zb_rc zb_keeper_record_parse(const char *service, const char *text, size_t size,
                                  struct zb_keeper_record *r, struct zb_err *err) ZB_CHECKED;

/* Durable when it returns ZB_OK. dir_fd: the keeper's directory. in_doubt: as for
 * zb_keeper_file_store. Blocks on the disk of the state directory. */
enum zb_rc zb_keeper_record_store(int dir_fd, const char *service, const struct zb_keeper_record *r,
                                  bool *in_doubt, struct zb_err *err) ZB_CHECKED;
/* ZB_E_NOTFOUND: there is none; ZB_E_FORMAT: damaged. */
enum zb_rc zb_keeper_record_load(int dir_fd, const char *service, struct zb_keeper_record *r,
                                 struct zb_err *err) ZB_CHECKED;

/* Any small file, replaced whole or not at all, durable on ZB_OK. *in_doubt: it failed, and the
 * file is the old one or the new one, now or after a crash; false: it is the old one for certain.
 */
enum zb_rc zb_keeper_file_store(int dir_fd, const char *name, const void *data, size_t size,
                                bool *in_doubt, struct zb_err *err) ZB_CHECKED;
/* Reads a file of at most max bytes: *data (free it) ends with a NUL that *size does not count.
 * ZB_E_NOTFOUND, ZB_E_LIMIT. */
enum zb_rc zb_keeper_file_load(int dir_fd, const char *name, size_t max, char **data, size_t *size,
                               struct zb_err *err) ZB_CHECKED;
/* Durable too. A missing file is fine. */
enum zb_rc zb_keeper_file_remove(int dir_fd, const char *name, struct zb_err *err) ZB_CHECKED;

#endif
