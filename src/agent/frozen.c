#include "agent/internal.h"
#include "agent/request.h"

bool
zb_request_frozen(struct zb_request *r, uint16_t service, const char *rule)
{
    const struct zb_agent_service *s = &r->a->services[service];
    char text[ZB_FREEZE_SAY_SIZE];
    struct zb_err err;

    if (s->freeze.reason[0] == '\0') {
        return false;
    }
    zb_freeze_say(&s->freeze, text);
    zb_err_set(&err, ZB_E_REFUSED, "%s is %s", s->conf.name, text);
    zb_err_hint(&err, "zbaton thaw %s", s->conf.name);
    zb_request_fail(r, &err, rule);
    return true;
}
