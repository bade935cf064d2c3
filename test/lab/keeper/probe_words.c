#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "probe.h"

static void
manifest_parse(struct zb_manifest *m, char *text)
{
    struct zb_err err;
    char *save = NULL;
    char *part = strtok_r(text, ";", &save);
    uint32_t count = 0;

    for (const char *s = save; s != NULL && *s != '\0'; s++) {
        count += s == save || s[-1] == ';' ? 1 : 0;
    }
    if (zb_manifest_init(m, count, &err) != ZB_OK ||
        sscanf(part, "%" SCNu64 "/%" SCNu64, &m->id.term, &m->id.seq) != 2) {
        die("manifest");
    }
    for (uint32_t i = 0; (part = strtok_r(NULL, ";", &save)) != NULL; i++) {
        char *comma = strchr(part, ',');
        char *second = comma != NULL ? strchr(comma + 1, ',') : NULL;
        if (second == NULL) {
            die("manifest entry %s", part);
        }
        *comma = *second = '\0';
        zb_strcopy(m->entries[i].uuid, ZB_UUID_SIZE, part);
        zb_strcopy(m->entries[i].rel, ZB_REL_SIZE, comma + 1);
        m->entries[i].guid = strtoull(second + 1, NULL, 10);
    }
    zb_manifest_sort(m);
}

static void
protect_parse(struct zb_kreq *req, char *text)
{
    char *save = NULL;

    for (char *p = strtok_r(text, ",", &save); p != NULL; p = strtok_r(NULL, ",", &save)) {
        struct zb_set_id *id = &req->protect[req->protect_count++];
        if (sscanf(p, "%" SCNu64 "/%" SCNu64, &id->term, &id->seq) != 2) {
            die("protect");
        }
    }
}

static char *
file_read(const char *path)
{
    char *text = calloc(1, 65536);
    FILE *f = fopen(path, "re");

    if (f == NULL || text == NULL || fread(text, 1, 65535, f) == 0) {
        die("%s: %s", path, strerror(errno));
    }
    fclose(f);
    return text;
}

static bool
number_set(struct zb_kreq *req, const char *name, const char *value)
{
    const struct {
        const char *name;
        uint64_t *wide;
        uint32_t *narrow;
    } numbers[] = {
        {"flags", NULL, &req->flags},
        {"timeout_ms", NULL, &req->timeout_ms},
        {"count", NULL, &req->count},
        {"term", &req->term, NULL},
        {"seq", &req->seq, NULL},
        {"base_term", &req->base_term, NULL},
        {"base_seq", &req->base_seq, NULL},
        {"guid", &req->guid, NULL},
        {"from_guid", &req->from_guid, NULL},
        {"nonce", &req->nonce, NULL},
        {"version", &req->version, NULL},
        {"target", &req->target, NULL},
    };

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (strcmp(numbers[i].name, name) == 0) {
            uint64_t v = strtoull(value, NULL, 0);
            if (numbers[i].wide != NULL) {
                *numbers[i].wide = v;
            } else {
                *numbers[i].narrow = (uint32_t)v;
            }
            return true;
        }
    }
    return false;
}

static bool
extra_set(struct probe_extras *x, const char *name, const char *value)
{
    uint64_t v = strtoull(value, NULL, 0);

    if (strcmp(name, "limit") == 0) {
        x->limit = v;
        x->has_limit = true;
    } else if (strcmp(name, "change") == 0) {
        x->change = v;
        x->has_change = true;
    } else if (strcmp(name, "stall") == 0) {
        x->stall = v != 0;
    } else if (strcmp(name, "cancel_after_ms") == 0) {
        x->cancel_after_ms = v;
    } else {
        return false;
    }
    return true;
}

void
probe_word(struct zb_kreq *req, struct probe_extras *x, char *word)
{
    char *value = strchr(word, '=');

    if (value == NULL) {
        die("not name=value: %s", word);
    }
    *value++ = '\0';
    if (strcmp(word, "op") == 0) {
        for (uint32_t op = 1; op <= ZB_KOP_LAST; op++) {
            if (strcmp(zb_kop_word(op), value) == 0) {
                req->op = op;
            }
        }
    } else if (strcmp(word, "text") == 0) {
        req->text = value[0] == '@' ? file_read(value + 1) : strdup(value);
    } else if (strcmp(word, "manifest") == 0) {
        manifest_parse(&req->manifest, value);
    } else if (strcmp(word, "protect") == 0) {
        protect_parse(req, value);
    } else if (strcmp(word, "service") == 0) {
        zb_strcopy(req->service, sizeof(req->service), value);
    } else if (strcmp(word, "node") == 0) {
        zb_strcopy(req->node, sizeof(req->node), value);
    } else if (strcmp(word, "rel") == 0) {
        zb_strcopy(req->rel, sizeof(req->rel), value);
    } else if (strcmp(word, "uuid") == 0) {
        zb_strcopy(req->uuid, sizeof(req->uuid), value);
    } else if (strcmp(word, "snap") == 0) {
        zb_strcopy(req->snap, sizeof(req->snap), value);
    } else if (strcmp(word, "from_snap") == 0) {
        zb_strcopy(req->from_snap, sizeof(req->from_snap), value);
    } else if (strcmp(word, "token") == 0) {
        zb_strcopy(req->token, sizeof(req->token), value);
    } else if (strcmp(word, "time_s") == 0) {
        req->time_s = strtoll(value, NULL, 10);
    } else if (!number_set(req, word, value) && !extra_set(x, word, value)) {
        die("no field %s", word);
    }
}
