/*
 * SQLite's files with faults: writes, syncs, truncations and deletions count (fault.h). A write
 * that fails leaves its first half behind. What a power cut would leave of each file, which is what
 * it was at its last sync, can be put back.
 */
#ifndef ZB_TEST_FAULT_VFS_H
#define ZB_TEST_FAULT_VFS_H

/* Makes it the default. rc: what a call that fails returns, SQLITE_FULL or SQLITE_IOERR (the kind
 * is added). */
void fault_vfs_use(int rc);
/* Begins to remember synced states of files below a directory, which is as of now all on disk. */
void fault_vfs_power_on(void);
/* Files as they were when synced last; call it when none is open. */
void fault_vfs_power_cut(void);

/* Puts SQLite's allocations among what counts; before anything else of it is used. */
void fault_sqlite_memory_use(void);

#endif
