#include "story.h"

void
story_leader(struct story *s)
{
    *s = (struct story){
        .r = {.rec = {.granted_term = 3,
                      .granted_to = "vm1",
                      .learned_term = 3,
                      .learned_leader = "vm1",
                      .established_term = 3,
                      .suspects = {"vm1"},
                      .version = 7},
              .granted_version = 2,
              .established_boot = STORY_BOOT,
              .pool_guid = 42},
        .datasets = {{.uuid = STORY_UUID,
                      .guid = 1,
                      .mount = ZB_MOUNT_RW,
                      .marked = 1,
                      .newest = "zbaton-000003-00000009-20261122T064100Z",
                      .newest_guid = 99}},
        .entries = {{.uuid = STORY_UUID, .guid = 99}},
        .f = {.self = "vm1", .stage = ZB_STAGE_MOUNTED, .datasets_count = 1},
    };
    s->f.datasets = s->datasets;
    s->sealed = (struct zb_manifest){.id = {3, 9}, .entries_count = 1, .entries = s->entries};
    s->f.sealed = &s->sealed;
    s->req.term = 3;
}

void
story_sealed(struct story *s)
{
    story_leader(s);
    s->f.stage = ZB_STAGE_SEALED;
    s->datasets[0].mount = ZB_MOUNT_NONE;
    s->req.manifest = s->sealed;
}

void
story_follower(struct story *s)
{
    story_leader(s);
    s->r.rec.established_term = 0;
    s->f.self = "vm2";
    s->f.stage = ZB_STAGE_REST;
    s->datasets[0].mount = ZB_MOUNT_NONE;
    zb_strcopy(s->req.node, ZB_NODE_NAME_SIZE, "vm1");
}

void
story_refused(struct story *s, enum zb_rc rc, enum zb_rc wanted, const char *text)
{
    if (rc != wanted || (rc != ZB_OK && strstr(s->err.msg, text) == NULL)) {
        fail_msg("got %s (%s), wanted %s with '%s'", zb_rc_word(rc), s->err.msg, zb_rc_word(wanted),
                 text);
    }
}
