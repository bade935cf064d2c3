#include "agent/trouble.h"

#include "agent/internal.h"
#include "agent/must.h"

struct entry {
    struct entry *next;
    struct zb_trouble_at at;
    struct zb_trouble trouble;
};

struct zb_troubles {
    struct entry *head;
};

struct zb_troubles *
zb_troubles_new(void)
{
    return zb_must_alloc(1, sizeof(struct zb_troubles));
}

void
zb_troubles_free(struct zb_troubles *t)
{
    while (t != NULL && t->head != NULL) {
        struct entry *e = t->head;
        t->head = e->next;
        free(e);
    }
    free(t);
}

static struct entry **
place_of(struct zb_troubles *t, const struct zb_trouble_at *at)
{
    struct entry **e = &t->head;

    while (*e != NULL && ((*e)->at.service != at->service || (*e)->at.kind != at->kind ||
                          (*e)->at.node != at->node)) {
        e = &(*e)->next;
    }
    return e;
}

void
zb_trouble_put(struct zb_agent *a, const struct zb_trouble_at *at, enum zb_rc rc, const char *text)
{
    struct entry **place = place_of(a->troubles, at);
    struct entry *e = *place;

    if (rc == ZB_OK) {
        if (e != NULL) {
            *place = e->next;
            free(e);
        }
        return;
    }
    if (!a->services[at->service].present) {
        return;
    }
    if (e == NULL) {
        e = zb_must_alloc(1, sizeof *e);
        *e = (struct entry){.at = *at, .trouble.since = zb_wall_now()};
        *place = e;
    }
    e->trouble.count++;
    (void)snprintf(e->trouble.text, sizeof e->trouble.text, "%s", text);
}

const struct zb_trouble *
zb_trouble_find(const struct zb_agent *a, const struct zb_trouble_at *at)
{
    const struct entry *e = *place_of(a->troubles, at);

    return e == NULL ? NULL : &e->trouble;
}

void
zb_trouble_forget(struct zb_agent *a, uint16_t service)
{
    struct entry **at = &a->troubles->head;

    while (*at != NULL) {
        struct entry *e = *at;
        if (e->at.service == service) {
            *at = e->next;
            free(e);
        } else {
            at = &e->next;
        }
    }
}
