/* Where memory comes from. */
#ifndef ZB_OS_MEMORY_H
#define ZB_OS_MEMORY_H

/* For a process that stays, before it starts threads: all allocate from a few heaps together, what
 * is large goes back to the system when it is freed, and of a table for a thousand services only
 * what is used is there. By default each thread gets a heap of its own, which keeps as much as it
 * ever needed at once, and tables come in huge pages. For the whole process; what fails leaves
 * that. */
void zb_os_memory_spare(void);
/* Gives back what deeper calls than the caller have left of this thread's stack: else each of many
 * threads keeps as much as it ever needed. */
void zb_os_memory_stack_free(void);
/* In a child before its exec: what of it would be inherited is of nobody else's choice. */
void zb_os_memory_child(void);

#endif
