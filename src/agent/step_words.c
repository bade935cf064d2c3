#include <inttypes.h>

#include "agent/internal.h"
#include "agent/member.h"
#include "agent/steps.h"

static void
runner_words(struct zb_step_texts *x, const struct zb_conf_service *conf)
{
    switch (conf->runner) {
    case ZB_CONF_RUNNER_SYSTEMD:
        (void)snprintf(x->unit, sizeof x->unit, "unit %s", conf->unit);
        (void)snprintf(x->start, sizeof x->start, "systemctl start %s", conf->unit);
        (void)snprintf(x->stop, sizeof x->stop, "systemctl stop %s", conf->unit);
        break;
    case ZB_CONF_RUNNER_COMMAND:
        (void)snprintf(x->unit, sizeof x->unit, "%s", conf->name);
        (void)snprintf(x->start, sizeof x->start, "%s", conf->start);
        (void)snprintf(x->stop, sizeof x->stop, "%s",
                       conf->stop[0] == '\0' ? "kill -TERM, then -KILL, all of its cgroup"
                                             : conf->stop);
        break;
    case ZB_CONF_RUNNER_NONE:
        (void)snprintf(x->unit, sizeof x->unit, "nothing (data only)");
        (void)snprintf(x->start, sizeof x->start, "nothing");
        (void)snprintf(x->stop, sizeof x->stop, "nothing");
        break;
    }
}

/* 512B, 3.1M, 1.2G. */
static void
bytes_text(uint64_t bytes, char *buf, size_t size)
{
    static const char units[] = "BKMGTPE";
    unsigned unit = 0;
    double value = (double)bytes;

    while (value >= 1024 && units[unit + 1] != '\0') {
        value /= 1024;
        unit++;
    }
    (void)snprintf(buf, size, unit > 0 && value < 9.95 ? "%.1f%c" : "%.0f%c", value, units[unit]);
}

static void
dataset_text(const struct zb_agent *a, uint8_t node, const char *service, char *buf, size_t size)
{
    const char *root = node == a->self          ? a->root
                       : node >= a->nodes_count ? ""
                                                : zb_member_root(a, node);
    const char *name = node < a->nodes_count ? a->nodes[node].name : "LEADER";

    if (root[0] == '\0') {
        (void)snprintf(buf, size, "ROOT-OF-%s/%s", name, service);
    } else {
        (void)snprintf(buf, size, "%s/%s", root, service);
    }
}

void
zb_step_words_fill(const struct zb_agent *a, const struct zb_step_subject *subject,
                   struct zb_step_texts *x)
{
    const struct zb_conf_service *conf = &a->services[subject->service].conf;

    memset(x, 0, sizeof *x);
    runner_words(x, conf);
    dataset_text(a, subject->source, conf->name, x->source_dataset, sizeof x->source_dataset);
    dataset_text(a, subject->target, conf->name, x->target_dataset, sizeof x->target_dataset);
    zb_set_id_format(subject->set, x->set);
    (void)snprintf(x->term, sizeof x->term, "%" PRIu64, subject->term);
    (void)snprintf(x->next, sizeof x->next, "%" PRIu64, subject->next);
    bytes_text(subject->bytes, x->bytes, sizeof x->bytes);
    x->w = (struct zb_step_words){
        .service = conf->name,
        .source = subject->source < a->nodes_count ? a->nodes[subject->source].name : "nobody",
        .target = a->nodes[subject->target].name,
        .source_dataset = x->source_dataset,
        .target_dataset = x->target_dataset,
        .mountpoint = conf->mountpoint,
        .start = x->start,
        .stop = x->stop,
        .unit = x->unit,
        .set = x->set,
        .bytes = x->bytes,
        .term = x->term,
        .next = x->next,
        .fence = x->fence};
}
