#include "conf/value.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ALNUM "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

struct unit {
    const char *name;
    uint64_t factor;
};

/* Largest first: the first that divides a value says it shortest. */
static const struct unit durations[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1},
};

static const struct unit sizes[] = {
    {"P", UINT64_C(1) << 50}, {"T", UINT64_C(1) << 40}, {"G", UINT64_C(1) << 30},
    {"M", UINT64_C(1) << 20}, {"K", UINT64_C(1) << 10}, {"", 1},
};

static const struct unit counts[] = {{"", 1}};

#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

static bool
number_parse(const char *s, const struct unit *units, size_t units_count, uint64_t *value)
{
    size_t digits = strspn(s, "0123456789");
    uint64_t number = 0;

    if (digits == 0 || digits > 19) { /* 19 digits always fit */
        return false;
    }
    for (size_t i = 0; i < digits; i++) {
        number = number * 10 + (uint64_t)(s[i] - '0');
    }
    for (size_t i = 0; i < units_count; i++) {
        if (strcmp(s + digits, units[i].name) == 0) {
            return !__builtin_mul_overflow(number, units[i].factor, value);
        }
    }
    return false;
}

static void
number_format(uint64_t value, const struct unit *units, size_t units_count, char *buf)
{
    size_t i = 0;

    while (i + 1 < units_count && (value == 0 || value % units[i].factor != 0)) {
        i++;
    }
    (void)snprintf(buf, ZB_CONF_NUMBER_SIZE, "%" PRIu64 "%s", value / units[i].factor,
                   units[i].name);
}

bool
zb_conf_duration_parse(const char *s, uint64_t *ms)
{
    return number_parse(s, durations, COUNT_OF(durations), ms);
}

void
zb_conf_duration_format(uint64_t ms, char *buf)
{
    number_format(ms, durations, COUNT_OF(durations), buf);
}

bool
zb_conf_size_parse(const char *s, uint64_t *bytes)
{
    return number_parse(s, sizes, COUNT_OF(sizes), bytes);
}

void
zb_conf_size_format(uint64_t bytes, char *buf)
{
    number_format(bytes, sizes, COUNT_OF(sizes), buf);
}

bool
zb_conf_count_parse(const char *s, uint64_t *count)
{
    return number_parse(s, counts, COUNT_OF(counts), count);
}

void
zb_conf_count_format(uint64_t count, char *buf)
{
    number_format(count, counts, COUNT_OF(counts), buf);
}

static bool
printable(const char *s)
{
    for (; *s != '\0'; s++) {
        if (*s < 0x20 || *s > 0x7e) {
            return false;
        }
    }
    return true;
}

bool
zb_conf_path_valid(const char *s)
{
    if (s[0] != '/' || !printable(s) || strstr(s, "${") != NULL) {
        return false;
    }
    for (const char *slash = s; slash != NULL; slash = strchr(slash + 1, '/')) {
        const char *component = slash + 1;
        size_t length = strcspn(component, "/");
        if (length == 0 || (length == 1 && component[0] == '.') ||
            (length == 2 && component[0] == '.' && component[1] == '.')) {
            return false;
        }
    }
    return true;
}

bool
zb_conf_paths_overlap(const char *a, const char *b)
{
    size_t length_a = strlen(a);
    size_t length_b = strlen(b);
    size_t shorter = length_a < length_b ? length_a : length_b;
    const char *longer = length_a < length_b ? b : a;

    return strncmp(a, b, shorter) == 0 && (longer[shorter] == '\0' || longer[shorter] == '/');
}

/* Moves behind the quoted part that starts at s[0]; NULL: it has no end. */
static const char *
quoted_end(const char *s)
{
    char quote = *s++;

    while (*s != '\0' && *s != quote) {
        if (quote == '"' && s[0] == '\\' && s[1] != '\0') {
            s++;
        }
        s++;
    }
    return *s == quote ? s + 1 : NULL;
}

static bool
quotes_closed(const char *s)
{
    while (s != NULL && *s != '\0') {
        if (*s == '\'' || *s == '"') {
            s = quoted_end(s);
        } else if (*s == '\\') {
            s = s[1] == '\0' ? NULL : s + 2;
        } else {
            s++;
        }
    }
    return s != NULL;
}

bool
zb_conf_command_valid(const char *s)
{
    size_t program = strspn(s, ALNUM "_.-");

    return program > 0 && s[0] != '.' && s[0] != '-' && (s[program] == '\0' || s[program] == ' ') &&
           printable(s) && strstr(s, "${") == NULL && quotes_closed(s);
}

bool
zb_conf_unit_valid(const char *s)
{
    static const char suffix[] = ".service";
    size_t length = strspn(s, ALNUM ":_.@\\-");

    return s[length] == '\0' && length >= sizeof suffix && s[0] != '.' && s[0] != '-' &&
           strcmp(s + length - (sizeof suffix - 1), suffix) == 0;
}

bool
zb_conf_address_valid(const char *s)
{
    char host[ZB_ADDRESS_SIZE];
    struct in6_addr address; /* large enough for both families */
    const char *colon = strrchr(s, ':');
    uint64_t port;

    if (colon == NULL || !zb_conf_count_parse(colon + 1, &port) || colon[1] == '0' ||
        port > 65535 || (size_t)(colon - s) >= sizeof host) {
        return false;
    }
    size_t length = (size_t)(colon - s);
    memcpy(host, s, length);
    host[length] = '\0';
    if (host[0] != '[') {
        return inet_pton(AF_INET, host, &address) == 1;
    }
    if (host[length - 1] != ']') {
        return false;
    }
    host[length - 1] = '\0';
    return inet_pton(AF_INET6, host + 1, &address) == 1;
}

#define SUGGEST_LENGTH_MAX 31

/* Letters inserted, deleted or replaced to make b from a (Levenshtein); both of bounded length. */
static size_t
edit_distance(const char *a, const char *b)
{
    size_t row[SUGGEST_LENGTH_MAX + 1];
    size_t length_b = strlen(b);

    for (size_t j = 0; j <= length_b; j++) {
        row[j] = j;
    }
    for (size_t i = 0; a[i] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < length_b; j++) {
            size_t best = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            best = best < row[j] + 1 ? best : row[j] + 1;
            row[j + 1] = best < diagonal + 1 ? best : diagonal + 1;
        }
    }
    return row[length_b];
}

const char *
zb_conf_suggest(const char *word, const char *const *candidates, size_t count)
{
    const char *nearest = NULL;
    size_t nearest_distance = 3;

    if (strlen(word) > SUGGEST_LENGTH_MAX) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(candidates[i]);
        if (length > SUGGEST_LENGTH_MAX) {
            continue;
        }
        size_t distance = edit_distance(word, candidates[i]);
        /* A word whose every letter differs is not meant. */
        if (distance < nearest_distance && distance < length) {
            nearest = candidates[i];
            nearest_distance = distance;
        }
    }
    return nearest;
}
