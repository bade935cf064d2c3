#include <inttypes.h>

#include "agent/drive.h"
#include "agent/foreign.h"
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/must.h"
#include "agent/peer.h"
#include "agent/position.h"

#define TIMER_MS 1000
#define ANSWER_MS 120000 /* for the leader's answer, and the keeper's; then it is looked anew */
#define META_FOREIGN "foreign"
#define EXPIRE_MAX 64 /* guids of one EXPIRE */
#define BUSY_MS 10000 /* until who was busy is asked again */

/* Of one service, on a follower. */
struct watch {
    struct zb_foreign_items items;
    bool loaded;  /* what was kept over the restart is in items */
    bool busy;    /* a look is under way ... */
    uint64_t ask; /* ... with this number, in this term, of that leader */
    uint64_t term;
    uint8_t node;
    int64_t begun_ms; /* of the look under way */
    int64_t due_ms;
    int64_t looked_ms; /* the look before; 0: none of this engine */
    uint32_t turn;     /* where the next ask begins */
    uint32_t at;       /* how far the look has come with those that are due */
    uint32_t destroyed;
    char names[256]; /* of those, as many as fit */
};

struct zb_foreigns {
    struct zb_agent *a;
    uv_timer_t timer;
    uint64_t next_ask;
    bool answering[ZB_NODES_MAX]; /* foreign_answer.c's */
    json_t *stored;               /* {service: {"uuid guid": missing_ms}}, as in the history */
    struct watch watches[ZB_SERVICES_MAX];
};

/* What an answer of the keeper is for. */
struct call {
    struct zb_agent *a;
    uint16_t service;
    uint64_t ask;
};

static const char *
name_of(const struct zb_agent *a, uint16_t service)
{
    return a->services[service].conf.name;
}

/* --- memory --- */

static void
store_load(struct zb_foreigns *f)
{
    char *text = NULL;
    struct zb_err err;
    enum zb_rc rc = zb_history_meta_get(f->a->history, META_FOREIGN, &text, &err);

    if (rc == ZB_OK) {
        f->stored = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    } else if (rc != ZB_E_NOTFOUND) {
        zb_log_error("foreign snapshots in the history: %s", err.msg);
    }
    free(text);
    if (!json_is_object(f->stored)) {
        json_decref(f->stored);
        f->stored = zb_must(json_object());
    }
}

static void
key_format(const struct zb_foreign_item *item, char buf[64])
{
    (void)snprintf(buf, 64, "%s %" PRIu64, item->uuid, item->guid);
}

static void
store_write(struct zb_foreigns *f)
{
    struct zb_err err;
    char *text = zb_must(json_dumps(f->stored, JSON_COMPACT | JSON_SORT_KEYS));

    if (zb_history_meta_set(f->a->history, META_FOREIGN, text, &err) != ZB_OK) {
        zb_log_error("foreign snapshots in the history: %s", err.msg);
    }
    free(text);
}

static void
store_put(struct zb_foreigns *f, uint16_t service)
{
    const struct zb_foreign_items *items = &f->watches[service].items;
    json_t *object = zb_must(json_object());
    char key[64];

    for (uint32_t i = 0; i < items->count; i++) {
        if (items->items[i].missing_ms > 0) {
            key_format(&items->items[i], key);
            zb_json_put(object, key, zb_json_int(items->items[i].missing_ms));
        }
    }
    const json_t *before = json_object_get(f->stored, name_of(f->a, service));
    if (json_object_size(object) == 0 && before == NULL) {
        json_decref(object);
        return;
    }
    if (json_object_size(object) > 0) {
        zb_json_put(f->stored, name_of(f->a, service), object);
    } else {
        json_decref(object);
        (void)json_object_del(f->stored, name_of(f->a, service));
    }
    store_write(f);
}

/* After the first list of this engine. */
static void
store_take(struct zb_foreigns *f, uint16_t service)
{
    struct watch *w = &f->watches[service];
    const json_t *object = json_object_get(f->stored, name_of(f->a, service));
    char key[64];

    for (uint32_t i = 0; i < w->items.count && !w->loaded; i++) {
        key_format(&w->items.items[i], key);
        json_int_t ms = json_integer_value(json_object_get(object, key));
        w->items.items[i].missing_ms = ms > 0 ? ms : 0;
    }
    w->loaded = true;
}

/* --- the end of a look --- */

static void
look_end(struct zb_agent *a, uint16_t service)
{
    struct watch *w = &a->foreigns->watches[service];

    w->busy = false;
    if (w->destroyed > 0) {
        zb_agent_event(a, ZB_LOG_INFO, name_of(a, service), "A-foreign-expired",
                       "%" PRIu32 " snapshot%s of other tools, gone from %s for long enough, went "
                       "here too: %s",
                       w->destroyed, w->destroyed == 1 ? "" : "s", a->nodes[w->node].name,
                       w->names);
    }
}

/* The look of that number is under way, and not given up. */
static struct watch *
watch_of(struct zb_agent *a, uint16_t service, uint64_t ask)
{
    struct watch *w = a->foreigns != NULL ? &a->foreigns->watches[service] : NULL;

    return w != NULL && w->busy && w->ask == ask && !a->stopping ? w : NULL;
}

static struct zb_foreign_item *
item_of(struct watch *w, uint64_t guid)
{
    for (uint32_t i = 0; i < w->items.count; i++) {
        if (w->items.items[i].guid == guid && w->items.items[i].asked) {
            return &w->items.items[i];
        }
    }
    return NULL;
}

/* --- destroying --- */

static void expire_next(struct zb_agent *a, uint16_t service);

static void
stays_tell(struct zb_agent *a, uint16_t service, struct zb_foreign_item *item, const char *why)
{
    if (strcmp(item->why, why) == 0) {
        return;
    }
    (void)snprintf(item->why, sizeof(item->why), "%s", why);
    zb_agent_event(a, ZB_LOG_INFO, name_of(a, service), "A-foreign-stays",
                   "snapshot %s of another tool is not where this copy comes from, and stays here: "
                   "%s",
                   item->name, why);
}

/* Lines of "guid TAB name TAB why": those stay. */
static void
stays_take(struct zb_agent *a, uint16_t service, const char *text)
{
    struct watch *w = &a->foreigns->watches[service];
    char *copy = zb_must(strdup(text != NULL ? text : ""));
    char *save = NULL;

    for (char *line = strtok_r(copy, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        const char *why = strrchr(line, '\t');
        struct zb_foreign_item *item = item_of(w, strtoull(line, NULL, 10));
        if (item != NULL && why != NULL) {
            item->asked = false;
            stays_tell(a, service, item, why + 1);
        }
    }
    free(copy);
}

/* What was asked for and has no line is gone, or came to be in use meanwhile: then the next list
 * has it. */
static void
expired_take(struct watch *w, uint32_t destroyed)
{
    w->destroyed += destroyed;
    for (uint32_t i = 0; i < w->items.count; i++) {
        struct zb_foreign_item *item = &w->items.items[i];
        if (!item->asked) {
            continue;
        }
        size_t used = strlen(w->names);
        (void)snprintf(w->names + used, sizeof(w->names) - used, "%s%s", used > 0 ? ", " : "",
                       item->name);
        item->asked = false;
        item->missing = false;
        item->missing_ms = 0;
        item->guid = 0;
    }
}

static void
on_expired(void *ctx, const struct zb_krep *rep)
{
    struct call c = *(struct call *)ctx;
    struct watch *w = watch_of(c.a, c.service, c.ask);

    free(ctx);
    if (w == NULL) {
        return;
    }
    if (rep->rc != ZB_OK) {
        zb_log_info("%s: snapshots of other tools stay for now: %s", name_of(c.a, c.service),
                    rep->msg);
        look_end(c.a, c.service);
        return;
    }
    stays_take(c.a, c.service, rep->text);
    expired_take(w, rep->count);
    store_put(c.a->foreigns, c.service);
    expire_next(c.a, c.service);
}

static bool
is_due(const struct zb_foreign_item *item, int64_t grace_ms)
{
    return item->guid != 0 && item->missing && item->missing_ms >= grace_ms;
}

/* Some of one dataset; the look ends when there are none left. `asked` is about this now. */
static void
expire_next(struct zb_agent *a, uint16_t service)
{
    struct watch *w = &a->foreigns->watches[service];
    int64_t grace_ms = zb_foreign_grace_ms(&a->services[service].conf);
    struct zb_kreq req = {.op = ZB_KOP_EXPIRE, .term = w->term};
    char text[EXPIRE_MAX * 24] = "";
    size_t used = 0;
    uint32_t count = 0;

    for (; w->at < w->items.count && count < EXPIRE_MAX; w->at++) {
        struct zb_foreign_item *item = &w->items.items[w->at];
        if (!is_due(item, grace_ms)) {
            continue;
        }
        if (count > 0 && strcmp(item->uuid, req.uuid) != 0) {
            break; /* of the next dataset: the next time */
        }
        zb_strcopy(req.uuid, sizeof(req.uuid), item->uuid);
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%" PRIu64 "\n", item->guid);
        item->asked = true;
        count++;
    }
    if (count == 0) {
        look_end(a, service);
        return;
    }
    struct call *c = zb_must_alloc(1, sizeof(*c));
    *c = (struct call){.a = a, .service = service, .ask = w->ask};
    req.text = text;
    zb_strcopy(req.service, sizeof(req.service), name_of(a, service));
    zb_strcopy(req.node, sizeof(req.node), a->nodes[w->node].name);
    zb_agent_keeper_call(a, &req, on_expired, c);
}

/* --- a look --- */

/* Nothing of this copy has come away, and its leader is there. */
static bool
follows(const struct zb_agent *a, const struct zb_core_view *v)
{
    return v->leader < ZB_NODES_MAX && v->leader != a->self && v->peers[v->leader].up &&
           v->peers[v->leader].known && v->role == ZB_ROLE_FOLLOWER && !v->obs.modified &&
           !v->obs.beyond && !zb_set_id_is_none(v->obs.newest.id) &&
           zb_lineage_has(&v->peers[v->leader].report.lineage, v->obs.newest.id);
}

static void
ask_send(struct zb_agent *a, uint16_t service)
{
    struct watch *w = &a->foreigns->watches[service];
    json_t *items = zb_json_array_new();
    uint32_t count = w->items.count < ZB_FOREIGN_ITEMS_MAX ? w->items.count : ZB_FOREIGN_ITEMS_MAX;

    for (uint32_t i = 0; i < count; i++) {
        struct zb_foreign_item *item = &w->items.items[(w->turn + i) % w->items.count];
        json_t *one = zb_json_array_new();
        zb_json_append(one, zb_json_text(item->uuid));
        zb_json_append(one, zb_json_u64(item->guid));
        zb_json_append(items, one);
        item->asked = true;
    }
    json_t *msg = zb_json_new("foreign.ask");
    zb_json_put(msg, "service", zb_json_text(name_of(a, service)));
    zb_json_put(msg, "ask", zb_json_u64(w->ask));
    zb_json_put(msg, "term", zb_json_u64(w->term));
    zb_json_put(msg, "items", items);
    if (!zb_peer_send(a, w->node, msg)) {
        look_end(a, service);
    }
}

static void
on_listed(void *ctx, const struct zb_inventory_result *result)
{
    struct call c = *(struct call *)ctx;
    struct watch *w = watch_of(c.a, c.service, c.ask);

    free(ctx);
    if (w == NULL) {
        return;
    }
    if (result->rc != ZB_OK) {
        look_end(c.a, c.service);
        return;
    }
    zb_foreign_list(&w->items, result->inventory);
    store_take(c.a->foreigns, c.service);
    if (w->items.count == 0) {
        store_put(c.a->foreigns, c.service);
        look_end(c.a, c.service);
        return;
    }
    ask_send(c.a, c.service);
}

static void
look_begin(struct zb_agent *a, uint16_t service, const struct zb_core_view *view)
{
    struct zb_foreigns *f = a->foreigns;
    struct watch *w = &f->watches[service];
    struct call *c = zb_must_alloc(1, sizeof(*c));

    w->busy = true;
    w->ask = ++f->next_ask;
    w->term = view->term;
    w->node = view->leader;
    w->begun_ms = zb_mono_now().ms;
    w->due_ms = w->begun_ms + zb_foreign_every_ms(&a->services[service].conf);
    w->at = 0;
    w->destroyed = 0;
    w->names[0] = '\0';
    *c = (struct call){.a = a, .service = service, .ask = w->ask};
    zb_inventory_fetch(a, service, on_listed, c);
}

static void
watch_forget(struct watch *w)
{
    free(w->items.items);
    *w = (struct watch){0};
}

/* Nothing that another service of this name may come to have is remembered. */
static void
withdrawn_forget(struct zb_foreigns *f, uint16_t service)
{
    watch_forget(&f->watches[service]);
    if (json_object_del(f->stored, name_of(f->a, service)) == 0) {
        store_write(f);
    }
}

/* One service at a time; what does not answer is given up. */
static bool
is_looking(struct zb_foreigns *f, int64_t now_ms)
{
    bool looking = false;

    for (uint32_t i = 0; i < f->a->services_count; i++) {
        struct watch *w = &f->watches[i];
        w->busy = w->busy && now_ms - w->begun_ms < ANSWER_MS;
        looking = looking || w->busy;
    }
    return looking;
}

static void
on_timer(uv_timer_t *timer)
{
    struct zb_foreigns *f = timer->data;
    struct zb_agent *a = f->a;
    int64_t now_ms = zb_mono_now().ms;
    bool looking = is_looking(f, now_ms);

    for (uint32_t i = 0; i < a->services_count; i++) {
        uint16_t service = (uint16_t)i;
        struct watch *w = &f->watches[i];
        struct zb_core_view view;
        if (!a->services[i].present) {
            withdrawn_forget(f, service);
            continue;
        }
        if (looking || now_ms < w->due_ms) {
            continue;
        }
        zb_core_view(a->core, service, &view);
        if (follows(a, &view)) {
            look_begin(a, service, &view);
            looking = true;
        } else {
            w->looked_ms = 0; /* time without a look does not count */
        }
    }
}

/* --- messages --- */

static void
on_gone(struct zb_agent *a, uint16_t service, const json_t *list)
{
    struct watch *w = &a->foreigns->watches[service];
    uint32_t count = w->items.count < ZB_FOREIGN_ITEMS_MAX ? w->items.count : ZB_FOREIGN_ITEMS_MAX;
    int64_t every_ms = zb_foreign_every_ms(&a->services[service].conf);
    int64_t since_ms = w->looked_ms > 0 ? w->begun_ms - w->looked_ms : 0;
    bool *gone = zb_must_alloc(count + 1, sizeof(*gone));

    for (size_t i = 0; i < json_array_size(list); i++) {
        json_int_t at = json_integer_value(json_array_get(list, i));
        if (json_is_integer(json_array_get(list, i)) && at >= 0 && at < count) {
            gone[at] = true;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        struct zb_foreign_item *item = &w->items.items[(w->turn + i) % w->items.count];
        zb_foreign_look(item, gone[i], since_ms, every_ms);
        item->asked = false;
    }
    free(gone);
    w->looked_ms = w->begun_ms;
    store_put(a->foreigns, service);
    w->turn = (w->turn + count) % w->items.count;
    expire_next(a, service);
}

static void
gone_message(struct zb_agent *a, uint8_t node, const json_t *msg)
{
    struct zb_json_reader r = zb_json_read(msg);
    char name[ZB_SERVICE_NAME_SIZE];
    zb_json_read_name(&r, "service", name, sizeof(name), zb_service_name_valid);
    uint64_t ask = zb_json_read_u64(&r, "ask");
    int64_t rc = zb_json_read_int(&r, "rc", ZB_OK, ZB_E_UNSUPPORTED);
    const json_t *list = json_object_get(msg, "items");
    uint16_t service = zb_agent_service_find(a, name);
    struct watch *w =
        r.bad == NULL && service != ZB_SERVICE_NONE ? watch_of(a, service, ask) : NULL;

    if (w == NULL || w->node != node) {
        return; /* of a look that was given up */
    }
    if (rc != ZB_OK || !json_is_array(list) || w->items.count == 0) {
        if (rc == ZB_E_BUSY) {
            w->due_ms = zb_mono_now().ms + BUSY_MS;
        }
        look_end(a, service);
        return;
    }
    on_gone(a, service, list);
}

void
zb_foreign_message(struct zb_agent *a, uint8_t node, const json_t *msg)
{
    if (strcmp(json_string_value(json_object_get(msg, "t")), "foreign.ask") == 0) {
        zb_foreign_answer(a, node, msg);
    } else {
        gone_message(a, node, msg);
    }
}

/* --- life --- */

struct zb_foreigns *
zb_foreigns_new(struct zb_agent *a)
{
    struct zb_foreigns *f = zb_must_alloc(1, sizeof(*f));

    f->a = a;
    store_load(f);
    f->timer.data = f;
    (void)uv_timer_init(&a->loop, &f->timer);
    (void)uv_timer_start(&f->timer, on_timer, TIMER_MS, TIMER_MS);
    return f;
}

static void
on_closed(uv_handle_t *handle)
{
    struct zb_foreigns *f = handle->data;

    for (size_t i = 0; i < ZB_SERVICES_MAX; i++) {
        free(f->watches[i].items.items);
    }
    json_decref(f->stored);
    free(f);
}

void
zb_foreigns_close(struct zb_agent *a)
{
    if (a->foreigns != NULL) {
        uv_close((uv_handle_t *)&a->foreigns->timer, on_closed);
        a->foreigns = NULL;
    }
}

bool *
zb_foreign_answering(struct zb_agent *a, uint8_t node)
{
    return a->foreigns != NULL ? &a->foreigns->answering[node] : NULL;
}

const struct zb_foreign_items *
zb_foreign_items(const struct zb_agent *a, uint16_t service)
{
    return &a->foreigns->watches[service].items;
}
