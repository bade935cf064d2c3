#include "os/linux/mountinfo.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* "\040" and its kin, in place (mangle_path of the kernel: space, tab, newline, backslash, '#'). */
static void
unescape(char *s)
{
    char *to = s;
    while (*s != '\0') {
        if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
            s[3] >= '0' && s[3] <= '7') {
            *to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
            s += 4;
        } else {
            *to++ = *s++;
        }
    }
    *to = '\0';
}

static bool
has_option(const char *options, const char *name)
{
    size_t length = strlen(name);
    for (const char *p = options; p != NULL; p = strchr(p, ',')) {
        p += *p == ',';
        if (strncmp(p, name, length) == 0 && (p[length] == ',' || p[length] == '\0')) {
            return true;
        }
    }
    return false;
}

/* Fields: id parent major:minor root dir options [optional]* - fstype source super-options */
static bool
parse_fields(char *text, struct zb_os_mountinfo *line)
{
    char *fields[6];
    char *after[3];
    char *field = NULL;

    /* strsep keeps empty fields: a source may be "". */
    for (size_t i = 0; i < 6; i++) {
        fields[i] = strsep(&text, " ");
        if (text == NULL) {
            return false;
        }
    }
    do {
        field = strsep(&text, " ");
    } while (field != NULL && strcmp(field, "-") != 0);
    for (size_t i = 0; i < 3; i++) {
        after[i] = strsep(&text, " ");
        if (after[i] == NULL) {
            return false;
        }
    }
    char *colon;
    unsigned long major_number = strtoul(fields[2], &colon, 10);
    if (*colon != ':') {
        return false;
    }
    line->id = strtoull(fields[0], NULL, 10);
    line->parent_id = strtoull(fields[1], NULL, 10);
    line->dev = makedev((unsigned)major_number, (unsigned)strtoul(colon + 1, NULL, 10));
    line->readonly = has_option(fields[5], "ro") || has_option(after[2], "ro");
    unescape(fields[3]);
    unescape(fields[4]);
    unescape(after[1]);
    line->root = fields[3];
    line->dir = fields[4];
    line->fstype = after[0];
    line->source = after[1];
    return true;
}

bool
zb_os_mountinfo_next(char **cursor, struct zb_os_mountinfo *line)
{
    char *text = *cursor;
    if (*text == '\0') {
        return false;
    }
    char *end = strchr(text, '\n');
    if (end != NULL) {
        *end = '\0';
        *cursor = end + 1;
    } else {
        *cursor = text + strlen(text);
    }
    *line = (struct zb_os_mountinfo){0};
    if (!parse_fields(text, line)) {
        *line = (struct zb_os_mountinfo){0};
    }
    return true;
}

char *
zb_os_file_read(const char *path)
{
    size_t size = 16u << 10;
    size_t used = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return NULL;
    }
    char *buf = malloc(size);
    for (;;) {
        if (buf != NULL && used + 1 == size) {
            size *= 2;
            char *larger = realloc(buf, size);
            if (larger == NULL) {
                free(buf);
            }
            buf = larger;
        }
        if (buf == NULL) {
            break;
        }
        ssize_t n = read(fd, buf + used, size - 1 - used);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            free(buf);
            buf = NULL;
        }
        if (n <= 0) {
            break;
        }
        used += (size_t)n;
    }
    int saved = errno;
    close(fd);
    errno = saved;
    if (buf != NULL) {
        buf[used] = '\0';
    }
    return buf;
}
