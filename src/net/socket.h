/*
 * TCP sockets: numeric addresses, non-blocking descriptors with the options that peers want.
 * Name resolution is refused: the engine has no resolver in its chroot.
 */
#ifndef ZB_NET_SOCKET_H
#define ZB_NET_SOCKET_H

#include <sys/socket.h>

#include "base/types.h"

struct zb_socket_address {
    struct sockaddr_storage storage;
    socklen_t size;
};

/* "10.77.0.1:7979", "[fd00::1]:7979"; port 0 is valid here. ZB_E_USAGE naming the text. */
enum zb_rc zb_socket_address_parse(const char *text, struct zb_socket_address *address,
                                   struct zb_err *err) ZB_CHECKED;
/* The same form; buf of ZB_ADDRESS_SIZE. IPv4 in IPv6 is shown as IPv4. */
void zb_socket_address_format(const struct zb_socket_address *address, char *buf);
/* An address to connect to: parses and the port is not 0. */
bool zb_socket_address_valid(const char *text);

/* Listens, non-blocking. ZB_E_SYS. */
enum zb_rc zb_socket_listen(const struct zb_socket_address *address, int *fd,
                            struct zb_err *err) ZB_CHECKED;
/* Begins to connect, non-blocking; zb_socket_error tells the outcome when writable. ZB_E_SYS. */
enum zb_rc zb_socket_connect(const struct zb_socket_address *address, int *fd,
                             struct zb_err *err) ZB_CHECKED;
/* The next connection, non-blocking; *fd is -1 when none waits (or it went away). ZB_E_SYS. */
enum zb_rc zb_socket_accept(int listen_fd, int *fd, struct zb_socket_address *from,
                            struct zb_err *err) ZB_CHECKED;
/* Pending error of the socket, as errno; 0 none. */
int zb_socket_error(int fd);
/* Where fd is bound. */
enum zb_rc zb_socket_local(int fd, struct zb_socket_address *address,
                           struct zb_err *err) ZB_CHECKED;
/* Gives up on unacknowledged bytes after timeout_ms, where the system can (TCP_USER_TIMEOUT). Not
 * for data connections: on Linux it also kills a peer that answers but has no room (tcp(7)). */
void zb_socket_user_timeout(int fd, uint32_t timeout_ms);

#endif
