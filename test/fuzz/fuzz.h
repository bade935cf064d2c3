/*
 * What the fuzz targets share. A target is one file with LLVMFuzzerTestOneInput, which gives the
 * bytes to a decoder; what decodes is encoded and must decode to the same. Everything that must
 * hold is asserted, everything allocated is freed: a leak is a finding.
 */
#ifndef ZB_TEST_FUZZ_H
#define ZB_TEST_FUZZ_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/types.h"

/* What libFuzzer calls. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* The bytes up to their first NUL as a string on the heap, so that reading past its end is seen. */
static inline char *
fuzz_text(const uint8_t *data, size_t size)
{
    char *text = strndup((const char *)data, size);
    assert(text != NULL);
    return text;
}

#endif
