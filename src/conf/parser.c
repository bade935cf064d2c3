#include "conf/parser.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <confuse.h>

/* What the callbacks of libconfuse work on. They get no pointer of ours, hence the thread-local. */
struct parse {
    const struct zb_conf_grammar *grammar;
    void *base;
    void *ctx;
    uint64_t seen;
    struct zb_err *err; /* rc stays ZB_OK until the first error, which is the one that is kept */
};

static _Thread_local struct parse *current;

/* Puts "name:line: " in front of the error, and the section where there is one. */
static int
fail(const cfg_t *cfg, const char *title)
{
    if (title != NULL) {
        (void)zb_err_wrap(current->err, "%s:%d: %s %.63s", cfg->filename, cfg->line,
                          current->grammar->section, title);
    } else {
        (void)zb_err_wrap(current->err, "%s:%d", cfg->filename, cfg->line);
    }
    return -1;
}

static void
unknown_key(bool in_keys, const char *word)
{
    const struct zb_conf_grammar *g = current->grammar;
    const char *candidates[ZB_CONF_KEYS_MAX] = {g->section};
    size_t count = 1;

    if (in_keys) {
        for (count = 0; count < g->keys_count; count++) {
            candidates[count] = g->keys[count].name;
        }
    }
    const char *meant = zb_conf_suggest(word, candidates, count);
    if (meant != NULL) {
        (void)zb_err_set(current->err, ZB_E_FORMAT, "unknown key '%.63s'; did you mean '%s'?", word,
                         meant);
    } else {
        (void)zb_err_set(current->err, ZB_E_FORMAT, "unknown key '%.63s'", word);
    }
}

/* Errors of libconfuse itself. Texts are those of its version 3 (confuse.c). */
static void __attribute__((format(printf, 2, 0)))
on_error(cfg_t *cfg, const char *fmt, va_list args)
{
    static const char no_option[] = "no such option ";
    static const char duplicate[] = "found duplicate title ";
    char text[256];

    if (current->err->rc != ZB_OK) {
        return;
    }
    bool in_section = cfg->title != NULL;
    (void)vsnprintf(text, sizeof text, fmt, args);
    if (strncmp(text, no_option, sizeof no_option - 1) == 0) {
        char *word = text + sizeof no_option; /* behind the quote */
        word[strcspn(word, "'")] = '\0';
        unknown_key(in_section || current->grammar->section == NULL, word);
    } else if (strncmp(text, duplicate, sizeof duplicate - 1) == 0) {
        (void)zb_err_set(current->err, ZB_E_FORMAT, "%s %s is declared twice",
                         current->grammar->section, text + sizeof duplicate - 1);
    } else {
        (void)zb_err_set(current->err, ZB_E_FORMAT, "%s", text);
    }
    (void)fail(cfg, in_section ? cfg->title : NULL);
}

static int
given_twice(const struct zb_conf_key *key, const cfg_t *cfg, const char *title)
{
    (void)zb_err_set(current->err, ZB_E_FORMAT, "%s is given twice", key->name);
    return fail(cfg, title);
}

/* A list is told again and again while it grows, and not at all where it is empty. Given twice it
 * begins anew: then it does not begin with what is known of it. */
static bool
list_grew(const struct zb_conf_key *key, const char *const *values, size_t count)
{
    struct zb_conf_values known;

    zb_conf_key_values(key, current->base, &known);
    for (size_t i = 0; i < known.count; i++) {
        if (i >= count || strcmp(values[i], known.items[i]) != 0) {
            return false;
        }
    }
    return true;
}

static int
on_key(cfg_t *cfg, cfg_opt_t *opt)
{
    const struct zb_conf_grammar *g = current->grammar;
    const struct zb_conf_key *key = zb_conf_key_find(g->keys, g->keys_count, opt->name);
    uint64_t bit = UINT64_C(1) << (key - g->keys);
    const char *values[ZB_MEMBERS_MAX + 1];
    size_t count = cfg_opt_size(opt);

    for (size_t i = 0; i < count && i < sizeof values / sizeof values[0]; i++) {
        values[i] = cfg_opt_getnstr(opt, (unsigned)i);
    }
    if (key->kind == ZB_CONF_NAMES ? !list_grew(key, values, count) : (current->seen & bit) != 0) {
        return given_twice(key, cfg, cfg->title);
    }
    current->seen |= bit;
    if (zb_conf_key_set(key, values, count, current->base, current->err) != ZB_OK) {
        return fail(cfg, cfg->title);
    }
    return 0;
}

static int
on_section(cfg_t *cfg, cfg_opt_t *opt)
{
    const struct zb_conf_grammar *g = current->grammar;
    cfg_t *section = cfg_opt_getnsec(opt, cfg_opt_size(opt) - 1);
    uint64_t seen = current->seen;

    for (size_t i = 0; i < g->keys_count; i++) {
        struct zb_conf_values known;
        zb_conf_key_values(&g->keys[i], current->base, &known);
        if (g->keys[i].kind == ZB_CONF_NAMES && cfg_size(section, g->keys[i].name) != known.count) {
            return given_twice(&g->keys[i], cfg, section->title);
        }
    }
    current->seen = 0;
    if (g->end(current->ctx, section->title, seen, current->err) != ZB_OK) {
        return fail(cfg, section->title);
    }
    return 0;
}

static cfg_t *
cfg_make(const struct zb_conf_grammar *g, const char *name)
{
    cfg_opt_t keys[ZB_CONF_KEYS_MAX + 1];
    cfg_opt_t sections[2];

    assert(g->keys_count <= ZB_CONF_KEYS_MAX);
    for (size_t i = 0; i < g->keys_count; i++) {
        if (g->keys[i].kind == ZB_CONF_NAMES) {
            keys[i] = (cfg_opt_t)CFG_STR_LIST(g->keys[i].name, NULL, CFGF_NODEFAULT);
        } else {
            keys[i] = (cfg_opt_t)CFG_STR(g->keys[i].name, NULL, CFGF_NODEFAULT);
        }
        keys[i].validcb = on_key;
    }
    keys[g->keys_count] = (cfg_opt_t)CFG_END();
    sections[0] =
        (cfg_opt_t)CFG_SEC(g->section, keys, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES);
    sections[0].validcb = on_section;
    sections[1] = (cfg_opt_t)CFG_END();

    cfg_t *cfg = cfg_init(g->section != NULL ? sections : keys, CFGF_NONE);
    if (cfg == NULL) {
        return NULL;
    }
    (void)cfg_set_error_function(cfg, on_error);
    cfg->filename = strdup(name);
    if (cfg->filename == NULL) {
        (void)cfg_free(cfg);
        return NULL;
    }
    return cfg;
}

static int
line_of(const char *text, const char *at)
{
    int line = 1;

    for (const char *p = text; p < at; p++) {
        line += *p == '\n';
    }
    return line;
}

/* Blanks from p to before end; lines stay lines. */
static char *
blank(char *p, const char *end)
{
    for (; p < end; p++) {
        if (*p != '\n') {
            *p = ' ';
        }
    }
    return p;
}

/* The first thing that has no end, and what it is. */
struct open_end {
    const char *at; /* NULL: everything ends */
    const char *what;
};

/* Behind the quoted string that begins at p, or NULL; no value has more than one line. */
static char *
skip_quoted(char *p)
{
    char quote = *p++;

    while (*p != '\0' && *p != '\n' && *p != quote) {
        p += *p == '\\' && p[1] != '\0' ? 2 : 1;
    }
    return *p == quote ? p + 1 : NULL;
}

/* Behind the comment that begins at p and is blanked, or NULL. */
static char *
skip_comment(char *p)
{
    const char *end = p + strcspn(p, "\n");

    if (p[1] == '*') {
        end = strstr(p + 2, "*/");
        if (end == NULL) {
            return NULL;
        }
        end += 2;
    }
    return blank(p, end);
}

/* Blanks comments, whose lines libconfuse counts twice, and semicolons. What has no end is found
 * here: at the end of the text libconfuse takes comments and sections as closed. */
static struct open_end
text_normalize(char *p)
{
    const char *brace = NULL; /* the outermost open one */
    unsigned depth = 0;

    while (*p != '\0') {
        char *begin = p++;
        if (*begin == '"' || *begin == '\'') {
            p = skip_quoted(begin);
        } else if (*begin == '#' || (*begin == '/' && (*p == '/' || *p == '*'))) {
            p = skip_comment(begin);
        } else if (*begin == ';') {
            *begin = ' ';
        } else if (*begin == '{') {
            brace = depth++ == 0 ? begin : brace;
        } else if (*begin == '}') {
            depth -= depth > 0; /* one too many is libconfuse's to report */
        }
        if (p == NULL) {
            return (struct open_end){begin, *begin == '/' ? "comment" : "string"};
        }
    }
    return (struct open_end){depth > 0 ? brace : NULL, "'{'"};
}

/* A copy of the text that libconfuse reads as we mean it; the caller frees it. */
static enum zb_rc
text_prepare(const char *text, const char *name, char **prepared, struct zb_err *err)
{
    size_t length = strnlen(text, ZB_CONF_TEXT_MAX + 1);

    if (length > ZB_CONF_TEXT_MAX) {
        (void)zb_err_set(err, ZB_E_LIMIT, "%s: longer than %u bytes", name, ZB_CONF_TEXT_MAX);
        return ZB_E_LIMIT;
    }
    char *copy = calloc(1, length + 2);
    if (copy == NULL) {
        (void)zb_err_set(err, ZB_E_NOMEM, "%s: out of memory", name);
        return ZB_E_NOMEM;
    }
    memcpy(copy, text, length);
    copy[length] = '\n'; /* so that it is not empty, which fmemopen refuses */
    struct open_end open_end = text_normalize(copy);
    const char *variable = strstr(copy, "${");
    if (open_end.at != NULL) {
        (void)zb_err_set(err, ZB_E_FORMAT, "%s:%d: %s without its end", name,
                         line_of(copy, open_end.at), open_end.what);
    } else if (variable != NULL) {
        (void)zb_err_set(err, ZB_E_FORMAT, "%s:%d: variables (${...}) are not used here", name,
                         line_of(copy, variable));
    } else {
        *prepared = copy;
        return ZB_OK;
    }
    free(copy);
    return ZB_E_FORMAT;
}

enum zb_rc
zb_conf_parse(const struct zb_conf_grammar *grammar, const char *text, const char *name, void *base,
              void *ctx, struct zb_err *err)
{
    struct zb_err found = {.rc = ZB_OK};
    struct parse parse = {.grammar = grammar, .base = base, .ctx = ctx, .err = &found};
    cfg_t *cfg = NULL;
    FILE *file = NULL;
    char *prepared = NULL;
    enum zb_rc rc = text_prepare(text, name, &prepared, err);

    if (rc != ZB_OK) {
        return rc;
    }
    rc = zb_err_set(err, ZB_E_NOMEM, "%s: out of memory", name);
    cfg = cfg_make(grammar, name);
    if (cfg == NULL) {
        goto out;
    }
    file = fmemopen(prepared, strlen(prepared), "r");
    if (file == NULL) {
        goto out;
    }
    current = &parse;
    int parsed = cfg_parse_fp(cfg, file);
    current = NULL;
    if (parsed == CFG_SUCCESS && grammar->section == NULL &&
        grammar->end(ctx, NULL, parse.seen, &found) != ZB_OK) {
        (void)zb_err_wrap(&found, "%s", name);
    } else if (parsed != CFG_SUCCESS && found.rc == ZB_OK) {
        (void)zb_err_set(&found, ZB_E_FORMAT, "%s: does not parse", name);
    }
    rc = found.rc;
    if (rc != ZB_OK) {
        *err = found;
    }
out:
    if (file != NULL) {
        (void)fclose(file);
    }
    if (cfg != NULL) {
        (void)cfg_free(cfg);
    }
    free(prepared);
    return rc;
}
