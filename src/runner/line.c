#include "runner/internal.h"
#include "runner/once.h"

enum zb_rc
zb_runner_drill(const struct zb_runner *r, const char *line, uint32_t timeout_ms, int cancel_fd,
                struct zb_err *err)
{
    struct zb_runner_command c;
    enum zb_rc rc = zb_runner_command_prepare(r, line, &c, err);

    if (rc == ZB_OK) {
        const struct zb_once once = {.path = c.path,
                                     .argv = c.words,
                                     .env = c.env,
                                     .dir = r->mountpoint,
                                     .group = r->group,
                                     .timeout_ms = timeout_ms,
                                     .cancel_fd = cancel_fd};
        rc = zb_once_run(&once, err);
    }
    return rc == ZB_OK ? rc : zb_err_wrap(err, "%s", line);
}

enum zb_rc
zb_runner_ask(const struct zb_runner *r, const char *line, uint32_t timeout_ms, uint8_t *text,
              size_t *size, struct zb_err *err)
{
    struct zb_once_output output = {.bytes = text, .size = *size};
    struct zb_runner_command c;
    enum zb_rc rc = zb_runner_command_prepare(r, line, &c, err);

    if (rc == ZB_OK) {
        const struct zb_once once = {.path = c.path,
                                     .argv = c.words,
                                     .env = c.env,
                                     .group = r->group,
                                     .timeout_ms = timeout_ms,
                                     .cancel_fd = -1,
                                     .output = &output};
        rc = zb_once_run(&once, err);
    }
    *size = output.used;
    return rc == ZB_OK ? rc : zb_err_wrap(err, "%s", line);
}
