/*
 * State of control.c that forward.c needs.
 */
#ifndef ZB_AGENT_CONTROL_H
#define ZB_AGENT_CONTROL_H

#include "agent/request.h"

struct zb_control {
    struct zb_agent *a;
    uv_pipe_t listener;
    struct zb_client *clients;
    uint32_t clients_count;
    struct zb_request *requests;
    uint32_t requests_count;
    struct zb_forwards *forwards;
};

#endif
