#include "history/history.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/log.h"
#include "history/statement.h"

static const char *const state_words[] = {
    [ZB_HISTORY_ACCEPTED] = "accepted",
    [ZB_HISTORY_COMMITTED] = "committed",
};
#define STATES_COUNT (sizeof state_words / sizeof state_words[0])

static void
hash_text(const char *text, char hash[65])
{
    uint8_t digest[EVP_MAX_MD_SIZE];

    if (EVP_Digest(text, strlen(text), digest, NULL, EVP_sha256(), NULL) != 1) {
        zb_out_of_memory();
    }
    for (size_t i = 0; i < 32; i++) {
        (void)snprintf(hash + 2 * i, 3, "%02x", digest[i]);
    }
}

enum zb_rc
zb_history_config_put(struct zb_history *h, uint64_t version, enum zb_history_config_state state,
                      const char *text, struct zb_err *err)
{
    struct zb_statement s = zb_statement_begin(h, ZB_SQL_CONFIG_PUT);
    char hash[65];

    hash_text(text, hash);
    zb_statement_u64(&s, version);
    zb_statement_word(&s, state_words, STATES_COUNT, state);
    zb_statement_text(&s, text, SIZE_MAX);
    zb_statement_text(&s, hash, sizeof hash);
    zb_statement_i64(&s, zb_wall_now().s);
    return zb_statement_run(&s, err);
}

static void
config_take(struct zb_statement *s, void *item)
{
    struct zb_history_config *config = item;

    config->version = zb_column_u64(s, UINT64_MAX);
    config->time.s = zb_column_i64(s);
    zb_column_text(s, config->hash, sizeof config->hash);
    config->text = zb_column_string(s);
}

enum zb_rc
zb_history_config_get(struct zb_history *h, enum zb_history_config_state state,
                      struct zb_history_config *out, struct zb_err *err)
{
    struct zb_statement s = zb_statement_begin(h, ZB_SQL_CONFIG_GET);
    struct zb_history_config found = {0};
    char hash[65];

    zb_statement_word(&s, state_words, STATES_COUNT, state);
    enum zb_rc rc = zb_statement_one(&s, config_take, &found, err);
    if (rc == ZB_OK) {
        hash_text(found.text, hash);
        if (strcmp(hash, found.hash) != 0) {
            rc = zb_err_set(err, ZB_E_FORMAT, "history %s: version %" PRIu64 " has another hash",
                            h->path, found.version);
        }
    }
    if (rc != ZB_OK) {
        zb_history_config_close(&found);
        return zb_err_wrap(err, "configuration");
    }
    *out = found;
    return ZB_OK;
}

void
zb_history_config_close(struct zb_history_config *config)
{
    free(config->text);
    *config = (struct zb_history_config){0};
}
