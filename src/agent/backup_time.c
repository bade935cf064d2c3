#include "agent/backup_time.h"

#include "agent/internal.h"
#include "agent/position.h"

bool
zb_backup_has_times(const struct zb_agent *a, uint16_t service, uint8_t node)
{
    const struct zb_conf_service *conf = &a->services[service].conf;

    return conf->backup_every_ms > 0 && node < a->nodes_count &&
           zb_conf_names_contain(&conf->backups, a->nodes[node].name);
}

bool
zb_backup_is_between_times(struct zb_agent *a, uint16_t service, uint8_t node,
                           struct zb_set_id newest)
{
    const struct zb_conf_service *conf = &a->services[service].conf;
    const struct zb_manifest *m =
        zb_backup_has_times(a, service, node) ? zb_position_manifest(a, service, newest) : NULL;
    uint64_t most_ms =
        conf->backup_every_ms + conf->backup_every_ms / 4 + 3 * (uint64_t)conf->interval_ms;

    return m != NULL && (zb_wall_now().s - m->time.s) * 1000 <= (int64_t)most_ms;
}
