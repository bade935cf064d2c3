/*
 * The keys of a service and what must hold between them.
 */
#ifndef ZB_CONF_SERVICE_KEY_H
#define ZB_CONF_SERVICE_KEY_H

#include "conf/key.h"

extern const struct zb_conf_key zb_conf_service_keys[];
extern const size_t zb_conf_service_keys_count;

/* Name, and all that concerns more than one key. seen: bit per key that was given. known may be
 * NULL. ZB_E_FORMAT, ZB_E_LIMIT. */
enum zb_rc zb_conf_service_check(const struct zb_conf_service *service, uint64_t seen,
                                 const struct zb_conf_nodes *known, struct zb_err *err) ZB_CHECKED;

#endif
