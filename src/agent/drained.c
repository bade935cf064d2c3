#include "agent/drained.h"

#include "agent/json.h"
#include "agent/must.h"
#include "agent/one_line.h"

bool
zb_drained_is(const struct zb_drained *d)
{
    return d->who[0] != '\0';
}

void
zb_drained_say(const struct zb_drained *d, char buf[ZB_DRAINED_SAY_SIZE])
{
    char time[24];

    zb_wall_format(d->since, time);
    (void)snprintf(buf, ZB_DRAINED_SAY_SIZE, "drained by %s since %s", d->who, time);
}

json_t *
zb_drained_json(const struct zb_drained *d)
{
    char time[24];

    if (!zb_drained_is(d)) {
        return zb_must(json_null());
    }
    json_t *object = zb_must(json_object());
    zb_wall_format(d->since, time);
    zb_json_put(object, "who", zb_json_text(d->who));
    zb_json_put(object, "since", zb_json_text(time));
    return object;
}

json_t *
zb_drained_doc(const struct zb_drained *d)
{
    json_t *object = zb_must(json_object());

    zb_json_put(object, "who", zb_json_text(d->who));
    zb_json_put(object, "time", zb_json_int(d->since.s));
    return object;
}

enum zb_rc
zb_drained_parse(const json_t *object, struct zb_drained *d, struct zb_err *err)
{
    struct zb_json_reader r = zb_json_read(object);
    struct zb_drained one = {0};

    zb_json_read_name(&r, "who", one.who, sizeof one.who, zb_one_line_valid);
    one.since.s = zb_json_read_int(&r, "time", 0, ZB_JSON_TIME_MAX_S);
    enum zb_rc rc = zb_json_read_end(&r, err);
    if (rc != ZB_OK) {
        return zb_err_wrap(err, "drained");
    }
    *d = one;
    return ZB_OK;
}
