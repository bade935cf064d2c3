/* Where memory comes from. */
#ifndef ZB_OS_MEMORY_H
#define ZB_OS_MEMORY_H

/* For a process with many threads, before they start: they allocate from a few heaps together, and
 * what is large goes back to the system when it is freed. By default each gets a heap of its own,
 * which keeps as much as it ever needed at once. For the whole process; what fails leaves that. */
void zb_os_memory_share(void);

#endif
