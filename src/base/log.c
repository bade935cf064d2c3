#include "base/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_SIZE 2048

/* Set once by zb_log_init before threads exist, then only read. */
static struct {
    const char *program;
    enum zb_log_level level;
    bool journal;
} state = {.program = "zbaton", .level = ZB_LOG_INFO};

static const char *const level_words[] = {
    [ZB_LOG_ERROR] = "error: ",
    [ZB_LOG_WARNING] = "warning: ",
    [ZB_LOG_INFO] = "",
    [ZB_LOG_DEBUG] = "debug: ",
};

/* JOURNAL_STREAM is "device:inode" of the stream the journal reads (systemd.exec(5)). */
static bool
journal_reads_stderr(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    char ours[64];
    struct stat st;

    if (stream == NULL || fstat(STDERR_FILENO, &st) != 0) {
        return false;
    }
    (void)snprintf(ours, sizeof(ours), "%llu:%llu", (unsigned long long)st.st_dev,
                   (unsigned long long)st.st_ino);
    return strcmp(ours, stream) == 0;
}

void
zb_log_init(const char *program, enum zb_log_level level)
{
    state.program = program;
    state.level = level;
    state.journal = journal_reads_stderr();
}

/* Text of others may be in a line: nothing in it may start a line or drive a terminal. */
static void
clean(char *text)
{
    for (char *p = text; *p != '\0'; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f) {
            *p = ' ';
        }
    }
}

void
zb_log(enum zb_log_level level, const char *fmt, ...)
{
    char line[LINE_SIZE];
    char priority[8] = "";
    va_list args;

    if (level > state.level) {
        return;
    }
    if (state.journal) {
        (void)snprintf(priority, sizeof priority, "<%d>", (int)level);
    }
    va_start(args, fmt);
    (void)vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    clean(line);
    /* One call, so that the stream's lock keeps lines of two threads apart. */
    (void)fprintf(stderr, "%s%s: %s%s\n", priority, state.program, level_words[level], line);
}

void
zb_out_of_memory(void)
{
    zb_log_error("out of memory");
    abort();
}
