/*
 * Manifests as bytes: inside keeper messages, and on their own in the history. Pure.
 */
#ifndef ZB_WIRE_MANIFEST_H
#define ZB_WIRE_MANIFEST_H

#include "wire/codec.h"

/* More than the longest: every field at its bound. */
#define ZB_WIRE_MANIFEST_MAX (64u << 10)

extern const struct zb_shape zb_wire_set_id_shape;
extern const struct zb_shape zb_wire_manifest_shape;
/* zb_manifest_valid, for the tables. */
bool zb_wire_manifest_check(const void *s);

/* As zb_codec_encode; ZB_WIRE_MANIFEST_MAX bytes are always enough. */
enum zb_rc zb_wire_manifest_encode(const struct zb_manifest *m, uint8_t *buf, size_t size,
                                   size_t *used, struct zb_err *err) ZB_CHECKED;
/* As zb_codec_decode, and only a valid manifest; on failure *out is closed. */
enum zb_rc zb_wire_manifest_decode(const uint8_t *buf, size_t size, struct zb_manifest *out,
                                   struct zb_err *err) ZB_CHECKED;

#endif
