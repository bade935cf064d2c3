#include "runner/internal.h"

/* how: what of the run is not in the line. */
static enum zb_rc
line_run(const struct zb_runner *r, const char *line, struct zb_once how, struct zb_err *err)
{
    struct zb_runner_command c;
    enum zb_rc rc = zb_runner_command_prepare(r, line, &c, err);

    if (rc == ZB_OK) {
        how.path = c.path;
        how.argv = c.words;
        how.env = c.env;
        how.group = r->group;
        rc = zb_once_run(&how, err);
    }
    return rc == ZB_OK ? rc : zb_err_wrap(err, "%s", line);
}

enum zb_rc
zb_runner_drill(const struct zb_runner *r, const char *line, uint32_t timeout_ms, int cancel_fd,
                struct zb_err *err)
{
    const struct zb_once how = {
        .dir = r->mountpoint, .timeout_ms = timeout_ms, .cancel_fd = cancel_fd};

    return line_run(r, line, how, err);
}

enum zb_rc
zb_runner_ask(const struct zb_runner *r, const char *line, uint32_t timeout_ms, int cancel_fd,
              struct zb_once_output *output, struct zb_err *err)
{
    const struct zb_once how = {.timeout_ms = timeout_ms, .cancel_fd = cancel_fd, .output = output};

    output->used = 0;
    return line_run(r, line, how, err);
}
