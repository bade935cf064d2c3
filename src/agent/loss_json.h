#ifndef ZB_AGENT_LOSS_JSON_H
#define ZB_AGENT_LOSS_JSON_H

#include <jansson.h>

#include "agent/loss.h"

/* doc/control-protocol.md, failover: statement. */
json_t *zb_loss_json(const struct zb_loss *loss);

#endif
