/*
 * Root's consent to another key. What is declared comes from the engine, which need not be trusted
 * with the data of services of the raw flavour: without it, one that lies could have the key become
 * a text that it knows. `zbaton rekey` leaves it in the keeper's directory, where nobody but root
 * can make a file, for as long as it runs: <service>.rekey says what root has the key come from.
 */
#ifndef ZB_KEEPER_CONSENT_H
#define ZB_KEEPER_CONSENT_H

#include "base/types.h"

#define ZB_CONSENT_NAME "%s.rekey" /* of the service */
/* What it says, one of both: as declared. */
#define ZB_CONSENT_FILE "key-file %s\n"
#define ZB_CONSENT_COMMAND "key-command %s\n"

#define ZB_CONSENT_MAX_S 600 /* older, by its mtime, it does not count */

struct zb_keeper;
struct zb_keeper_key_source;

/* ZB_E_REFUSED: there is none that counts, or it is to another source. */
enum zb_rc zb_keeper_consent_check(const struct zb_keeper *k, const char *service,
                                   const struct zb_keeper_key_source *source,
                                   struct zb_err *err) ZB_CHECKED;
/* It was used. One that cannot be removed is logged: it is old soon. */
void zb_keeper_consent_drop(const struct zb_keeper *k, const char *service);

#endif
