/*
 * Requests to keeper/rules.h that would be granted; each test has one thing wrong with one.
 */
#ifndef ZB_TEST_KEEPER_STORY_H
#define ZB_TEST_KEEPER_STORY_H

#include "unit.h"

#include "keeper/rules.h"

#define STORY_UUID "6f0a0f3e-6a4f-4d4e-8a43-0f6f3f1c2d11"
#define STORY_BOOT "5c5192c4-d747-4963-8186-4affb2b383a7"

struct story {
    struct zb_keeper_record r;
    struct zb_kreq req;
    struct zb_kdataset datasets[2];
    struct zb_manifest_entry entries[2];
    struct zb_manifest sealed;
    struct zb_keeper_facts f;
    struct zb_err err;
};

/* A leader of term 3 called vm1, mounted, with one dataset; set 3/9 is its newest. */
void story_leader(struct story *s);
/* The same, unmounted and sealed with 3/9. */
void story_sealed(struct story *s);
/* vm2 follows vm1 in term 3. */
void story_follower(struct story *s);
/* Asserts that a rule answered as wanted, and why: text is in the message. */
void story_refused(struct story *s, enum zb_rc rc, enum zb_rc wanted, const char *text);

#endif
