/* libcurl's multi interface on a libuv loop: its sockets are polled, its timer is a timer. */
#include "etcd/internal.h"

#define CONNECTIONS_MAX 16 /* kept open without a request */

struct socket_poll {
    uv_poll_t poll; /* first: freed as it */
    curl_socket_t fd;
    struct zb_etcd *etcd;
};

static void
poll_on_close(uv_handle_t *handle)
{
    free(handle);
}

static void
done_take(struct zb_etcd *etcd)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(etcd->multi, &left)) != NULL) {
        CURLcode code = message->data.result;
        char *request = NULL;
        if (message->msg == CURLMSG_DONE &&
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &request) == CURLE_OK) {
            zb_etcd_attempt_done((struct zb_etcd_request *)(void *)request, code);
        }
    }
}

static void
on_socket_ready(uv_poll_t *poll, int status, int events)
{
    struct socket_poll *s = (struct socket_poll *)(void *)poll;
    struct zb_etcd *etcd = s->etcd;
    int flags = status < 0 ? CURL_CSELECT_ERR : 0;
    int running;

    flags |= (events & UV_READABLE) != 0 ? CURL_CSELECT_IN : 0;
    flags |= (events & UV_WRITABLE) != 0 ? CURL_CSELECT_OUT : 0;
    (void)curl_multi_socket_action(etcd->multi, s->fd, flags, &running);
    done_take(etcd);
}

/* A socket that cannot be polled leaves its request to its deadline. */
static struct socket_poll *
poll_new(struct zb_etcd *etcd, curl_socket_t fd)
{
    struct socket_poll *s = must(calloc(1, sizeof *s));

    s->fd = fd;
    s->etcd = etcd;
    if (uv_poll_init_socket(etcd->deadline.loop, &s->poll, fd) != 0) {
        free(s);
        return NULL;
    }
    (void)curl_multi_assign(etcd->multi, fd, s);
    return s;
}

static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx)
{
    struct zb_etcd *etcd = ctx;
    struct socket_poll *s = socket_ctx;
    int events = 0;

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (s != NULL) {
            (void)curl_multi_assign(etcd->multi, fd, NULL);
            uv_close((uv_handle_t *)&s->poll, poll_on_close);
        }
        return 0;
    }
    if (s == NULL) {
        s = poll_new(etcd, fd);
    }
    events |= (what & CURL_POLL_IN) != 0 ? UV_READABLE : 0;
    events |= (what & CURL_POLL_OUT) != 0 ? UV_WRITABLE : 0;
    if (s != NULL) {
        (void)uv_poll_start(&s->poll, events, on_socket_ready);
    }
    return 0;
}

static void
on_curl_timer(uv_timer_t *timer)
{
    struct zb_etcd *etcd = timer->data;
    int running;

    (void)curl_multi_socket_action(etcd->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    done_take(etcd);
}

static int
on_timer_wanted(CURLM *multi, long timeout_ms, void *ctx)
{
    struct zb_etcd *etcd = ctx;

    (void)multi;
    if (timeout_ms < 0) {
        (void)uv_timer_stop(&etcd->curl_timer);
        return 0;
    }
    uv_update_time(etcd->curl_timer.loop);
    (void)uv_timer_start(&etcd->curl_timer, on_curl_timer, (uint64_t)timeout_ms, 0);
    return 0;
}

enum zb_rc
zb_etcd_multi_open(struct zb_etcd *etcd, struct zb_err *err)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return zb_err_set(err, ZB_E_FAILED, "libcurl does not start");
    }
    etcd->multi = must(curl_multi_init());
    if (curl_multi_setopt(etcd->multi, CURLMOPT_SOCKETFUNCTION, on_socket) != CURLM_OK ||
        curl_multi_setopt(etcd->multi, CURLMOPT_SOCKETDATA, etcd) != CURLM_OK ||
        curl_multi_setopt(etcd->multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted) != CURLM_OK ||
        curl_multi_setopt(etcd->multi, CURLMOPT_TIMERDATA, etcd) != CURLM_OK ||
        curl_multi_setopt(etcd->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_MAX) != CURLM_OK) {
        zb_etcd_multi_close(etcd);
        return zb_err_set(err, ZB_E_FAILED, "libcurl does not take an option");
    }
    return ZB_OK;
}

void
zb_etcd_multi_close(struct zb_etcd *etcd)
{
    (void)curl_multi_cleanup(etcd->multi);
    etcd->multi = NULL;
    curl_global_cleanup();
}
