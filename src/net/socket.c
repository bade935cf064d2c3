#include "net/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BACKLOG 128
#define KEEPALIVE_IDLE_S 5
#define KEEPALIVE_INTERVAL_S 2
#define KEEPALIVE_COUNT 4

/* 0 to 65535 in plain decimal digits, or -1. */
static long
port_parse(const char *text)
{
    size_t length = strspn(text, "0123456789");
    if (length == 0 || length > 5 || text[length] != '\0') {
        return -1;
    }
    long port = 0;
    for (size_t i = 0; i < length; i++) {
        port = port * 10 + (text[i] - '0');
    }
    return port <= 65535 ? port : -1;
}

/* Splits "host:port" or "[host]:port"; host of ZB_ADDRESS_SIZE. */
static bool
host_split(const char *text, char *host, bool *v6, long *port)
{
    const char *colon = strrchr(text, ':');
    if (strlen(text) >= ZB_ADDRESS_SIZE || colon == NULL) {
        return false;
    }
    const char *begin = text, *end = colon;
    *v6 = text[0] == '[';
    if (*v6) {
        begin++;
        end--;
        if (end < begin || *end != ']') {
            return false;
        }
    }
    memcpy(host, begin, (size_t)(end - begin));
    host[end - begin] = '\0';
    *port = port_parse(colon + 1);
    return *port >= 0;
}

enum zb_rc
zb_socket_address_parse(const char *text, struct zb_socket_address *address, struct zb_err *err)
{
    char host[ZB_ADDRESS_SIZE];
    bool v6 = false;
    long port = 0;
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};

    if (!host_split(text, host, &v6, &port) ||
        inet_pton(v6 ? AF_INET6 : AF_INET, host,
                  v6 ? (void *)&in6.sin6_addr : (void *)&in.sin_addr) != 1) {
        return zb_err_set(err, ZB_E_USAGE,
                          "\"%.100s\" is not an address (10.77.0.1:7979 or [fd00::1]:7979)", text);
    }
    in.sin_port = in6.sin6_port = htons((uint16_t)port);
    memset(address, 0, sizeof *address);
    address->size = v6 ? sizeof in6 : sizeof in;
    memcpy(&address->storage, v6 ? (void *)&in6 : (void *)&in, address->size);
    return ZB_OK;
}

void
zb_socket_address_format(const struct zb_socket_address *address, char *buf)
{
    char host[INET6_ADDRSTRLEN] = "?";

    if (address->storage.ss_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, &address->storage, sizeof in);
        (void)inet_ntop(AF_INET, &in.sin_addr, host, sizeof host);
        (void)snprintf(buf, ZB_ADDRESS_SIZE, "%s:%u", host, ntohs(in.sin_port));
        return;
    }
    struct sockaddr_in6 in6;
    memcpy(&in6, &address->storage, sizeof in6);
    if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr)) {
        (void)inet_ntop(AF_INET, &in6.sin6_addr.s6_addr[12], host, sizeof host);
        (void)snprintf(buf, ZB_ADDRESS_SIZE, "%s:%u", host, ntohs(in6.sin6_port));
        return;
    }
    (void)inet_ntop(AF_INET6, &in6.sin6_addr, host, sizeof host);
    (void)snprintf(buf, ZB_ADDRESS_SIZE, "[%s]:%u", host, ntohs(in6.sin6_port));
}

bool
zb_socket_address_valid(const char *text)
{
    struct zb_socket_address address = {0};
    struct zb_err err;
    char canonical[ZB_ADDRESS_SIZE];

    if (zb_socket_address_parse(text, &address, &err) != ZB_OK) {
        return false;
    }
    zb_socket_address_format(&address, canonical);
    return strcmp(strrchr(canonical, ':'), ":0") != 0;
}

static void
option_set(int fd, int level, int name, int value)
{
    (void)setsockopt(fd, level, name, &value, sizeof value); /* a socket works without */
}

static void
peer_options_set(int fd)
{
    option_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    option_set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    option_set(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    option_set(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
    option_set(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT);
}

void
zb_socket_user_timeout(int fd, uint32_t timeout_ms)
{
#ifdef TCP_USER_TIMEOUT /* RFC 5482; Linux only */
    option_set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)timeout_ms);
#else
    (void)fd;
    (void)timeout_ms;
#endif
}

static enum zb_rc
socket_new(const struct zb_socket_address *address, int *fd, struct zb_err *err)
{
    *fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return *fd >= 0 ? ZB_OK : zb_err_sys(err, errno, "socket");
}

enum zb_rc
zb_socket_listen(const struct zb_socket_address *address, int *fd, struct zb_err *err)
{
    char text[ZB_ADDRESS_SIZE];
    int s;
    enum zb_rc rc = socket_new(address, &s, err);
    if (rc != ZB_OK) {
        return rc;
    }
    zb_socket_address_format(address, text);
    option_set(s, SOL_SOCKET, SO_REUSEADDR, 1);
    if (bind(s, (const struct sockaddr *)&address->storage, address->size) != 0 ||
        listen(s, BACKLOG) != 0) {
        rc = zb_err_sys(err, errno, "listen on %s", text);
        close(s);
        return rc;
    }
    *fd = s;
    return ZB_OK;
}

enum zb_rc
zb_socket_connect(const struct zb_socket_address *address, int *fd, struct zb_err *err)
{
    char text[ZB_ADDRESS_SIZE];
    int s;
    enum zb_rc rc = socket_new(address, &s, err);
    if (rc != ZB_OK) {
        return rc;
    }
    peer_options_set(s);
    if (connect(s, (const struct sockaddr *)&address->storage, address->size) != 0 &&
        errno != EINPROGRESS) {
        int number = errno;
        zb_socket_address_format(address, text);
        close(s);
        return zb_err_sys(err, number, "connect to %s", text);
    }
    *fd = s;
    return ZB_OK;
}

enum zb_rc
zb_socket_accept(int listen_fd, int *fd, struct zb_socket_address *from, struct zb_err *err)
{
    memset(from, 0, sizeof *from);
    from->size = sizeof from->storage;
    int s = accept4(listen_fd, (struct sockaddr *)&from->storage, &from->size,
                    SOCK_NONBLOCK | SOCK_CLOEXEC);
    *fd = -1;
    if (s < 0) {
        bool transient = errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ||
                         errno == ECONNABORTED || errno == EPROTO;
        return transient ? ZB_OK : zb_err_sys(err, errno, "accept");
    }
    peer_options_set(s);
    *fd = s;
    return ZB_OK;
}

int
zb_socket_error(int fd)
{
    int number = 0;
    socklen_t size = sizeof number;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &size) == 0 ? number : errno;
}

enum zb_rc
zb_socket_local(int fd, struct zb_socket_address *address, struct zb_err *err)
{
    memset(address, 0, sizeof *address);
    address->size = sizeof address->storage;
    if (getsockname(fd, (struct sockaddr *)&address->storage, &address->size) != 0) {
        return zb_err_sys(err, errno, "getsockname");
    }
    return ZB_OK;
}
