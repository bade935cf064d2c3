#include "agent/parts.h"

#include "agent/apply.h"
#include "agent/drill.h"
#include "agent/drive.h"
#include "agent/etcds.h"
#include "agent/fence.h"
#include "agent/foreign.h"
#include "agent/heart.h"
#include "agent/internal.h"
#include "agent/keeper.h"
#include "agent/must.h"
#include "agent/notify.h"
#include "agent/peek.h"
#include "agent/pool.h"
#include "agent/position.h"
#include "agent/promise.h"
#include "agent/relocate.h"
#include "agent/rescue.h"
#include "agent/said.h"
#include "agent/ship.h"
#include "agent/trouble.h"

void
zb_parts_open(struct zb_agent *a)
{
    a->positions = zb_positions_new();
    a->ships = zb_ships_new(a);
    a->lands = zb_lands_new(a);
    a->pools = zb_pools_new();
    a->etcds = zb_etcds_new();
    a->rescues = zb_rescues_new(a);
    a->peeks = zb_peeks_new(a);
    a->foreigns = zb_foreigns_new();
    a->said = zb_said_new(a);
    a->drills = zb_drills_new(a);
    a->troubles = zb_troubles_new();
    a->promises = zb_promises_new(a);
    a->fences = zb_fences_new();
    a->notices = zb_notices_new(a);
    a->applied = zb_applied_new(a);
    a->healths = zb_must_alloc(ZB_SERVICES_MAX, sizeof *a->healths);
    a->drive = zb_drive_new(a);
}

void
zb_parts_close(struct zb_agent *a)
{
    zb_keeper_client_free(a->keeper);
    a->keeper = NULL;
    zb_heart_free(a);
    zb_notices_close(a);
    zb_promises_close(a);
    zb_rescues_close(a);
    zb_peeks_close(a);
    zb_said_close(a);
    zb_drills_close(a);
    zb_ships_free(a);
    zb_lands_free(a);
    zb_drive_free(a);
    zb_applied_free(a);
}

void
zb_parts_free(struct zb_agent *a)
{
    free(a->healths);
    zb_positions_free(a->positions);
    zb_pools_free(a->pools);
    a->pools = NULL;
    zb_etcds_free(a->etcds);
    a->etcds = NULL;
    zb_rescues_free(a->rescues);
    a->rescues = NULL;
    zb_peeks_free(a->peeks);
    a->peeks = NULL;
    zb_foreigns_free(a->foreigns);
    a->foreigns = NULL;
    zb_said_free(a->said);
    a->said = NULL;
    zb_drills_free(a->drills);
    a->drills = NULL;
    zb_troubles_free(a->troubles);
    a->troubles = NULL;
    zb_fences_free(a->fences);
    a->fences = NULL;
}
