#include "agent/internal.h"
#include "agent/memo.h"

void
zb_agent_event(struct zb_agent *a, uint32_t level, const char *service, const char *rule,
               const char *fmt, ...)
{
    struct zb_history_event event = {.time = zb_wall_now(), .level = level};
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(event.text, sizeof(event.text), fmt, args);
    va_end(args);
    (void)snprintf(event.service, sizeof(event.service), "%s", service);
    (void)snprintf(event.rule, sizeof(event.rule), "%s", rule);
    zb_strcopy(event.node, sizeof(event.node), a->nodes[a->self].name);
    zb_log((enum zb_log_level)level, "%s%s%s (%s)", service, service[0] != '\0' ? ": " : "",
           event.text, rule);
    zb_memo_event(a, &event);
}

void
zb_agent_event_publish(struct zb_agent *a, const struct zb_history_event *event, int64_t id)
{
    struct zb_agent_event_view view = {.id = id,
                                       .time = event->time,
                                       .level = event->level,
                                       .service = event->service,
                                       .rule = event->rule,
                                       .text = event->text};
    struct zb_agent_subscriber *next;
    for (struct zb_agent_subscriber *s = a->subscribers; s != NULL; s = next) {
        next = s->next;
        s->on_event(s->ctx, &view);
    }
}

void
zb_agent_subscribe(struct zb_agent *a, struct zb_agent_subscriber *s)
{
    s->next = a->subscribers;
    a->subscribers = s;
}

void
zb_agent_unsubscribe(struct zb_agent *a, struct zb_agent_subscriber *s)
{
    for (struct zb_agent_subscriber **at = &a->subscribers; *at != NULL; at = &(*at)->next) {
        if (*at == s) {
            *at = s->next;
            return;
        }
    }
}
