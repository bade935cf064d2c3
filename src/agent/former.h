/*
 * What the state directory of an earlier cluster still says, for a new one that takes its place
 * (zbaton init --recover). No daemon runs.
 */
#ifndef ZB_AGENT_FORMER_H
#define ZB_AGENT_FORMER_H

#include "agent/config_doc.h"

struct zb_former {
    struct zb_config_doc doc; /* in force last; version 0: none is known */
    uint64_t term;            /* highest that was heard of any of its services */
};

/* From the history at path. ZB_E_NOTFOUND: there is none; errors of the history, ZB_E_FORMAT.
 * Nothing in it changes. *former must be zero; the caller closes it, on failure too. */
enum zb_rc zb_former_load(const char *path, struct zb_former *former,
                          struct zb_err *err) ZB_CHECKED;
void zb_former_close(struct zb_former *former);

/* The newest manifests that the history at path knows of the service, newest first, until take
 * fails. */
enum zb_rc zb_former_sets_each(const char *path, const char *service,
                               enum zb_rc (*take)(void *ctx, const char *service,
                                                  const struct zb_manifest *m, struct zb_err *err),
                               void *ctx, struct zb_err *err) ZB_CHECKED;
/* The same of all these services, into the history `to`; all or none. What consists of which
 * datasets is known there then: a set that came half is not taken for whole. */
enum zb_rc zb_former_sets_copy(const char *from, const char *to,
                               const struct zb_recovered *services, struct zb_err *err) ZB_CHECKED;

#endif
