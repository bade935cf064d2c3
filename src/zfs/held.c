#include "zfs/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/*
 * What the kernel's checks say per dataset, in their order (dsl_dataset_rollback_check): no
 * snapshot ESRCH, snapshot of this very txg EAGAIN, newer bookmark EEXIST, then the long holds
 * EBUSY, then quota EDQUOT and space ENOSPC. Without a snapshot dsl_destroy_head_check is asked:
 * long holds EBUSY, then children EEXIST. Checks change nothing; only in a sync program do they
 * look at the holds.
 */
static const char lua_held[] = "local args = ...\n"
                               "local out = {}\n"
                               "for i, ds in ipairs(args['names']) do\n"
                               "    local e = 2\n"
                               "    if zfs.exists(ds) then\n"
                               "        e = zfs.check.rollback(ds)\n"
                               "        if e == 3 then\n"
                               "            e = zfs.check.destroy(ds)\n"
                               "            if e == 17 then e = 0 end\n"
                               "        end\n"
                               "    end\n"
                               "    out[i] = e\n"
                               "end\n"
                               "return out\n";

#define AGAIN_TRIES 20
#define AGAIN_WAIT_US 5000

static enum zb_zfs_hold_state
judge(int e)
{
    switch (e) {
    case 0:
    case EDQUOT: /* asked only after the holds */
    case ENOSPC:
        return ZB_ZFS_FREE;
    case EBUSY:
        return ZB_ZFS_HELD;
    default:
        return ZB_ZFS_UNPROVEN;
    }
}

static enum zb_rc
ask_once(const char *const *datasets, size_t count, struct zb_zfs_held *held, bool *again,
         struct zb_err *err)
{
    nvlist_t *args = fnvlist_alloc();
    nvlist_t *table = NULL;

    fnvlist_add_string_array(args, "names", datasets, (uint_t)count);
    enum zb_rc rc = zb_zfs_program(datasets[0], true, lua_held, args, &table, err);
    fnvlist_free(args);
    if (rc != ZB_OK) {
        return rc;
    }
    *again = false;
    for (size_t i = 0; rc == ZB_OK && i < count; i++) {
        char key[24];
        int64_t e;
        snprintf(key, sizeof key, "%zu", i + 1);
        if (nvlist_lookup_int64(table, key, &e) != 0) {
            rc = zb_err_set(err, ZB_E_FORMAT, "no answer for %s", datasets[i]);
        } else if (e == ENOENT) {
            rc = zb_err_set(err, ZB_E_NOTFOUND, "%s does not exist", datasets[i]);
        } else {
            held[i] = (struct zb_zfs_held){.state = judge((int)e), .sys_errno = (int)e};
            *again = *again || e == EAGAIN;
        }
    }
    fnvlist_free(table);
    return rc;
}

enum zb_rc
zb_zfs_held(const char *const *datasets, size_t count, struct zb_zfs_held *held, struct zb_err *err)
{
    bool again = false;
    enum zb_rc rc = zb_zfs_names_check(datasets, count, '\0', err);
    if (rc != ZB_OK) {
        return rc;
    }
    struct zb_zfs_held *found = calloc(count, sizeof *found);
    if (found == NULL) {
        return zb_err_set(err, ZB_E_NOMEM, "check that %s is free: no memory", datasets[0]);
    }
    for (int tries = AGAIN_TRIES; tries > 0; tries--) {
        rc = ask_once(datasets, count, found, &again, err);
        if (rc != ZB_OK || !again) {
            break;
        }
        usleep(AGAIN_WAIT_US);
    }
    if (rc == ZB_OK) {
        for (size_t i = 0; i < count; i++) {
            held[i] = found[i];
        }
    }
    free(found);
    return rc == ZB_OK ? ZB_OK : zb_err_wrap(err, "check that %s is free", datasets[0]);
}
