#include "base/types.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/be.h"
#include "base/log.h"

enum zb_rc
zb_manifest_init(struct zb_manifest *m, uint32_t count, struct zb_err *err)
{
    struct zb_manifest_entry *entries = NULL;

    if (count > ZB_DATASETS_MAX) {
        return zb_err_set(err, ZB_E_LIMIT, "%u datasets in a set, at most %d (ZB_DATASETS_MAX)",
                          count, ZB_DATASETS_MAX);
    }
    if (count > 0) {
        entries = calloc(count, sizeof *entries);
        if (entries == NULL) {
            return zb_err_set(err, ZB_E_NOMEM, "manifest of %u datasets: out of memory", count);
        }
    }
    *m = (struct zb_manifest){.entries_count = count, .entries = entries};
    return ZB_OK;
}

enum zb_rc
zb_manifest_copy(struct zb_manifest *to, const struct zb_manifest *from, struct zb_err *err)
{
    struct zb_manifest copy = {0};
    enum zb_rc rc = zb_manifest_init(&copy, from->entries_count, err);
    if (rc != ZB_OK) {
        return rc;
    }
    copy.id = from->id;
    copy.time = from->time;
    if (copy.entries != NULL) {
        memcpy(copy.entries, from->entries, from->entries_count * sizeof *from->entries);
    }
    *to = copy;
    return ZB_OK;
}

void
zb_manifest_close(struct zb_manifest *m)
{
    free(m->entries);
    *m = (struct zb_manifest){0};
}

static int
entry_cmp(const void *a, const void *b)
{
    const struct zb_manifest_entry *left = a;
    const struct zb_manifest_entry *right = b;
    return strcmp(left->rel, right->rel);
}

void
zb_manifest_sort(struct zb_manifest *m)
{
    if (m->entries_count > 0) {
        qsort(m->entries, m->entries_count, sizeof *m->entries, entry_cmp);
    }
}

static bool
uuid_is_new(const struct zb_manifest *m, uint32_t index)
{
    for (uint32_t i = 0; i < index; i++) {
        if (strcmp(m->entries[i].uuid, m->entries[index].uuid) == 0) {
            return false;
        }
    }
    return true;
}

bool
zb_manifest_valid(const struct zb_manifest *m)
{
    for (uint32_t i = 0; i < m->entries_count; i++) {
        const struct zb_manifest_entry *entry = &m->entries[i];
        if (!zb_rel_valid(entry->rel) || !zb_uuid_valid(entry->uuid) || entry->guid == 0 ||
            !uuid_is_new(m, i) || (i > 0 && entry_cmp(entry - 1, entry) >= 0)) {
            return false;
        }
    }
    return true;
}

/* Out of memory is fail-stop in the engine, and a digest that is not one would be worse. */
static void
digest_add(EVP_MD_CTX *ctx, const void *data, size_t size)
{
    if (EVP_DigestUpdate(ctx, data, size) != 1) {
        zb_out_of_memory();
    }
}

static void
digest_add_u64(EVP_MD_CTX *ctx, uint64_t value)
{
    uint8_t bytes[8];
    zb_be64_put(bytes, value);
    digest_add(ctx, bytes, sizeof bytes);
}

void
zb_manifest_ref(const struct zb_manifest *m, struct zb_set_ref *ref)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    if (ctx == NULL || EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1) {
        zb_out_of_memory();
    }
    digest_add_u64(ctx, m->id.term);
    digest_add_u64(ctx, m->id.seq);
    for (uint32_t i = 0; i < m->entries_count; i++) {
        const struct zb_manifest_entry *entry = &m->entries[i];
        assert(i == 0 || entry_cmp(entry - 1, entry) < 0);
        /* With their NULs, so that no two lists give the same bytes. */
        digest_add(ctx, entry->uuid, strlen(entry->uuid) + 1);
        digest_add(ctx, entry->rel, strlen(entry->rel) + 1);
        digest_add_u64(ctx, entry->guid);
    }
    if (EVP_DigestFinal_ex(ctx, digest, NULL) != 1) {
        zb_out_of_memory();
    }
    EVP_MD_CTX_free(ctx);
    ref->id = m->id;
    memcpy(ref->digest, digest, ZB_DIGEST_SIZE);
}

const struct zb_manifest_entry *
zb_manifest_find(const struct zb_manifest *m, const char *rel)
{
    for (uint32_t i = 0; i < m->entries_count; i++) {
        if (strcmp(m->entries[i].rel, rel) == 0) {
            return &m->entries[i];
        }
    }
    return NULL;
}
