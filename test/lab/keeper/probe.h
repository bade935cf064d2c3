/*
 * What keeper_probe says in words: a request from the words of its command line, a reply as JSON.
 */
#ifndef ZB_TEST_PROBE_H
#define ZB_TEST_PROBE_H

#include <jansson.h>

#include "wire/kmsg.h"

/* What a client does to the request or the stream besides. */
struct probe_extras {
    uint64_t limit, change, cancel_after_ms;
    bool stall, has_limit, has_change;
};

/* Ends the process with the message. */
__attribute__((noreturn, format(printf, 1, 2))) void die(const char *fmt, ...);

/*
 * One word, "name=value", into the request or the extras; which it changes. Names are
 * the fields of struct zb_kreq, op by its word, text=@FILE from a file,
 * manifest=TERM/SEQ[;uuid,rel,guid]... protect=TERM/SEQ,... For ship also limit=BYTES (the stream
 * ends after so many), stall=1 (it does not end, but nothing more comes), change=BYTE (flips a bit
 * there). For ask: cancel_after_ms=N.
 */
void probe_word(struct zb_kreq *req, struct probe_extras *x, char *word);

/* The caller owns it. */
json_t *probe_reply(const struct zb_krep *rep);

#endif
