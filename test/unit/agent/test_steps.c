#include "unit.h"

#include "agent/steps.h"

static const struct zb_step_words words = {.service = "web",
                                           .source = "vm1",
                                           .target = "vm2",
                                           .source_dataset = "pool1/services/web",
                                           .target_dataset = "tank/svc/web",
                                           .mountpoint = "/srv/web",
                                           .start = "systemctl start web.service",
                                           .stop = "systemctl stop web.service",
                                           .unit = "unit web.service",
                                           .set = "12/346",
                                           .bytes = "3.1M",
                                           .term = "12",
                                           .next = "13",
                                           .fence = "vm2: /etc/zbaton/fence vm1"};

/* Every word of the table is known (a misspelt one aborts) and no brace is left. */
static void
assert_expanded(const struct zb_steps *steps, unsigned count)
{
    json_t *plan = zb_steps_plan(steps, &words);
    size_t i, j;
    json_t *step, *call;
    char text[512];

    assert_int_equal(json_array_size(plan), count);
    json_array_foreach(plan, i, step)
    {
        const char *sentence = json_string_value(json_object_get(step, "text"));
        assert_int_equal(json_integer_value(json_object_get(step, "step")), i + 1);
        assert_string_equal(json_string_value(json_object_get(step, "name")),
                            zb_steps_name(steps, (unsigned)i + 1));
        assert_null(strpbrk(sentence, "{}"));
        assert_int_not_equal(json_array_size(json_object_get(step, "calls")), 0);
        json_array_foreach(json_object_get(step, "calls"), j, call)
        {
            assert_null(strpbrk(json_string_value(call), "{}"));
        }
        zb_steps_done(steps, (unsigned)i + 1, &words, text, sizeof text);
        assert_null(strpbrk(text, "{}"));
    }
    json_decref(plan);
}

static void
test_every_step_is_expanded(void **state)
{
    (void)state;
    assert_expanded(&zb_steps_move, 9);
    assert_expanded(&zb_steps_failover, ZB_FAILOVER_FOLLOW);
    assert_string_equal(zb_steps_name(&zb_steps_failover, ZB_FAILOVER_FENCE), "fence");
    assert_string_equal(zb_steps_name(&zb_steps_failover, ZB_FAILOVER_FOLLOW), "follow");
}

static void
test_sentences(void **state)
{
    char text[512];

    (void)state;
    zb_steps_done(&zb_steps_move, 3, &words, text, sizeof text);
    assert_string_equal(text, "unit web.service on vm1");
    zb_steps_done(&zb_steps_move, 4, &words, text, sizeof text);
    assert_string_equal(text, "unmounted, read-only, final set 12/346, written=0");
    zb_steps_done(&zb_steps_move, 6, &words, text, sizeof text);
    assert_string_equal(text, "term 12, vm1 -> vm2");
}

static void
test_short_buffer_is_cut(void **state)
{
    char text[8];

    (void)state;
    zb_steps_done(&zb_steps_move, 4, &words, text, sizeof text);
    assert_string_equal(text, "unmount");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_step_is_expanded),
        cmocka_unit_test(test_sentences),
        cmocka_unit_test(test_short_buffer_is_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
