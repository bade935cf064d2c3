/* /proc/self/mountinfo: names in it are chosen by who mounts. */
#include "fuzz.h"

#include "os/linux/mountinfo.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct zb_os_mountinfo line;
    char *text = fuzz_text(data, size);
    const char *end = text + strlen(text);
    char *cursor = text;

    for (const char *before = cursor; zb_os_mountinfo_next(&cursor, &line); before = cursor) {
        assert(cursor > before && cursor <= end);
        if (line.dir != NULL) {
            const char *const texts[] = {line.root, line.dir, line.fstype, line.source};
            for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
                assert(texts[i] >= before && texts[i] + strlen(texts[i]) <= cursor);
            }
        }
    }
    free(text);
    return 0;
}
