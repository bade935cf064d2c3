/*
 * The control socket (doc/control-protocol.md): who may connect is the socket's mode and group; who
 * it is, the kernel says (SO_PEERCRED).
 */
#include "agent/control.h"

#include <inttypes.h>
#include <sys/socket.h>

#include "agent/internal.h"
#include "agent/json.h"
#include "agent/must.h"
#include "base/log.h"

#define CLIENTS_MAX 64
#define BACKLOG 16
#define QUEUE_MAX (8u << 20) /* unread answers; past it the connection is closed */
#define REQUEST_MS 10000     /* until the request is there */
#define BUFFER_FIRST (16u << 10)

struct zb_client {
    uv_pipe_t pipe;
    uv_timer_t timer;
    struct zb_control *control;
    struct zb_request *request; /* NULL before it came and after its end */
    char who[128];
    char *buf;
    size_t size;
    size_t used;
    bool closing;
    bool doomed; /* closed at the loop's next turn: nothing more is written */
    struct zb_client *next;
};

/* --- life of a client --- */

static void
client_free(struct zb_client *c)
{
    free(c->buf);
    free(c);
}

static void
on_timer_closed(uv_handle_t *handle)
{
    client_free(handle->data);
}

/* The timer is closed when the pipe is: one after the other, then the memory goes. */
static void
on_pipe_closed(uv_handle_t *handle)
{
    struct zb_client *c = handle->data;

    uv_close((uv_handle_t *)&c->timer, on_timer_closed);
}

static void
client_close(struct zb_client *c)
{
    struct zb_client **at = &c->control->clients;

    if (c->closing) {
        return;
    }
    c->closing = true;
    while (*at != c) {
        at = &(*at)->next;
    }
    *at = c->next;
    c->control->clients_count--;
    uv_timer_stop(&c->timer);
    uv_close((uv_handle_t *)&c->pipe, on_pipe_closed);
    if (c->request != NULL) {
        struct zb_request *r = c->request;
        c->request = NULL;
        zb_request_orphan(r);
    }
}

struct line_write {
    uv_write_t req;
    struct zb_client *client;
    char *text;
    bool last;
};

static void
on_written(uv_write_t *req, int status)
{
    struct line_write *w = (struct line_write *)req;

    if (!w->client->closing && (status != 0 || w->last)) {
        client_close(w->client);
    }
    free(w->text);
    free(w);
}

static void
on_timeout(uv_timer_t *timer)
{
    client_close(timer->data);
}

/* Closes it, but not under the feet of who is writing. */
static void
client_doom(struct zb_client *c)
{
    c->doomed = true;
    (void)uv_timer_start(&c->timer, on_timeout, 0, 0);
}

/* Takes line. */
static void
client_write(struct zb_client *c, json_t *line, bool last)
{
    char *text = zb_must(json_dumps(line, JSON_COMPACT));
    size_t length = strlen(text);
    struct line_write *w;

    json_decref(line);
    if (c->doomed) {
        free(text);
        return;
    }
    if (uv_stream_get_write_queue_size((uv_stream_t *)&c->pipe) > QUEUE_MAX) {
        zb_log_warning("control: %s does not read its answers", c->who);
        free(text);
        client_doom(c);
        return;
    }
    w = zb_must_alloc(1, sizeof *w);
    text[length] = '\n'; /* in place of the NUL */
    *w = (struct line_write){.client = c, .text = text, .last = last};
    uv_buf_t buf = uv_buf_init(text, (unsigned)length + 1);
    if (uv_write(&w->req, (uv_stream_t *)&c->pipe, &buf, 1, on_written) != 0) {
        free(text);
        free(w);
        client_doom(c);
    }
}

static void
client_refuse(struct zb_client *c, enum zb_rc rc, const char *text)
{
    struct zb_err err;

    zb_err_set(&err, rc, "%s", text);
    uv_read_stop((uv_stream_t *)&c->pipe);
    client_write(c, zb_result_error(&err, NULL), true);
}

/* --- requests --- */

struct zb_request *
zb_request_new(struct zb_agent *a, const struct zb_command *command, const json_t *args,
               const char *who)
{
    struct zb_control *control = a->control;
    struct zb_request *r;

    if (control->requests_count >= ZB_REQUESTS_MAX) {
        return NULL;
    }
    r = zb_must_alloc(1, sizeof *r);
    *r = (struct zb_request){.a = a, .command = command, .next = control->requests};
    r->args = zb_must(args == NULL ? json_object() : json_deep_copy(args));
    (void)snprintf(r->who, sizeof r->who, "%s", who);
    control->requests = r;
    control->requests_count++;
    return r;
}

static void
request_free(struct zb_request *r)
{
    struct zb_control *control = r->a->control;
    struct zb_request **at = &control->requests;

    while (*at != r) {
        at = &(*at)->next;
    }
    *at = r->next;
    control->requests_count--;
    json_decref(r->args);
    free(r);
}

void
zb_request_orphan(struct zb_request *r)
{
    r->gone = true;
    r->client = NULL;
    if (r->on_gone != NULL) {
        r->on_gone(r);
    }
}

void
zb_request_each(struct zb_agent *a, void (*visit)(struct zb_request *r, uint8_t node), uint8_t node)
{
    struct zb_request *next;

    for (struct zb_request *r = a->control->requests; r != NULL; r = next) {
        next = r->next;
        visit(r, node);
    }
}

static void
answer(struct zb_request *r, json_t *line, bool last)
{
    if (r->on_result != NULL) {
        if (last) {
            r->on_result(r->result_ctx, line);
        }
        json_decref(line);
    } else if (r->gone) {
        json_decref(line);
    } else if (r->from_peer) {
        zb_forward_answer(r, line, last);
    } else {
        client_write(r->client, line, last);
    }
}

void
zb_request_progress(struct zb_request *r, json_t *line)
{
    zb_json_put(line, "type", zb_json_text("progress"));
    answer(r, line, false);
}

static void
request_end(struct zb_request *r, json_t *result)
{
    if (r->client != NULL) {
        r->client->request = NULL;
    }
    answer(r, result, true);
    request_free(r);
}

void
zb_request_done(struct zb_request *r, json_t *data)
{
    json_t *result = zb_must(json_object());

    zb_json_put(result, "type", zb_json_text("result"));
    zb_json_put(result, "rc", zb_json_int(ZB_OK));
    zb_json_put(result, "data", data);
    request_end(r, result);
}

void
zb_request_fail(struct zb_request *r, const struct zb_err *err, const char *rule)
{
    request_end(r, zb_result_error(err, rule));
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
    const char *name = zb_request_text(r, "service");
    uint16_t service = zb_agent_service_find(r->a, name);
    struct zb_err err;

    if (service == ZB_SERVICE_NONE) {
        zb_err_set(&err, ZB_E_NOTFOUND, "no service '%.64s' is declared", name);
        zb_err_hint(&err, "zbaton config show");
        zb_request_fail(r, &err, NULL);
    }
    return service;
}

enum zb_rc
zb_request_set(const struct zb_request *r, uint16_t service, struct zb_set_id *id,
               struct zb_err *err)
{
    const char *text = zb_request_text(r, "set");

    if (zb_set_id_parse(text, id)) {
        return ZB_OK;
    }
    (void)zb_err_set(err, ZB_E_USAGE, "'%.64s' is not a set: TERM/SEQ, as 12/345", text);
    return zb_err_hint(err, "zbaton history %s lists the sets", r->a->services[service].conf.name);
}

/* --- reading one request --- */

static void
request_start(struct zb_client *c, const json_t *object)
{
    const char *name = json_string_value(json_object_get(object, "cmd"));
    const json_t *args = json_object_get(object, "args");
    const json_t *version = json_object_get(object, "v");
    const struct zb_command *command = name == NULL ? NULL : zb_command_find(name);
    char text[128];

    if (!json_is_integer(version) || json_integer_value(version) != 1) {
        client_refuse(c, ZB_E_VERSION, "this zbatond speaks version 1 of the control protocol");
    } else if (command == NULL) {
        (void)snprintf(text, sizeof text, "no command '%.64s'", name == NULL ? "" : name);
        client_refuse(c, ZB_E_USAGE, text);
    } else if (args != NULL && !json_is_object(args)) {
        client_refuse(c, ZB_E_USAGE, "args is not an object");
    } else if (command->peer_only) {
        (void)snprintf(text, sizeof text, "%s is what other nodes ask for", command->name);
        client_refuse(c, ZB_E_REFUSED, text);
    } else {
        struct zb_request *r = zb_request_new(c->control->a, command, args, c->who);
        if (r == NULL) {
            client_refuse(c, ZB_E_BUSY, "too many commands are under way: try again");
            return;
        }
        c->request = r;
        r->client = c;
        command->run(r);
    }
}

static void
line_take(struct zb_client *c, const char *line, size_t length)
{
    json_error_t error;
    json_t *object = json_loadb(line, length, JSON_REJECT_DUPLICATES, &error);
    char text[128];

    uv_timer_stop(&c->timer);
    if (!json_is_object(object)) {
        (void)snprintf(text, sizeof text, "the request is not a JSON object: %.80s",
                       object == NULL ? error.text : "another type");
        client_refuse(c, ZB_E_FORMAT, text);
    } else {
        request_start(c, object);
    }
    json_decref(object);
}

static void
on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct zb_client *c = handle->data;

    (void)suggested;
    if (c->used == c->size) {
        size_t size = c->size == 0 ? BUFFER_FIRST : c->size * 2;
        c->buf = zb_must(realloc(c->buf, size));
        c->size = size;
    }
    *buf = uv_buf_init(c->buf + c->used, (unsigned)(c->size - c->used));
}

static void
on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct zb_client *c = stream->data;

    (void)buf;
    if (n == 0) {
        return;
    }
    if (n < 0) {
        client_close(c);
        return;
    }
    if (c->request != NULL) {
        c->used = 0; /* nothing is expected after the request */
        return;
    }
    char *end = memchr(c->buf + c->used, '\n', (size_t)n);
    c->used += (size_t)n;
    if (end != NULL) {
        size_t length = (size_t)(end - c->buf);
        c->used = 0;
        line_take(c, c->buf, length);
    } else if (c->used >= ZB_CONTROL_LINE_MAX) {
        client_refuse(c, ZB_E_LIMIT, "the request is too long");
    }
}

/* --- accepting --- */

static void
client_name(struct zb_client *c)
{
    const struct zb_agent *a = c->control->a;
    struct ucred cred = {.uid = (uid_t)-1};
    socklen_t size = sizeof cred;
    uv_os_fd_t fd;

    if (uv_fileno((const uv_handle_t *)&c->pipe, &fd) == 0) {
        (void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size);
    }
    if (cred.uid == 0) {
        (void)snprintf(c->who, sizeof c->who, "root@%s", a->nodes[a->self].name);
    } else {
        /* The engine's chroot has no user names. */
        (void)snprintf(c->who, sizeof c->who, "uid %u@%s", (unsigned)cred.uid,
                       a->nodes[a->self].name);
    }
}

static void
on_connection(uv_stream_t *listener, int status)
{
    struct zb_control *control = listener->data;
    struct zb_client *c;

    if (status != 0) {
        zb_log_warning("control: %s", uv_strerror(status));
        return;
    }
    c = zb_must_alloc(1, sizeof *c);
    *c = (struct zb_client){.control = control, .next = control->clients};
    c->pipe.data = c;
    c->timer.data = c;
    (void)uv_timer_init(&control->a->loop, &c->timer);
    (void)uv_pipe_init(&control->a->loop, &c->pipe, 0);
    control->clients = c;
    control->clients_count++;
    if (uv_accept(listener, (uv_stream_t *)&c->pipe) != 0) {
        client_close(c);
        return;
    }
    client_name(c);
    if (control->clients_count > CLIENTS_MAX) {
        client_refuse(c, ZB_E_BUSY, "too many connections: try again");
        return;
    }
    (void)uv_timer_start(&c->timer, on_timeout, REQUEST_MS, 0);
    if (uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read) != 0) {
        client_close(c);
    }
}

/* --- begin and end --- */

enum zb_rc
zb_control_init(struct zb_agent *a, int listen_fd, struct zb_err *err)
{
    struct zb_control *control = zb_must_alloc(1, sizeof *control);
    int rc;

    control->a = a;
    control->listener.data = control;
    control->forwards = zb_forwards_new();
    (void)uv_pipe_init(&a->loop, &control->listener, 0);
    rc = uv_pipe_open(&control->listener, listen_fd);
    if (rc == 0) {
        rc = uv_listen((uv_stream_t *)&control->listener, BACKLOG, on_connection);
    }
    a->control = control;
    if (rc != 0) {
        zb_control_close(a);
        return zb_err_sys(err, -rc, "control socket");
    }
    return ZB_OK;
}

static void
on_listener_closed(uv_handle_t *handle)
{
    struct zb_control *control = handle->data;
    struct zb_agent *a = control->a;

    while (control->requests != NULL) {
        struct zb_request *r = control->requests;
        control->requests = r->next;
        json_decref(r->args);
        free(r);
    }
    zb_forwards_free(control->forwards);
    a->control = NULL;
    free(control);
}

static void
orphan(struct zb_request *r, uint8_t node)
{
    (void)node;
    if (!r->gone) {
        zb_request_orphan(r);
    }
}

/* Nobody listens from now on; who works on a request may still end it until the loop has run the
 * closing handles. */
void
zb_control_close(struct zb_agent *a)
{
    struct zb_control *control = a->control;

    if (control == NULL || uv_is_closing((uv_handle_t *)&control->listener)) {
        return;
    }
    while (control->clients != NULL) {
        client_close(control->clients);
    }
    zb_request_each(a, orphan, 0);
    zb_forwards_close(control->forwards);
    uv_close((uv_handle_t *)&control->listener, on_listener_closed);
}

void
zb_control_message(struct zb_agent *a, uint8_t node, const json_t *msg)
{
    zb_forward_message(a, node, msg);
}

void
zb_control_peer_down(struct zb_agent *a, uint8_t node)
{
    if (a->control != NULL) {
        zb_forward_peer_down(a, node);
    }
}
