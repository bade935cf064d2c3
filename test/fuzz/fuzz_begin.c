/* The begin record of a stream, before the kernel sees it. */
#include "fuzz.h"

#include "wire/record.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct zb_stream_begin begin;
    struct zb_err err;

    if (size != ZB_STREAM_BEGIN_SIZE || zb_stream_begin_parse(data, &begin, &err) != ZB_OK) {
        return 0;
    }
    assert(begin.toguid != 0);
    assert(memchr(begin.toname, '\0', sizeof begin.toname) != NULL);
    assert(strchr(begin.toname, '@') != NULL);
    return 0;
}
