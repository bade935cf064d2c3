/* Refusals of keeper/rules.h. Whom this node may fence, and when: FENCE. */
#include "story.h"

static void
fence(struct story *s, bool member, enum zb_rc wanted, const char *text)
{
    story_refused(s, zb_rules_fence(&s->r, &s->req, &s->f, member, &s->err), wanted, text);
}

/* vm2 followed vm1 in term 3, and granted itself term 4. */
static void
candidate(struct story *s)
{
    story_follower(s);
    s->r.rec.granted_term = 4;
    zb_strcopy(s->r.rec.granted_to, ZB_NODE_NAME_SIZE, "vm2");
    s->req.term = 4;
}

static void
a_candidate_fences_members_and_suspects(void **state)
{
    struct story s;
    (void)state;

    candidate(&s);
    fence(&s, true, ZB_OK, "");
    fence(&s, false, ZB_OK, ""); /* no member any more, but it led */
    zb_strcopy(s.req.node, ZB_NODE_NAME_SIZE, "vm3");
    fence(&s, true, ZB_OK, ""); /* another voter's suspect */
    fence(&s, false, ZB_E_REFUSED, "vm3 is no member");
}

static void
never_itself(void **state)
{
    struct story s;
    (void)state;

    candidate(&s);
    zb_strcopy(s.req.node, ZB_NODE_NAME_SIZE, "vm2");
    fence(&s, true, ZB_E_REFUSED, "does not fence itself");
    s.req.node[0] = '\0';
    fence(&s, true, ZB_E_REFUSED, "does not fence itself");
}

static void
only_for_a_term_that_it_granted_itself(void **state)
{
    struct story s;
    (void)state;

    story_follower(&s);
    fence(&s, true, ZB_E_REFUSED, "has not granted term 3 to itself");
    candidate(&s);
    s.req.term = 3;
    fence(&s, true, ZB_E_REFUSED, "has not granted term 3 to itself");
    s.req.term = 5;
    fence(&s, true, ZB_E_REFUSED, "has not granted term 5 to itself");
    candidate(&s);
    zb_strcopy(s.r.rec.granted_to, ZB_NODE_NAME_SIZE, "vm3");
    fence(&s, true, ZB_E_REFUSED, "granted to vm3");
    candidate(&s);
    s.r.rec.learned_term = 4;
    fence(&s, true, ZB_E_REFUSED, "leads term 4 already");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_candidate_fences_members_and_suspects),
        cmocka_unit_test(never_itself),
        cmocka_unit_test(only_for_a_term_that_it_granted_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
