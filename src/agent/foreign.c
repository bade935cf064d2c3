#include "agent/foreign.h"

#include <inttypes.h>

#include "agent/internal.h"
#include "agent/json.h"
#include "agent/must.h"
#include "agent/peer.h"
#include "agent/position.h"

#define TEXT_MAX (60u << 10) /* below what kmsg.h allows for text */
#define EVERY_MAX_MS 600000  /* between two questions; of a short grace more often */
#define EVERY_MIN_MS 1000

struct zb_foreigns {
    struct foreign {
        struct zb_mono next; /* not asked before */
        char *answer;        /* owned; NULL: none */
        bool used;
        uint8_t leader; /* whose answer, of which term */
        uint64_t term;
    } services[ZB_SERVICES_MAX];
};

struct zb_foreigns *
zb_foreigns_new(void)
{
    return zb_must_alloc(1, sizeof(struct zb_foreigns));
}

void
zb_foreigns_free(struct zb_foreigns *f)
{
    for (size_t i = 0; f != NULL && i < ZB_SERVICES_MAX; i++) {
        free(f->services[i].answer);
    }
    free(f);
}

char *
zb_foreign_text(struct zb_agent *a, uint16_t service, bool once)
{
    struct foreign *f = &a->foreigns->services[service];
    char *labels = zb_labels_lines(&a->labels, a->services[service].conf.name);
    size_t size = labels != NULL ? strlen(labels) : 0;
    struct zb_core_view view;

    zb_core_view(a->core, service, &view);
    if (f->answer == NULL || (once && f->used) || view.leader != f->leader ||
        view.term != f->term || size + strlen(f->answer) > TEXT_MAX) {
        return labels;
    }
    f->used = f->used || once;
    char *text = zb_must_alloc(size + strlen(f->answer) + 1, 1);
    (void)snprintf(text, size + strlen(f->answer) + 1, "%s%s", labels != NULL ? labels : "",
                   f->answer);
    free(labels);
    return text;
}

void
zb_foreign_hurry(struct zb_agent *a, uint16_t service)
{
    a->foreigns->services[service].next = (struct zb_mono){0};
}

static json_t *
message(const struct zb_agent *a, const char *type, uint16_t service, uint64_t term)
{
    json_t *msg = zb_json_new(type);

    zb_json_put(msg, "service", zb_json_text(a->services[service].conf.name));
    zb_json_put(msg, "term", zb_json_u64(term));
    return msg;
}

/* --- the follower asks --- */

static int64_t
every_ms(uint64_t grace_ms)
{
    uint64_t ms = grace_ms / 16;

    return (int64_t)(ms < EVERY_MIN_MS ? EVERY_MIN_MS : ms > EVERY_MAX_MS ? EVERY_MAX_MS : ms);
}

void
zb_foreign_ask(struct zb_agent *a, uint16_t service, const char *asked)
{
    struct foreign *f = &a->foreigns->services[service];
    const char *lines = asked != NULL && asked[0] != '@' ? strstr(asked, "\n@") : asked;
    struct zb_mono now = zb_mono_now();
    struct zb_core_view view;

    zb_core_view(a->core, service, &view);
    if (lines == NULL || now.ms < f->next.ms || view.leader == a->self ||
        view.leader >= a->nodes_count || !view.peers[view.leader].up) {
        return;
    }
    json_t *msg = message(a, "foreign.ask", service, view.term);
    zb_json_put(msg, "asked", zb_json_text(lines + (lines[0] == '\n')));
    if (zb_peer_send(a, view.leader, msg)) {
        f->next.ms = now.ms + every_ms(a->services[service].conf.foreign_grace_ms);
    }
}

/* From whom this node follows now; others know nothing of it. */
static void
answer_take(struct zb_agent *a, uint8_t node, uint16_t service, uint64_t term, const char *answer)
{
    struct foreign *f = &a->foreigns->services[service];
    struct zb_core_view view;

    zb_core_view(a->core, service, &view);
    if (view.leader != node || view.term != term) {
        return;
    }
    free(f->answer);
    f->answer = zb_must(strdup(answer));
    f->used = false;
    f->leader = node;
    f->term = term;
}

/* --- the leader answers --- */

/* Behind the tab of a line "@<uuid><tab>...", with its dataset here; NULL: nothing is said. */
static const char *
line_take(const char *line, const struct zb_inventory *own,
          const struct zb_inventory_dataset **mine)
{
    size_t length = ZB_UUID_SIZE - 1;

    *mine = NULL;
    if (line[0] != '@' || strcspn(line + 1, "\t\n") != length || line[1 + length] != '\t') {
        return NULL;
    }
    for (uint32_t i = 0; i < own->datasets_count; i++) {
        if (strncmp(own->datasets[i].uuid, line + 1, length) == 0) {
            *mine = &own->datasets[i];
        }
    }
    bool whole = *mine != NULL && (*mine)->guid != 0 && (*mine)->snaps_count < ZB_SNAPS_MAX;
    return whole ? line + 1 + length + 1 : NULL;
}

/* One guid at *at, in hexadecimal digits alone, behind at most one space. */
static bool
guid_take(const char **at, uint64_t *guid)
{
    const char *begin = *at + (**at == ' ');
    size_t digits = strspn(begin, "0123456789abcdef");

    if (digits == 0 || digits > 16 || strchr(" \n", begin[digits]) == NULL) {
        return false;
    }
    *guid = strtoull(begin, NULL, 16);
    *at = begin + digits;
    return true;
}

/* Its size: each guid is answered by at most two characters more than it has, each line's beginning
 * by at most 17. */
char *
zb_foreign_answer(const char *asked, const struct zb_inventory *own)
{
    const size_t size = 2 * strlen(asked) + 64;
    char *answer = zb_must_alloc(size, 1);
    const struct zb_inventory_dataset *mine;
    size_t used = (size_t)snprintf(answer, size, "@\n");

    for (const char *line = asked; *line != '\0';) {
        const char *next = line + strcspn(line, "\n");
        const char *at = line_take(line, own, &mine);
        if (at != NULL) {
            used += (size_t)snprintf(answer + used, size - used, "@%s\t%" PRIx64 "\t", mine->uuid,
                                     mine->guid);
            for (uint64_t guid; at < next && guid_take(&at, &guid);) {
                bool there = zb_inventory_snap_find(mine, guid) >= 0;
                used +=
                    (size_t)snprintf(answer + used, size - used, "%s%c%" PRIx64,
                                     answer[used - 1] == '\t' ? "" : " ", there ? '+' : '-', guid);
            }
            answer[used++] = '\n';
        }
        line = next + (*next == '\n');
    }
    return answer;
}

struct look {
    struct zb_agent *a;
    uint16_t service;
    uint8_t node; /* who asks */
    uint64_t term;
    char *asked; /* owned */
};

static bool
leads(const struct zb_agent *a, uint16_t service, uint64_t term)
{
    struct zb_core_view view;

    zb_core_view(a->core, service, &view);
    return view.leader == a->self && view.term == term && view.obs.mounted_rw;
}

/* Who asks hears nothing where nothing can be said, and asks again. */
static void
on_inventory(void *ctx, const struct zb_inventory_result *result)
{
    struct look *l = ctx;

    if (result->rc == ZB_OK && leads(l->a, l->service, l->term)) {
        json_t *msg = message(l->a, "foreign.answer", l->service, l->term);
        char *answer = zb_foreign_answer(l->asked, result->inventory);
        zb_json_put(msg, "answer", zb_json_text(answer));
        free(answer);
        (void)zb_peer_send(l->a, l->node, msg);
    }
    free(l->asked);
    free(l);
}

void
zb_foreign_message(struct zb_agent *a, uint8_t node, const json_t *msg)
{
    struct zb_json_reader r = zb_json_read(msg);
    char name[ZB_SERVICE_NAME_SIZE];

    zb_json_read_name(&r, "service", name, sizeof(name), zb_service_name_valid);
    uint64_t term = zb_json_read_u64(&r, "term");
    const char *asked = json_string_value(json_object_get(msg, "asked"));
    const char *answer = json_string_value(json_object_get(msg, "answer"));
    uint16_t service = r.bad == NULL ? zb_agent_service_find(a, name) : ZB_SERVICE_NONE;

    if (service == ZB_SERVICE_NONE || (asked == NULL) == (answer == NULL)) {
        zb_log_warning("question or answer of %s about copies dropped", a->nodes[node].name);
    } else if (answer != NULL) {
        answer_take(a, node, service, term, answer);
    } else if (leads(a, service, term)) {
        struct look *l = zb_must_alloc(1, sizeof(*l));
        *l = (struct look){.a = a,
                           .service = service,
                           .node = node,
                           .term = term,
                           .asked = zb_must(strdup(asked))};
        zb_inventory_fetch(a, service, false, on_inventory, l);
    }
}
