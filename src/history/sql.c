#include "history/statement.h"

const char *const zb_statement_texts[ZB_SQL_COUNT] = {
    [ZB_SQL_BEGIN] = "BEGIN IMMEDIATE",
    [ZB_SQL_COMMIT] = "COMMIT",
    [ZB_SQL_ROLLBACK] = "ROLLBACK",

    [ZB_SQL_META_GET] = "SELECT value FROM meta WHERE name = ?",
    [ZB_SQL_META_SET] = "INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)",

    [ZB_SQL_CONFIG_PUT] = "INSERT OR REPLACE INTO config (version, state, text, hash, time)"
                          " VALUES (?, ?, ?, ?, ?)",
    [ZB_SQL_CONFIG_GET] = "SELECT version, time, hash, text FROM config WHERE state = ?"
                          " ORDER BY version DESC LIMIT 1",

    [ZB_SQL_SET_PUT] = "INSERT OR REPLACE INTO sets (service, term, seq, digest, time, manifest)"
                       " VALUES (?, ?, ?, ?, ?, ?)",
    [ZB_SQL_SET_GET] = "SELECT term, seq, digest, manifest FROM sets"
                       " WHERE service = ? AND term = ? AND seq = ?",
    [ZB_SQL_SETS_LIST] = "SELECT term, seq, digest, time FROM sets WHERE service = ?"
                         " ORDER BY term DESC, seq DESC LIMIT ?",
    [ZB_SQL_SETS_PRUNE] = "DELETE FROM sets WHERE service = ?"
                          " AND (term, seq) > (?, ?) AND (term, seq) < (?, ?)"
                          " AND NOT EXISTS (SELECT 1 FROM terms WHERE terms.service = sets.service"
                          " AND fork_term = sets.term AND fork_seq = sets.seq)",

    [ZB_SQL_FORGET_SETS] = "DELETE FROM sets WHERE service = ?",
    [ZB_SQL_FORGET_TERMS] = "DELETE FROM terms WHERE service = ?",
    [ZB_SQL_FORGET_POSITIONS] = "DELETE FROM positions WHERE service = ?",

    [ZB_SQL_FORGET_RECORDS] = "DELETE FROM records WHERE service = ?",

    [ZB_SQL_TERM_PUT] = "INSERT OR REPLACE INTO terms (service, term, leader, fork_term, fork_seq,"
                        " fork_digest, reason, who, started, down_ms, own_ms, lost)"
                        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [ZB_SQL_TERM_GET] = "SELECT term, leader, fork_term, fork_seq, fork_digest, reason, who,"
                        " started, down_ms, own_ms, lost FROM terms WHERE service = ? AND term = ?",
    [ZB_SQL_TERMS_LIST] = "SELECT term, leader, fork_term, fork_seq, fork_digest, reason, who,"
                          " started, down_ms, own_ms, lost FROM terms WHERE service = ?"
                          " ORDER BY term DESC LIMIT ?",

    [ZB_SQL_POSITION_PUT] = "INSERT OR REPLACE INTO positions (service, node, term, seq, digest,"
                            " updated) VALUES (?, ?, ?, ?, ?, ?)",
    [ZB_SQL_POSITIONS_LIST] = "SELECT node, term, seq, digest, updated FROM positions"
                              " WHERE service = ? ORDER BY node LIMIT ?",

    [ZB_SQL_RECORD_PUT] = "INSERT OR REPLACE INTO records (service, node, granted_term, granted_to,"
                          " learned_term, learned_leader, suspects) VALUES (?, ?, ?, ?, ?, ?, ?)",
    [ZB_SQL_RECORDS_LIST] = "SELECT node, granted_term, granted_to, learned_term, learned_leader,"
                            " suspects FROM records WHERE service = ? ORDER BY node LIMIT ?",

    [ZB_SQL_EVENT_APPEND] = "INSERT INTO events (time, level, service, node, rule, text)"
                            " VALUES (?, ?, ?, ?, ?, ?)",
    [ZB_SQL_EVENTS_LIST] = "SELECT id, time, level, service, node, rule, text FROM events"
                           " WHERE id > ? ORDER BY id LIMIT ?",
    [ZB_SQL_EVENTS_LAST] = "SELECT coalesce(max(id), 0) FROM events",
    [ZB_SQL_EVENTS_TRIM] = "DELETE FROM events WHERE id IN"
                           " (SELECT id FROM events WHERE id <= ? ORDER BY id LIMIT 1000)",
};
