/* Endpoints are numeric: the engine has no resolver, and a name's answer would not be bounded. */
#include "etcd/internal.h"

#include <arpa/inet.h>
#include <string.h>

/* The host of "ADDRESS:PORT" into buf; false unless the rest is a port. */
static bool
host_split(const char *text, char *host, size_t size, bool *six)
{
    const char *end;

    *six = text[0] == '[';
    if (*six) {
        text++;
        end = strchr(text, ']');
    } else {
        end = strchr(text, ':');
    }
    if (end == NULL || (size_t)(end - text) >= size) {
        return false;
    }
    memcpy(host, text, (size_t)(end - text));
    host[end - text] = '\0';
    end += *six ? 1 : 0;
    if (*end != ':' || end[1] < '1' || end[1] > '9') {
        return false;
    }
    uint32_t port = 0;
    for (end++; *end >= '0' && *end <= '9' && port <= UINT16_MAX; end++) {
        port = port * 10 + (uint32_t)(*end - '0');
    }
    return *end == '\0' && port <= UINT16_MAX;
}

enum zb_rc
zb_etcd_endpoint_check(const char *endpoint, bool *tls, struct zb_err *err)
{
    static const char plain[] = "http://", secure[] = "https://";
    char host[INET6_ADDRSTRLEN];
    struct in6_addr address;
    bool six;

    *tls = strncmp(endpoint, secure, sizeof secure - 1) == 0;
    if (strlen(endpoint) >= ZB_ETCD_ENDPOINT_SIZE ||
        (!*tls && strncmp(endpoint, plain, sizeof plain - 1) != 0) ||
        !host_split(endpoint + (*tls ? sizeof secure : sizeof plain) - 1, host, sizeof host,
                    &six) ||
        inet_pton(six ? AF_INET6 : AF_INET, host, &address) != 1) {
        return zb_err_set(
            err, ZB_E_USAGE,
            "endpoint \"%.100s\" is not http(s)://ADDRESS:PORT with a numeric address", endpoint);
    }
    return ZB_OK;
}
