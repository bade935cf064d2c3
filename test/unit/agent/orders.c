#include "orders.h"

#include "agent/json.h"
#include "agent/member.h"

json_t *orders_statement;
json_t *orders_answer;
json_t *orders_needed;
int orders_lines;
char orders_note[512];
enum zb_rc orders_failed;
char orders_failed_text[512];
char orders_failed_hint[256];
uint8_t orders_passed_to;
struct zb_request orders_request;

/* --- what control.c and forward.c would do --- */

void
zb_request_progress(struct zb_request *r, json_t *line)
{
    json_t *told = json_object_get(line, "statement");
    (void)r;
    if (told != NULL) {
        json_decref(orders_statement);
        orders_statement = json_incref(told);
    } else if (json_object_get(line, "need") != NULL) {
        json_decref(orders_needed);
        orders_needed = json_incref(line);
    } else {
        assert_int_equal(json_integer_value(json_object_get(line, "of")), 7);
        orders_lines++;
        if (strcmp(orders_text_of(line, "phase"), "note") == 0) {
            (void)snprintf(orders_note, sizeof orders_note, "%s", orders_text_of(line, "text"));
        }
    }
    json_decref(line);
}

void
zb_request_done(struct zb_request *r, json_t *data)
{
    r->a = NULL; /* it is gone */
    orders_answer = data;
}

void
zb_request_fail(struct zb_request *r, const struct zb_err *err, const char *rule)
{
    (void)rule;
    r->a = NULL; /* it is gone */
    orders_failed = err->rc;
    (void)snprintf(orders_failed_text, sizeof orders_failed_text, "%s", err->msg);
    (void)snprintf(orders_failed_hint, sizeof orders_failed_hint, "%s", err->hint);
}

const char *
zb_request_text(const struct zb_request *r, const char *name)
{
    const char *text = json_string_value(json_object_get(r->args, name));
    return text == NULL ? "" : text;
}

bool
zb_request_bool(const struct zb_request *r, const char *name)
{
    return json_is_true(json_object_get(r->args, name));
}

int64_t
zb_request_int(const struct zb_request *r, const char *name, int64_t otherwise)
{
    const json_t *value = json_object_get(r->args, name);
    return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

uint16_t
zb_request_service(struct zb_request *r)
{
    return zb_agent_service_find(r->a, zb_request_text(r, "service"));
}

void
zb_forward_request(struct zb_request *r, uint8_t node)
{
    (void)r;
    orders_passed_to = node;
}

const char *
zb_member_root(const struct zb_agent *a, uint8_t node)
{
    (void)a;
    (void)node;
    return "";
}

/* --- orders --- */

void
orders_run(struct host *h, void (*run)(struct zb_request *r), json_t *args)
{
    json_decref(orders_request.args);
    json_decref(orders_answer);
    orders_request = (struct zb_request){.a = &h->a, .args = args, .who = "root@vm2"};
    orders_answer = NULL;
    orders_failed = ZB_OK;
    orders_failed_text[0] = '\0';
    orders_passed_to = ZB_NODE_NONE;
    assert_non_null(args);
    run(&orders_request);
}

void
orders_give(struct host *h, json_t *args)
{
    orders_run(h, zb_cmd_failover, args);
}

bool
orders_ended(const struct pair *w)
{
    (void)w;
    return orders_answer != NULL || orders_failed != ZB_OK;
}

int
orders_close(void **state)
{
    json_t **all[] = {&orders_statement, &orders_answer, &orders_needed, &orders_request.args};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        json_decref(*all[i]);
        *all[i] = NULL;
    }
    orders_lines = 0;
    orders_note[0] = '\0';
    return pair_teardown(state);
}

const char *
orders_text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    assert_non_null(text);
    return text;
}
