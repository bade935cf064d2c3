/*
 * libconfuse over a table of keys. Every message is "name:line: ...". Environment variables, which
 * libconfuse would expand, are refused: a text must mean the same on every node.
 */
#ifndef ZB_CONF_PARSER_H
#define ZB_CONF_PARSER_H

#include "conf/key.h"

#define ZB_CONF_KEYS_MAX 64

struct zb_conf_grammar {
    const char *section; /* all keys are in titled sections of this name; NULL: no sections */
    const struct zb_conf_key *keys;
    size_t keys_count;
    /* A section ends (without sections: the text). base holds its values; the next section's go
     * there too. title: of the section, or NULL. seen: bit per key that was given. */
    enum zb_rc (*end)(void *ctx, const char *title, uint64_t seen, struct zb_err *err);
};

/* base: struct that keys go to, with the defaults set; end sets them again for the next section.
 * ZB_E_FORMAT, ZB_E_LIMIT or what end returned. */
enum zb_rc zb_conf_parse(const struct zb_conf_grammar *grammar, const char *text, const char *name,
                         void *base, void *ctx, struct zb_err *err) ZB_CHECKED;

/* Reads a file of at most ZB_CONF_TEXT_MAX bytes without NUL; *text is for free(). of_root:
 * refuses (ZB_E_REFUSED) a file that root does not own or others may write. */
enum zb_rc zb_conf_file_read(const char *path, bool of_root, char **text,
                             struct zb_err *err) ZB_CHECKED;

#endif
