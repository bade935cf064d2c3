/*
 * Backups that are sent sets at times of their own (`backup-every`), as status and promises see
 * them; when they are sent, the core decides.
 */
#ifndef ZB_AGENT_BACKUP_TIME_H
#define ZB_AGENT_BACKUP_TIME_H

#include "agent/agent.h"

/* The node is a backup of such a service. */
bool zb_backup_has_times(const struct zb_agent *a, uint16_t service, uint8_t node);
/* What it lacks beside its newest set is what was made since the last time: that set is not older
 * than the time between two, and what a transfer may take. False where its age is not known. */
bool zb_backup_is_between_times(struct zb_agent *a, uint16_t service, uint8_t node,
                                struct zb_set_id newest);

#endif
