#include "cmd/client.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cmd/field.h"
#include "cmd/memory.h"

struct reader {
    int fd;
    char *buf;
    size_t size; /* allocated */
    size_t used;
    size_t line; /* length of the line handed out last, with its newline */
};

static enum zb_rc
socket_connect(const char *path, int *fd, struct zb_err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof address.sun_path) {
        return zb_err_set(err, ZB_E_USAGE, "%s: path too long for a socket", path);
    }
    zb_strcopy(address.sun_path, sizeof address.sun_path, path);
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s < 0) {
        return zb_err_sys(err, errno, "socket");
    }
    if (connect(s, (const struct sockaddr *)&address, sizeof address) != 0) {
        int error = errno;
        close(s);
        zb_err_sys(err, error, "%s", path);
        if (error == EACCES) {
            return zb_err_hint(err, "be root or a member of the group zbaton");
        }
        return zb_err_hint(err, "is zbatond running? systemctl status zbaton");
    }
    *fd = s;
    return ZB_OK;
}

static enum zb_rc
request_send(int fd, const struct zb_client_call *call, struct zb_err *err)
{
    json_t *request = json_pack("{s:i, s:s, s:O*}", "v", 1, "cmd", call->cmd, "args", call->args);
    char *text = request == NULL ? NULL : json_dumps(request, JSON_COMPACT);
    enum zb_rc rc = ZB_OK;

    json_decref(request);
    if (text == NULL) {
        return zb_err_set(err, ZB_E_USAGE, "the request is not valid UTF-8");
    }
    size_t length = strlen(text);
    if (length + 1 > ZB_CONTROL_LINE_MAX) {
        rc =
            zb_err_set(err, ZB_E_LIMIT, "the request is longer than %u bytes", ZB_CONTROL_LINE_MAX);
        goto out;
    }
    text[length] = '\n'; /* in place of the NUL */
    for (size_t sent = 0; sent < length + 1;) {
        ssize_t n = send(fd, text + sent, length + 1 - sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno == EPIPE) {
            break; /* refused before it was read to the end: the answer says why */
        }
        if (n < 0) {
            rc = zb_err_sys(err, errno, "send the request");
            goto out;
        }
        sent += (size_t)n;
    }
out:
    free(text);
    return rc;
}

/* The next line, without its newline, valid until the next call. */
static enum zb_rc
line_read(struct reader *r, const char **line, struct zb_err *err)
{
    size_t searched = 0;

    memmove(r->buf, r->buf + r->line, r->used - r->line);
    r->used -= r->line;
    r->line = 0;
    for (;;) {
        char *end = memchr(r->buf + searched, '\n', r->used - searched);
        if (end != NULL) {
            *end = '\0';
            r->line = (size_t)(end - r->buf) + 1;
            *line = r->buf;
            return ZB_OK;
        }
        searched = r->used;
        if (r->used == ZB_CONTROL_LINE_MAX) {
            return zb_err_set(err, ZB_E_LIMIT, "an answer is longer than %u bytes",
                              ZB_CONTROL_LINE_MAX);
        }
        if (r->used == r->size) {
            r->size *= 2;
            r->buf = zb_cmd_realloc(r->buf, r->size);
        }
        ssize_t n = read(r->fd, r->buf + r->used, r->size - r->used);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return zb_err_sys(err, errno, "read the answer");
        }
        if (n == 0) {
            return zb_err_set(err, ZB_E_CLOSED, "zbatond went away before it answered");
        }
        r->used += (size_t)n;
    }
}

static enum zb_rc
result_take(const json_t *result, json_t **data, struct zb_err *err)
{
    enum zb_rc rc = (enum zb_rc)zb_field_int(result, "rc", ZB_E_FORMAT);

    if (rc != ZB_OK) {
        zb_err_set(err, rc, "%s", zb_field_text(result, "error"));
        return zb_err_hint(err, "%s", zb_field_text(result, "hint"));
    }
    json_t *found = json_object_get(result, "data");
    *data = json_is_object(found) ? json_incref(found) : json_object();
    return ZB_OK;
}

/* One line of the answer; *done with the last one. */
static enum zb_rc
line_take(const struct zb_client_call *call, const char *line, bool *done, json_t **data,
          struct zb_err *err)
{
    json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
    const char *type = zb_field_text(object, "type");
    enum zb_rc rc = ZB_OK;

    if (strcmp(type, "result") == 0) {
        *done = true;
        rc = result_take(object, data, err);
    } else if (strcmp(type, "progress") != 0) {
        rc = zb_err_set(err, ZB_E_FORMAT, "zbatond gave an answer that is not understood");
    } else if (call->on_progress != NULL && !call->on_progress(call->ctx, object)) {
        rc = zb_err_set(err, ZB_E_CANCELED, "not waited for");
    }
    json_decref(object);
    return rc;
}

enum zb_rc
zb_client_call(const struct zb_client_call *call, json_t **data, struct zb_err *err)
{
    struct reader reader = {.fd = -1, .size = 64u << 10};
    bool done = false;
    enum zb_rc rc = socket_connect(call->socket, &reader.fd, err);

    if (rc != ZB_OK) {
        return rc;
    }
    reader.buf = zb_cmd_realloc(NULL, reader.size);
    rc = request_send(reader.fd, call, err);
    while (rc == ZB_OK && !done) {
        const char *line = NULL;
        rc = line_read(&reader, &line, err);
        if (rc == ZB_OK) {
            rc = line_take(call, line, &done, data, err);
        }
    }
    free(reader.buf);
    close(reader.fd);
    return rc;
}
