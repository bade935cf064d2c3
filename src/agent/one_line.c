#include "agent/one_line.h"

#include <string.h>

/* Bytes of the character at s; 0: not UTF-8, or one that controls a terminal. */
static size_t
printable(const unsigned char *s)
{
    size_t size = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

    if (size == 0 || s[0] > 0xf4 || s[0] < 0x20 || s[0] == 0x7f ||
        (s[0] == 0xc2 && s[1] < 0xa0)) { /* C0, DEL, C1 */
        return 0;
    }
    for (size_t i = 1; i < size; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return size;
}

bool
zb_one_line_valid(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;

    while (*s != '\0') {
        size_t size = printable(s);
        if (size == 0) {
            return false;
        }
        s += size;
    }
    return text[strspn(text, " ")] != '\0';
}
