#include "conf/key.h"

#include <assert.h>
#include <string.h>

static char *
field(const struct zb_conf_key *key, void *base)
{
    return (char *)base + key->offset;
}

static const char *
field_const(const struct zb_conf_key *key, const void *base)
{
    return (const char *)base + key->offset;
}

static enum zb_rc
refuse(const struct zb_conf_key *key, const char *value, struct zb_err *err)
{
    return zb_err_set(err, ZB_E_FORMAT, "%s: expected %s, not \"%.80s\"", key->name, key->expected,
                      value);
}

static enum zb_rc
string_set(const struct zb_conf_key *key, const char *value, void *base, struct zb_err *err)
{
    if (value[0] == '\0' || strlen(value) >= key->size || !key->valid(value)) {
        return refuse(key, value, err);
    }
    zb_strcopy(field(key, base), key->size, value);
    return ZB_OK;
}

static enum zb_rc
word_set(const struct zb_conf_key *key, const char *value, void *base, struct zb_err *err)
{
    for (const struct zb_conf_word *w = key->words; w->word != NULL; w++) {
        if (strcmp(w->word, value) == 0) {
            memcpy(field(key, base), &w->value, sizeof w->value);
            return ZB_OK;
        }
    }
    return refuse(key, value, err);
}

static enum zb_rc
number_set(const struct zb_conf_key *key, const char *value, void *base, struct zb_err *err)
{
    uint64_t wide = 0;
    bool parsed = key->kind == ZB_CONF_DURATION ? zb_conf_duration_parse(value, &wide)
                  : key->kind == ZB_CONF_SIZE   ? zb_conf_size_parse(value, &wide)
                                                : zb_conf_count_parse(value, &wide);

    if (!parsed || wide < key->min || wide > key->max) {
        return refuse(key, value, err);
    }
    if (key->size == sizeof wide) {
        memcpy(field(key, base), &wide, sizeof wide);
    } else {
        uint32_t narrow = (uint32_t)wide;
        memcpy(field(key, base), &narrow, sizeof narrow);
    }
    return ZB_OK;
}

static enum zb_rc
names_set(const struct zb_conf_key *key, const char *const *values, size_t count, void *base,
          struct zb_err *err)
{
    struct zb_conf_names names = {0};

    if (count > ZB_MEMBERS_MAX) {
        return zb_err_set(err, ZB_E_LIMIT, "%s: %zu nodes, at most %d", key->name, count,
                          ZB_MEMBERS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        if (!zb_node_name_valid(values[i])) {
            return refuse(key, values[i], err);
        }
        for (size_t j = 0; j < i; j++) {
            if (strcmp(values[i], values[j]) == 0) {
                return zb_err_set(err, ZB_E_FORMAT, "%s: %s is named twice", key->name, values[i]);
            }
        }
        zb_strcopy(names.items[names.count++], ZB_NODE_NAME_SIZE, values[i]);
    }
    memcpy(field(key, base), &names, sizeof names);
    return ZB_OK;
}

enum zb_rc
zb_conf_key_set(const struct zb_conf_key *key, const char *const *values, size_t count, void *base,
                struct zb_err *err)
{
    if (key->kind == ZB_CONF_NAMES) {
        return names_set(key, values, count, base, err);
    }
    assert(count == 1);
    switch (key->kind) {
    case ZB_CONF_STRING:
        return string_set(key, values[0], base, err);
    case ZB_CONF_WORD:
        return word_set(key, values[0], base, err);
    default:
        return number_set(key, values[0], base, err);
    }
}

void
zb_conf_keys_default(const struct zb_conf_key *keys, size_t count, void *base)
{
    for (size_t i = 0; i < count; i++) {
        struct zb_err err;
        if (keys[i].fallback != NULL) {
            enum zb_rc rc = zb_conf_key_set(&keys[i], &keys[i].fallback, 1, base, &err);
            assert(rc == ZB_OK);
            (void)rc;
        }
    }
}

const struct zb_conf_key *
zb_conf_key_find(const struct zb_conf_key *keys, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(keys[i].name, name) == 0) {
            return &keys[i];
        }
    }
    return NULL;
}

/* NULL: not declared. */
static const char *
word_of(const struct zb_conf_key *key, const void *base)
{
    unsigned value;
    const struct zb_conf_word *w = key->words;

    memcpy(&value, field_const(key, base), sizeof value);
    while (w->word != NULL && w->value != value) {
        w++;
    }
    return w->word;
}

static void
number_format(const struct zb_conf_key *key, const void *base, struct zb_conf_values *values)
{
    uint64_t wide = 0;
    uint32_t narrow;

    if (key->size == sizeof wide) {
        memcpy(&wide, field_const(key, base), sizeof wide);
    } else {
        memcpy(&narrow, field_const(key, base), sizeof narrow);
        wide = narrow;
    }
    (key->kind == ZB_CONF_DURATION ? zb_conf_duration_format
     : key->kind == ZB_CONF_SIZE   ? zb_conf_size_format
                                   : zb_conf_count_format)(wide, values->number);
    values->count = wide != 0;
    values->items[0] = values->number;
}

void
zb_conf_key_values(const struct zb_conf_key *key, const void *base, struct zb_conf_values *values)
{
    const struct zb_conf_names *names;

    values->count = 1;
    switch (key->kind) {
    case ZB_CONF_STRING:
        values->items[0] = field_const(key, base);
        values->count = values->items[0][0] != '\0';
        break;
    case ZB_CONF_WORD:
        values->items[0] = word_of(key, base);
        values->count = values->items[0] != NULL;
        break;
    case ZB_CONF_NAMES:
        names = (const struct zb_conf_names *)(const void *)field_const(key, base);
        values->count = names->count;
        for (uint32_t i = 0; i < names->count; i++) {
            values->items[i] = names->items[i];
        }
        break;
    default:
        number_format(key, base, values);
    }
}

/* In double quotes, as the lexer of libconfuse reads them. */
static void
quoted_print(const char *s, FILE *file)
{
    (void)fputc('"', file);
    for (; *s != '\0'; s++) {
        if (*s == '"' || *s == '\\') {
            (void)fputc('\\', file);
        }
        (void)fputc(*s, file);
    }
    (void)fputc('"', file);
}

static void
values_print(const struct zb_conf_key *key, const struct zb_conf_values *values, FILE *file)
{
    if (key->kind == ZB_CONF_NAMES) {
        (void)fputs("{ ", file);
        for (size_t i = 0; i < values->count; i++) {
            (void)fprintf(file, "%s%s", i > 0 ? ", " : "", values->items[i]);
        }
        (void)fputs(" }", file);
    } else if (key->kind == ZB_CONF_COUNT) {
        (void)fputs(values->items[0], file);
    } else {
        quoted_print(values->items[0], file);
    }
}

void
zb_conf_keys_print(const struct zb_conf_key *keys, size_t count, const void *base,
                   const char *indent, FILE *file)
{
    for (size_t i = 0; i < count; i++) {
        struct zb_conf_values values;
        zb_conf_key_values(&keys[i], base, &values);
        if (values.count > 0) {
            (void)fprintf(file, "%s%s = ", indent, keys[i].name);
            values_print(&keys[i], &values, file);
            (void)fputc('\n', file);
        }
    }
}
