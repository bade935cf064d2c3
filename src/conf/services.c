#include "conf/service.h"

#include <stdlib.h>
#include <string.h>

#include "conf/parser.h"
#include "conf/service_key.h"

struct builder {
    const struct zb_conf_nodes *known;
    struct zb_conf_service service; /* of the section being read */
    struct zb_conf_services list;   /* those read, in the order of the text */
};

static void
service_reset(struct zb_conf_service *service)
{
    memset(service, 0, sizeof *service);
    zb_conf_keys_default(zb_conf_service_keys, zb_conf_service_keys_count, service);
}

static bool
on_node(const struct zb_conf_service *s, const char *name)
{
    return zb_conf_names_contain(&s->members, name) || zb_conf_names_contain(&s->backups, name);
}

static const char *
common_node(const struct zb_conf_service *a, const struct zb_conf_service *b)
{
    for (uint32_t i = 0; i < a->members.count; i++) {
        if (on_node(b, a->members.items[i])) {
            return a->members.items[i];
        }
    }
    for (uint32_t i = 0; i < a->backups.count; i++) {
        if (on_node(b, a->backups.items[i])) {
            return a->backups.items[i];
        }
    }
    return NULL;
}

static enum zb_rc
mountpoint_check(const struct zb_conf_services *list, const struct zb_conf_service *service,
                 struct zb_err *err)
{
    for (uint32_t i = 0; i < list->count; i++) {
        const struct zb_conf_service *other = &list->items[i];
        if (!zb_conf_paths_overlap(service->mountpoint, other->mountpoint)) {
            continue;
        }
        const char *node = common_node(service, other);
        if (node != NULL) {
            return zb_err_set(err, ZB_E_FORMAT,
                              "mountpoint %.160s overlaps %.160s of service %s on node %s",
                              service->mountpoint, other->mountpoint, other->name, node);
        }
    }
    return ZB_OK;
}

static enum zb_rc
list_append(struct zb_conf_services *list, const struct zb_conf_service *service,
            struct zb_err *err)
{
    if (list->count == ZB_SERVICES_MAX) {
        return zb_err_set(err, ZB_E_LIMIT, "more than %d services", ZB_SERVICES_MAX);
    }
    /* Room doubles: it is full whenever count is a power of two, or 0. */
    if ((list->count & (list->count - 1)) == 0) {
        size_t room = list->count == 0 ? 1 : 2 * (size_t)list->count;
        struct zb_conf_service *items = reallocarray(list->items, room, sizeof *items);
        if (items == NULL) {
            return zb_err_set(err, ZB_E_NOMEM, "out of memory");
        }
        list->items = items;
    }
    list->items[list->count++] = *service;
    return ZB_OK;
}

static enum zb_rc
section_end(void *ctx, const char *title, uint64_t seen, struct zb_err *err)
{
    struct builder *b = ctx;
    struct zb_conf_service *service = &b->service;

    if (strlen(title) < sizeof service->name) {
        zb_strcopy(service->name, sizeof service->name, title);
    } /* else it stays empty, which is not a valid name */
    enum zb_rc rc = zb_conf_service_check(service, seen, b->known, err);
    if (rc == ZB_OK) {
        rc = mountpoint_check(&b->list, service, err);
    }
    if (rc == ZB_OK) {
        rc = list_append(&b->list, service, err);
    }
    service_reset(service);
    return rc;
}

static int
name_cmp(const void *a, const void *b)
{
    const struct zb_conf_service *left = a;
    const struct zb_conf_service *right = b;
    return strcmp(left->name, right->name);
}

enum zb_rc
zb_conf_services_parse(const char *text, const char *name, const struct zb_conf_nodes *known,
                       struct zb_conf_services *out, struct zb_err *err)
{
    const struct zb_conf_grammar grammar = {
        .section = "service",
        .keys = zb_conf_service_keys,
        .keys_count = zb_conf_service_keys_count,
        .end = section_end,
    };
    struct builder b = {.known = known};

    service_reset(&b.service);
    enum zb_rc rc = zb_conf_parse(&grammar, text, name, &b.service, &b, err);
    if (rc != ZB_OK) {
        zb_conf_services_close(&b.list);
        return rc;
    }
    if (b.list.count > 0) {
        qsort(b.list.items, b.list.count, sizeof *b.list.items, name_cmp);
    }
    *out = b.list;
    return ZB_OK;
}

void
zb_conf_services_close(struct zb_conf_services *services)
{
    free(services->items);
    *services = (struct zb_conf_services){0};
}

const struct zb_conf_service *
zb_conf_services_find(const struct zb_conf_services *services, const char *name)
{
    for (uint32_t i = 0; i < services->count; i++) {
        if (strcmp(services->items[i].name, name) == 0) {
            return &services->items[i];
        }
    }
    return NULL;
}

static uint32_t
more(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

struct zb_conf_keep
zb_conf_keep_of(const struct zb_conf_service *service, const char *node)
{
    struct zb_conf_keep keep = service->keep;
    const struct zb_conf_keep *backup = &service->backup_keep;

    if (zb_conf_names_contain(&service->backups, node)) {
        keep.last = more(keep.last, backup->last);
        keep.for_ms = keep.for_ms > backup->for_ms ? keep.for_ms : backup->for_ms;
        for (int i = 0; i < ZB_CONF_BUCKETS; i++) {
            keep.buckets[i] = more(keep.buckets[i], backup->buckets[i]);
        }
    }
    return keep;
}

void
zb_conf_services_print(const struct zb_conf_services *services, FILE *file)
{
    for (uint32_t i = 0; i < services->count; i++) {
        const struct zb_conf_service *service = &services->items[i];
        (void)fprintf(file, "%sservice %s {\n", i > 0 ? "\n" : "", service->name);
        zb_conf_keys_print(zb_conf_service_keys, zb_conf_service_keys_count, service, "    ", file);
        (void)fputs("}\n", file);
    }
}
