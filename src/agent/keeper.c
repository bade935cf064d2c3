#include "agent/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/must.h"
#include "base/be.h"

#define LENGTH_SIZE 4
#define FDS_MAX ZB_KEEPER_JOBS_MAX /* descriptors received whose reply is not decoded yet */
#define READS_MAX 16               /* of one turn of the loop */

struct pending {
    uint64_t id;
    uint32_t op;
    bool piped;    /* its pipe was given out */
    enum zb_rc rc; /* of one that was never sent */
    const char *why;
    struct zb_keeper_call call;
    struct pending *next;
};

struct list {
    struct pending *head;
    struct pending **tail;
};

struct out {
    struct out *next;
    size_t size;
    size_t sent;
    uint8_t data[];
};

struct zb_keeper_client {
    int fd;
    uv_poll_t poll;
    uv_timer_t timer; /* answers what could not be sent; tells of the loss */
    int handles;      /* open ones; the last one to close frees */
    uint64_t next_id;
    uint32_t pending_count;
    struct list pending;
    struct list failed;
    struct out *out_head;
    struct out **out_tail;
    bool lost;
    bool told;
    char why[128];
    void (*on_lost)(void *ctx, const char *why);
    void *ctx;
    int fds[FDS_MAX];
    unsigned fds_count;
    size_t in_size;
    uint8_t in[LENGTH_SIZE + ZB_KMSG_MAX];
    uint8_t scratch[LENGTH_SIZE + ZB_KMSG_MAX];
};

static void
list_add(struct list *l, struct pending *p)
{
    p->next = NULL;
    *l->tail = p;
    l->tail = &p->next;
}

/* Takes the entry that *at points to out of the list. */
static struct pending *
list_take(struct list *l, struct pending **at)
{
    struct pending *p = *at;
    *at = p->next;
    if (l->tail == &p->next) {
        l->tail = at;
    }
    return p;
}

static void
answer_failure(struct pending *p, enum zb_rc rc, const char *why)
{
    struct zb_krep rep = {.id = p->id, .op = p->op, .rc = rc};
    (void)snprintf(rep.msg, sizeof(rep.msg), "%s: %s", zb_kop_word(p->op), why);
    p->call.on_reply(p->call.ctx, &rep);
    free(p);
}

static void
on_timer(uv_timer_t *timer)
{
    struct zb_keeper_client *c = timer->data;
    /* What the callbacks add is answered in the next turn. */
    struct pending *last = NULL;
    for (struct pending *p = c->failed.head; p != NULL; p = p->next) {
        last = p;
    }
    while (last != NULL) {
        struct pending *p = list_take(&c->failed, &c->failed.head);
        bool end = p == last;
        answer_failure(p, p->rc, p->why);
        if (end) {
            break;
        }
    }
    if (!c->lost || c->told) {
        return;
    }
    c->told = true;
    (void)uv_poll_stop(&c->poll);
    while (c->pending.head != NULL) {
        answer_failure(list_take(&c->pending, &c->pending.head), ZB_E_CLOSED, c->why);
    }
    c->pending_count = 0;
    c->on_lost(c->ctx, c->why);
}

static void
lost(struct zb_keeper_client *c, const char *why)
{
    if (!c->lost) {
        c->lost = true;
        (void)snprintf(c->why, sizeof(c->why), "%s", why);
        (void)uv_timer_start(&c->timer, on_timer, 0, 0);
    }
}

static void on_poll(uv_poll_t *poll, int status, int events);

static void
poll_update(struct zb_keeper_client *c)
{
    int events = UV_READABLE | (c->out_head != NULL ? UV_WRITABLE : 0);
    if (!c->lost && uv_poll_start(&c->poll, events, on_poll) != 0) {
        lost(c, "socket to the keeper cannot be polled");
    }
}

/* How much the socket took; everything is lost on an error. */
static size_t
socket_send(struct zb_keeper_client *c, const uint8_t *data, size_t size)
{
    ssize_t n = send(c->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        lost(c, strerror(errno));
    }
    return n > 0 ? (size_t)n : 0;
}

static void
out_flush(struct zb_keeper_client *c)
{
    while (c->out_head != NULL && !c->lost) {
        struct out *o = c->out_head;
        o->sent += socket_send(c, o->data + o->sent, o->size - o->sent);
        if (o->sent < o->size) {
            break;
        }
        c->out_head = o->next;
        if (c->out_head == NULL) {
            c->out_tail = &c->out_head;
        }
        free(o);
    }
}

static void
out_send(struct zb_keeper_client *c, const uint8_t *data, size_t size)
{
    size_t sent = c->out_head == NULL ? socket_send(c, data, size) : 0;
    if (sent == size || c->lost) {
        return;
    }
    struct out *o = zb_must(malloc(sizeof(*o) + size - sent));
    *o = (struct out){.size = size - sent};
    memcpy(o->data, data + sent, size - sent);
    *c->out_tail = o;
    c->out_tail = &o->next;
    poll_update(c);
}

static bool
takes_pipe(uint32_t op)
{
    return op == ZB_KOP_SEND || op == ZB_KOP_RECEIVE;
}

/* Gives a decoded reply to who waits for it; what is wrong with it, or NULL. */
static const char *
reply_deliver(struct zb_keeper_client *c, const struct zb_krep *rep)
{
    struct pending **at = &c->pending.head;
    while (*at != NULL && (*at)->id != rep->id) {
        at = &(*at)->next;
    }
    struct pending *p = *at;
    if (p == NULL || p->op != rep->op) {
        return "the keeper answered what nobody asked";
    }
    if (rep->more == 0) {
        struct zb_keeper_call call = p->call;
        free(list_take(&c->pending, at));
        c->pending_count--;
        call.on_reply(call.ctx, rep);
        return NULL;
    }
    if (!takes_pipe(p->op) || p->piped || c->fds_count == 0) {
        return "the keeper sent a reply with a descriptor where none belongs, or without it";
    }
    int fd = c->fds[0];
    c->fds_count--;
    memmove(&c->fds[0], &c->fds[1], c->fds_count * sizeof(c->fds[0]));
    p->piped = true;
    p->call.on_pipe(p->call.ctx, fd);
    return NULL;
}

/* Takes every complete message out of the buffer; what is wrong, or NULL. */
static const char *
messages_take(struct zb_keeper_client *c)
{
    const char *wrong = NULL;
    size_t used = 0;
    while (wrong == NULL && !c->lost && c->in_size - used >= LENGTH_SIZE) {
        uint32_t length = zb_be32_get(c->in + used);
        if (length > ZB_KMSG_MAX) {
            return "the keeper sent a message that is too long";
        }
        if (c->in_size - used - LENGTH_SIZE < length) {
            break;
        }
        struct zb_krep rep = {0};
        struct zb_err err;
        if (zb_krep_decode(c->in + used + LENGTH_SIZE, length, &rep, &err) != ZB_OK) {
            return err.rc == ZB_E_NOMEM ? "out of memory" : "the keeper sent what does not decode";
        }
        used += LENGTH_SIZE + length;
        wrong = reply_deliver(c, &rep);
        zb_krep_close(&rep);
    }
    c->in_size -= used;
    memmove(c->in, c->in + used, c->in_size);
    if (wrong == NULL && c->in_size == 0 && c->fds_count > 0) {
        wrong = "the keeper sent a descriptor without a reply";
    }
    return wrong;
}

static const char *
fds_take(struct zb_keeper_client *c, struct msghdr *msg)
{
    for (struct cmsghdr *h = CMSG_FIRSTHDR(msg); h != NULL; h = CMSG_NXTHDR(msg, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t count = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(int));
            if (c->fds_count == FDS_MAX) {
                (void)close(fd);
                return "the keeper sent too many descriptors";
            }
            c->fds[c->fds_count++] = fd;
        }
    }
    return (msg->msg_flags & MSG_CTRUNC) != 0 ? "the keeper sent too many descriptors" : NULL;
}

/* One read: false when there is no more for now. */
static bool
socket_receive(struct zb_keeper_client *c)
{
    union {
        struct cmsghdr header;
        uint8_t bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = {.iov_base = c->in + c->in_size, .iov_len = sizeof(c->in) - c->in_size};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    ssize_t n = recvmsg(c->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return false;
    }
    if (n <= 0) {
        lost(c, n == 0 ? "the keeper went away" : strerror(errno));
        return false;
    }
    c->in_size += (size_t)n;
    const char *wrong = fds_take(c, &msg);
    if (wrong == NULL) {
        wrong = messages_take(c);
    }
    if (wrong != NULL) {
        lost(c, wrong);
    }
    return !c->lost;
}

static void
on_poll(uv_poll_t *poll, int status, int events)
{
    struct zb_keeper_client *c = poll->data;
    if (status < 0) {
        lost(c, uv_strerror(status));
        return;
    }
    if ((events & UV_READABLE) != 0) {
        for (int i = 0; i < READS_MAX && socket_receive(c); i++) {
        }
    }
    if ((events & UV_WRITABLE) != 0) {
        out_flush(c);
        poll_update(c);
    }
}

enum zb_rc
zb_keeper_client_new(uv_loop_t *loop, int fd, void (*on_lost)(void *ctx, const char *why),
                     void *ctx, struct zb_keeper_client **out, struct zb_err *err)
{
    struct zb_keeper_client *c = zb_must_alloc(1, sizeof(*c));
    int rc = uv_poll_init(loop, &c->poll, fd);
    if (rc != 0) {
        free(c);
        return zb_err_set(err, ZB_E_SYS, "poll socket to the keeper: %s", uv_strerror(rc));
    }
    (void)uv_timer_init(loop, &c->timer);
    c->fd = fd;
    c->poll.data = c;
    c->timer.data = c;
    c->handles = 2;
    c->on_lost = on_lost;
    c->ctx = ctx;
    c->pending.tail = &c->pending.head;
    c->failed.tail = &c->failed.head;
    c->out_tail = &c->out_head;
    poll_update(c);
    *out = c;
    return ZB_OK;
}

static void
on_handle_closed(uv_handle_t *handle)
{
    struct zb_keeper_client *c = handle->data;
    if (--c->handles == 0) {
        free(c);
    }
}

void
zb_keeper_client_free(struct zb_keeper_client *c)
{
    if (c == NULL) {
        return;
    }
    c->lost = true;
    c->told = true;
    (void)snprintf(c->why, sizeof(c->why), "zbatond is ending");
    while (c->pending.head != NULL || c->failed.head != NULL) {
        struct list *l = c->pending.head != NULL ? &c->pending : &c->failed;
        answer_failure(list_take(l, &l->head), ZB_E_CLOSED, c->why);
    }
    while (c->out_head != NULL) {
        struct out *o = c->out_head;
        c->out_head = o->next;
        free(o);
    }
    while (c->fds_count > 0) {
        (void)close(c->fds[--c->fds_count]);
    }
    (void)uv_poll_stop(&c->poll);
    (void)close(c->fd);
    uv_close((uv_handle_t *)&c->poll, on_handle_closed);
    uv_close((uv_handle_t *)&c->timer, on_handle_closed);
}

static void
fail_later(struct zb_keeper_client *c, struct pending *p, enum zb_rc rc, const char *why)
{
    p->rc = rc;
    p->why = why;
    list_add(&c->failed, p);
    (void)uv_timer_start(&c->timer, on_timer, 0, 0);
}

uint64_t
zb_keeper_client_call(struct zb_keeper_client *c, struct zb_kreq *req,
                      const struct zb_keeper_call *call)
{
    struct pending *p = zb_must_alloc(1, sizeof(*p));
    struct zb_err err;
    size_t used = 0;
    req->id = ++c->next_id;
    *p = (struct pending){.id = req->id, .op = req->op, .call = *call};
    if (c->lost) {
        fail_later(c, p, ZB_E_CLOSED, "the keeper is gone");
        return p->id;
    }
    if (c->pending_count >= ZB_KEEPER_PENDING_MAX) {
        fail_later(c, p, ZB_E_LIMIT, "too many requests to the keeper (ZB_KEEPER_PENDING_MAX)");
        return p->id;
    }
    if (zb_kreq_encode(req, c->scratch + LENGTH_SIZE, ZB_KMSG_MAX, &used, &err) != ZB_OK) {
        fail_later(c, p, ZB_E_LIMIT, "the request is too large or malformed");
        return p->id;
    }
    zb_be32_put(c->scratch, (uint32_t)used);
    list_add(&c->pending, p);
    c->pending_count++;
    out_send(c, c->scratch, LENGTH_SIZE + used);
    return req->id;
}

static void
on_cancel_reply(void *ctx, const struct zb_krep *rep)
{
    (void)ctx;
    (void)rep; /* the operation itself is answered; that one had ended is fine */
}

void
zb_keeper_reply_error(const struct zb_krep *rep, const char *hint, struct zb_err *err)
{
    (void)zb_err_set(err, (enum zb_rc)rep->rc, "%s", rep->msg);
    (void)zb_err_hint(err, "%s", rep->hint[0] != '\0' ? rep->hint : hint);
}

void
zb_keeper_client_cancel(struct zb_keeper_client *c, uint64_t id)
{
    if (id != 0) {
        struct zb_kreq req = {.op = ZB_KOP_CANCEL, .target = id};
        (void)zb_keeper_client_call(c, &req, &(struct zb_keeper_call){.on_reply = on_cancel_reply});
    }
}
