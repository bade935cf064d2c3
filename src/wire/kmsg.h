/*
 * Messages between engine and keeper over a SOCK_STREAM socketpair, each behind a 4-byte big-endian
 * length (at most ZB_KMSG_MAX, checked before anything is read into memory): one request shape, one
 * reply shape, table-driven encoding, every length bounded. Pure: no I/O, no clock; allocation only
 * of the arrays of a decoded reply. Both sides treat the other's bytes as hostile: a message that
 * does not decode ends the engine (the keeper starts it again) or the keeper's trust in it.
 *
 * An operation is answered exactly once, by a reply with its id; SEND and RECEIVE twice: first with
 * `more` set and a file descriptor (SCM_RIGHTS, attached to the first byte of the message's
 * length), then, when the kernel has finished, with the result. The descriptor is the engine's end
 * of a socket pair (not a pipe, so that the keeper can end a stream whatever the engine does).
 *
 * Operations on one service that do not go together are ZB_E_BUSY at once: those that change the
 * tree, its mounts or the record exclude each other, RECEIVE and CHECK; SNAPSHOT and PRUNE exclude
 * all of these but CHECK; OBSERVE, SNAPS, SEND and ESTIMATE go with everything (a set is sent while
 * it is sealed), and so do RESCUES, RESCUE_MOUNT, RESCUE_DROP, PEEK, PEEKS, PEEK_END, DRILL,
 * VERIFY, BLOCKERS, FENCE, NOTIFY and REKEY, which waits up to 5 s until it can change the key as
 * SNAPSHOT would take a set. GRANT, LEARN of something new, DEMOTE, ARRANGE and RESCUE end
 * receives, and wait up to 5 s for the rest.
 */
#ifndef ZB_WIRE_KMSG_H
#define ZB_WIRE_KMSG_H

#include "base/lineage.h"

#define ZB_PRUNE_MAX 256   /* snapshots, then a PRUNE ends, so that it does not take long */
#define ZB_KMSG_VERSION 1u /* of this protocol, in HELLO; both processes are one program file */

enum zb_kop {
    ZB_KOP_HELLO = 1,
    ZB_KOP_DEFINE,
    ZB_KOP_OBSERVE,
    ZB_KOP_SNAPS,
    ZB_KOP_CREATE,
    ZB_KOP_UNADOPT,
    ZB_KOP_SNAPSHOT,
    ZB_KOP_SEND,
    ZB_KOP_RECEIVE,
    ZB_KOP_CANCEL,
    ZB_KOP_START,
    ZB_KOP_STOP,
    ZB_KOP_CHECK,
    ZB_KOP_SEAL,
    ZB_KOP_RELEASE,
    ZB_KOP_GRANT,
    ZB_KOP_LEARN,
    ZB_KOP_PROMOTE,
    ZB_KOP_DEMOTE,
    ZB_KOP_PRUNE,
    ZB_KOP_ARRANGE,
    ZB_KOP_RESCUE,
    ZB_KOP_RESCUES,
    ZB_KOP_RESCUE_MOUNT,
    ZB_KOP_RESCUE_DROP,
    ZB_KOP_BLOCKERS,
    ZB_KOP_FENCE,
    ZB_KOP_SETS,
    ZB_KOP_PEEK,
    ZB_KOP_PEEKS,
    ZB_KOP_PEEK_END,
    ZB_KOP_DRILL,
    ZB_KOP_NOTIFY,
    ZB_KOP_VERIFY,
    ZB_KOP_BEAT,
    ZB_KOP_RENEW,
    ZB_KOP_LAPSE,
    ZB_KOP_LEAVE,
    ZB_KOP_ESTIMATE,
    ZB_KOP_REKEY,
    ZB_KOP_LAST = ZB_KOP_REKEY,
};

/* clang-format off */
/* What each operation does, in the keeper's words, with the fields of the request it reads and of
 * the reply it fills (besides rc, sys_errno, msg, hint). "refuses" means ZB_E_REFUSED and nothing
 * changed, unless another code is named.
 *
 * HELLO      version: protocol number. -> node, pool_guid, root, boot_id, nonce (random per engine
 *            start, M5), services: the names of every defined service with a record (text, '\n').
 * DEFINE     service, flags, version, text: the service's declaration as canonical JSON
 *            (conf/service.h); empty text removes a definition (refused while mounted or running;
 *            record and data stay). Stored durably; refuses a lower version than the stored one.
 * OBSERVE    service, nonce (of the last look that the engine took, or 0) -> record, datasets, running, mounted_here, sealed, pool_guid. CREATE, SEAL,
 *            RELEASE, GRANT, LEARN (of something new), PROMOTE and DEMOTE fill the same when they succeed. written_bytes of an unmounted
 *            dataset is 0 when its content equals the newest snapshot's, which is compared by owning it for a moment, only while no receive or
 *            change is under way; else it is ZFS's own number. Never changes anything, except that the
 *            first OBSERVE of a service after the keeper's start replays intent logs of a tree
 *            this node may have led, unless it is still mounted from before (M12). key: of a service of the raw flavour, whether the
 *            key in its file is that of the tree here; or, without a tree, whether there is one. nonce: of this look, 0: it has none. A
 *            request with the nonce of the last look, where nothing has changed since: -> flags ZB_KF_SAME and that nonce, nothing else.
 * SNAPS      service, rel, count (index to start at) -> snaps: as many snapshots of one dataset as fit in a message, in
 *            createtxg order from that index on; count: how many there are in all. With ZB_KF_MARKS: the bookmarks that are of sets.
 * CREATE     service, uuid (the cluster's id, for the mark; may be empty), flags. Leader-to-be: makes the dataset tree root where it does not exist yet (with
 *            dnodesize=legacy and the rest of "every copy" in design.md), or adopts what is there:
 *            zbaton:* properties, a uuid per dataset, S0 values. Values it changes are remembered
 *            (zbaton:prior:<property>) so that UNADOPT can put them back. Refuses when the dataset
 *            carries another cluster's or service's mark or does not fit the declared flavour (keeper/key.h), and when somebody is known to have led and there is
 *            no marked tree here (it is received then); ZB_E_HELD when it is mounted (adoption
 *            of a mounted dataset first wants flags ZB_KF_UNMOUNT: syncfs, unmount without force).
 * UNADOPT    service. Undoes adoption: properties put back or inherited, record removed. Refuses
 *            while mounted or running. Data and snapshots stay. With ZB_KF_REMOUNT what then mounts by
 *            itself (canmount=on and a mountpoint) is mounted, as zfs mount does.
 * SNAPSHOT   service, term, seq, time, flags. One atomic recursive snapshot of the tree, named by
 *            zb_set_name_format; datasets that came in since get a uuid first,
 *            and are mounted read-write (tried again at each set). ZB_E_REFUSED names a dataset that does not fit the flavour, ZB_E_UNSUPPORTED a tree that is a volume itself,
 *            ZB_E_LIMIT a dataset with a name that does not fit (SEAL too). Refuses unless this
 *            node is the established leader of `term` (record), seq is higher than every set of
 *            that term here, and either the tree is mounted by this keeper's life or it is sealed.
 *            With ZB_KF_SYNC: syncfs of every mounted dataset first (the seal's order).
 *            -> manifest; foreign: 1 when any dataset has a snapshot, between `base_seq`/`base_term`'s set
 *            and this one, that is not a zbaton set. None is missed: what comes up to the very snapshot lies
 *            below it, what comes later below the next.
 * SEND       service, rel, snap (name), guid (of snap), from_guid (0: full stream), from_snap, token (resume).
 *            from_guid must be a snapshot or bookmark of the same dataset. from_snap is the name it may have: only where
 *            that one has another guid, or is gone, are all of them listed, which takes the longer the more there are. Re-reads the guid of snap
 *            before it sends. Raw when the declared flavour is; ZB_E_MISMATCH: the token is of the other. -> fd (to read from), then the end. Bytes are counted by who reads.
 * ESTIMATE   service, rel, guid (of a snapshot), count, from_guid, token: the size of `count` streams one after the other, the last one of which
 *            makes that snapshot; the first goes on from from_guid (0: full stream), and, with a token, from where that one stopped. Asked for beside
 *            the SENDs, so that none waits for it. An estimate: nothing is read but the sizes that snapshots carry. ZB_E_UNSUPPORTED: from_guid is not
 *            the snapshot before them (a bookmark). -> bytes.
 * RECEIVE    service, rel, uuid, snap, guid, from_guid, term, node (sender), flags, token (of the partial receive
 *            here that the stream goes on with; empty: from the start). Before the fd is handed
 *            over: term equals the learned term of the record and is not below the granted one; the
 *            sender is that term's leader (with ZB_KF_FORWARD instead: this node granted the term to itself, knows of
 *            nobody who led it or a later one, and the sender is another; with ZB_KF_COPY instead: no dataset of the tree has a
 *            snapshot, or what is there came in the same way from the same sender in this term and keeper's life); this node does not lead, the dataset is not mounted; on
 *            an incremental the newest snapshot's guid equals from_guid and written = 0 (else
 *            ZB_E_DIVERGED with what was seen); a full stream only where the dataset does not exist;
 *            no partial receive in the way (one of a dataset with this service's marks that is not gone on with
 *            is aborted; any other is refused by name). The begin record is
 *            checked against toguid/fromguid and the declared flavour before the kernel sees it. Afterwards the guid is
 *            re-read from the pool: -> guid; ZB_E_MISMATCH if it differs. -> fd (to write to), then the end: bytes.
 * CANCEL     target: id of a SEND or RECEIVE whose kernel call shall end, or of a FENCE, DRILL, NOTIFY or REKEY whose command shall. That operation is answered.
 * START STOP CHECK  service, timeout_ms: the runner. STOP is done when no process of the service
 *            is left (TERM, then KILL at 3/4 of the time); ZB_E_TIMEOUT otherwise.  START refuses unless
 *            the tree is mounted read-write here; children that somebody unmounted are mounted again first. -> elapsed_ms; CHECK -> running 0/1.
 * SEAL       service, term, manifest (the final set). Unmounts every dataset in parallel, not by force, not
 *            lazily; then proves: newest snapshot is the final set's, written = 0, nothing holds
 *            the dataset (zfs.check.rollback). Holders are named in msg with pid, command and mount
 *            namespace (ZB_E_HELD); on any failure what was unmounted is mounted again and -> flags says
 *            ZB_KF_REMOUNTED. written != 0: ZB_E_MISMATCH, tree stays unmounted and unreleased (take
 *            another SNAPSHOT, SEAL again).
 * RELEASE    service, term (the next one), node (target), manifest. Holder's grant (M1). Refuses unless sealed
 *            with exactly this manifest, proven again now. Durable before the reply. Never withdrawn.
 *            The same release asked again is answered with OK again, unless a higher term was granted.
 * GRANT      service, term, node (candidate), nonce (candidate's), version (voters version).
 *            M2: refuses while mounted or running here; refuses a term not above every term granted, unless
 *            equal in term and node, or not above the learned one, or by an older version than the last
 *            grant's (M11); then durable. Receives are ended first. Where this node may have led, nothing may hold the tree, mounted or not
 *            (ZB_E_HELD; not asked where a newer bookmark keeps it from being proven). -> record.
 * LEARN      service, term, node (established leader), lineage (as that leader tells it). Raises the learned term,
 *            suspects become {leader}. Refuses a lower term than granted or learned, and the same term with
 *            another leader (ZB_E_MISMATCH: split brain, reported loudly). A tree that this node has mounted or
 *            sealed under a lower term is then given up as by DEMOTE, even if the record could not be stored. What is known already changes nothing.
 * PROMOTE    service, term, manifest, base_term, base_seq (the set that the term goes on from, where its manifest
 *            is not known), flags. Refuses unless this node granted `term` to itself and nothing
 *            higher; with ZB_KF_EXACT the newest snapshot of every dataset must be the manifest's,
 *            guid by guid, written = 0; without it (restart of the last established leader, first leader)
 *            the tree must be one that this node led last, or new; a child without any mark is a newcomer
 *            then, not mounted before the next SNAPSHOT takes it in. Entries of the manifest are found by
 *            uuid, and get their names as under ARRANGE. Datasets that the manifest does not
 *            have (children that the leader destroyed, somebody's own) are orphans: neither mounted nor
 *            changed, but for the durable property zbaton:orphan=<term> on each. What carries it, or inherits it
 *            from one below the tree's root, is in no view: not in OBSERVE, SNAPSHOT, SEAL, RELEASE, PROMOTE.
 *            ARRANGE for a set that has it again takes the mark away; so may the administrator, whose dataset is then a
 *            new child of the leader. ZB_KF_REMOUNT: after an aborted
 *            move, or when somebody unmounted it: same term, only if this very keeper life mounted it and has
 *            not released.
 *            Order: durable record -> declared properties (mountpoint, quotas), read back -> mount
 *            read-write parents first -> statvfs -> write probe (file, fsync, unlink, in each dataset).
 *            On a failure after the record everything is unmounted again. -> record. The keys of a raw tree are loaded and proven before the
 *            record (ZB_E_NOTFOUND, ZB_E_REFUSED, ZB_E_FORMAT, ZB_E_MISMATCH name file and dataset); RELEASE and DEMOTE unload them.
 * DEMOTE     service, timeout_ms: STOP, syncfs, unmount, verify. For a grant to somebody else. No record change.
 *            Refuses, naming it, when what is mounted carries no mark of the service: somebody's own dataset of
 *            that name; but not on the declared first leader while nobody has led, which adopts it.
 * PRUNE      service, protect: set ids, the first `count` of them where other members stand, the others of sets that must stay;
 *            base_term, base_seq: so must this set and all newer ones, up to the declared catch-up; term, seq: so must this
 *            set and all newer ones, however many (a member is on its way from there). Destroys, in
 *            batches, only zbaton sets that the declared retention lets go (conf/retention.h: that of this node's kind), not held, not
 *            cloned (a rescue is a clone of its forks), not protected. A set that a member stands on, and the one after it, which it may have got, become
 *            bookmarks first (rules.h, ZB_MARK_PREFIX); bookmarks of sets that nobody stands on any more are destroyed, unless a member stands nobody knows where.
 *            text: sets with a label stay too: a line "<term>/<seq><tab><label>" each; and lines of what the leader answered about copies of other
 *            tools' snapshots (keeper/received.h): those that were received here and are gone there for the declared foreign-grace are destroyed, too.
 *            -> count destroyed; text: sets that members stand on and of which neither snapshot nor bookmark is here, as "<term>/<seq>" lines,
 *            and lines of what the leader is to be asked about copies. count ZB_PRUNE_MAX or more: it
 *            ended there, and the next one goes on with the dataset at which it did.
 * SETS       service, protect, count, base_term, base_seq, term, seq, text as of PRUNE, snap (name to go on after; "": from the newest one on) -> text:
 *            the sets of the tree's own dataset, newest first, as many as fit, a line each: its name, a tab, and why it stays: words of
 *            zb_keep_words, "base" (protected), "label LABEL", or what refuses to let it go ("held: TAG", "cloned: DATASET"); "": PRUNE destroys it.
 *            Before the newest sets (snap empty) copies of other tools' snapshots, likewise.
 * ARRANGE    service, term, node (sender), manifest (of the set that will be sent). Refuses as RECEIVE does for that
 *            term and sender. Brings the names of the datasets here to those of the set, by uuid: what the leader
 *            renamed is renamed; what has the name of another dataset of the set (a child that was destroyed and made
 *            anew under its name) becomes <name>.aside-<8 digits of its uuid>, and an orphan as under PROMOTE unless the
 *            set has it elsewhere. Destroys nothing; ZB_E_EXISTS names a dataset in the way that is not zbaton's,
 *            ZB_E_HELD one that is mounted.
 * RESCUE     service, term, node, manifest (entries: the datasets that go on, by uuid, each with the guid of the
 *            snapshot it goes on from: its fork), time, flags. A tree that came away from the lineage is set aside
 *            as it is, and goes on from the forks. Refuses unless node is the leader of `term` as RECEIVE wants it, or is this
 *            node, which granted `term` to itself and knows of nobody who led it; and while the tree is mounted (a snapshot of it too), held
 *            (ZB_E_HELD; not asked where a newer bookmark keeps it from being proven) or the service runs, and names a dataset of the tree,
 *            orphans too, that has not zbaton's marks. Receives are ended first, and partial ones aborted; sends of
 *            this service are canceled. Nothing is copied, rolled back or destroyed: the tree is renamed to
 *            <root>/.rescue/<service>-<term, 6 digits>-<UTC>, and each dataset with an entry goes on, by the name that the entry has, as a
 *            clone of its fork that is promoted, with the properties it had; guids of snapshots, holds, clones and bookmarks stay: those up to
 *            the fork with what goes on, later ones in the rescue. Begun (renamed), it is ended before any other operation, by the next start
 *            of the keeper too; until then OBSERVE, SNAPS and SEND are ZB_E_BUSY, or say what is in the way. Datasets without an entry, or
 *            without the fork's snapshot (ZB_E_NOTFOUND for the tree's own dataset, but with ZB_KF_WHOLE: then nothing goes on and a full
 *            copy follows), or below one that does not go on, are only in the rescue. ZB_E_EXISTS: one of that name, that is of the same second, is
 *            there. ZB_E_NOSPACE: the pool has no room for the clones. ZB_E_MISMATCH: it is done and kept (RESCUES has it), but something came after a fork meanwhile. Nothing came
 *            after the forks, or there is no tree: OK, text empty, nothing changed; ZB_E_UNSUPPORTED: what an intent log may have is not known, because
 *            an encryption key is not loaded (nothing else wants it). -> text: the rescue's name; bytes: what only it holds.
 * RESCUES    service (empty: all, of services that are not defined here too), count (index to start at) -> text: whole lines, as many as fit,
 *            one JSON object each {"name", "service", "term", "created", "bytes", "whole", "kept" (false: begun and not ended),
 *            "mounted" (path or ""), "datasets": [{"rel", "fork" (snapshot name, "" of what does not go on), "fork_guid" (as a string),
 *            "snaps" (of its own), "written" (bytes since the newest of them, or the fork)}], "left_off" (datasets that did not fit)};
 *            count: how many there are in all.
 * RESCUE_MOUNT  service (may be empty), text: name of a rescue, rel: "on" or "off": mounts its datasets read-only (nodev, nosuid,
 *            noexec) below <run-dir>/rescue/<name>, which root alone can enter; one that has no place below its parent (a directory that
 *            was never made, or that is not empty) beside it as <name>+<rel with + for />. On again, or off when it is not mounted: OK. -> text: the path.
 * RESCUE_DROP   service (may be empty), text: name of a rescue. Destroys its datasets and snapshots, never others. With ZB_KF_EXACT not
 *            what was beside the service's tree (an orphan), which nobody was shown with that: ZB_E_REFUSED. Refuses while it is mounted, held, or
 *            cloned (ZB_E_HELD) or has a dataset that is not zbaton's (ZB_E_REFUSED), by name and with the command that helps;
 *            all of this is looked for first. Dropped half way (a crash), it is still listed, and dropped the next time.
 *            MOUNT and DROP: ZB_E_BUSY while other rescues or peeks are being mounted or dropped, for 5 s.
 * PEEK       service, manifest (a set), time (when it ends, at most ZB_PEEK_LIFE_MAX_S from now). Clones every dataset of the set, by uuid and
 *            guid, to <root>/.peek/<service>-<term, 6 digits>-<seq, 8 digits>-<UTC>/<name that it has in the set>, with the mark zbaton:peek=<term>/<seq>/<end>, and mounts all
 *            read-only (nodev, nosuid, noexec) below <run-dir>/peek/<name>, as RESCUE_MOUNT does. All of it or nothing. ZB_E_NOTFOUND: the set is not
 *            whole here; ZB_E_UNSUPPORTED: an encryption key is not loaded; ZB_E_LIMIT: 64 are there; ZB_E_BUSY as of RESCUE_MOUNT. The
 *            clones hold their set as any clone does, and nothing else: they are in no tree of a service. -> text: its line of PEEKS.
 * PEEKS      service (empty: all, of services that are not defined here too), count (index to start at) -> text: whole lines, as many as fit,
 *            one JSON object each {"name", "service", "term", "seq", "expires" (null: its mark is not zbaton's any more), "expires_s", "datasets",
 *            "mounted" (path or "": after a restart of the host)}; count: how many there are in all.
 * PEEK_END   service (may be empty), text: name of a peek. Unmounts it, wherever it is mounted, and destroys its clones, never anything
 *            else. ZB_E_HELD names who uses it, a hold or a clone of it; ZB_E_REFUSED what is not zbaton's. Whether its time is over is not asked.
 * DRILL      service, manifest (a set). Makes a peek of the set, runs the declared drill-check (a program of commands-dir) over it, until drill-timeout,
 *            and ends the peek, whatever came of it. The program begins in the mounted tree, which ZBATON_MOUNTPOINT names.
 *            ZB_E_FAILED and ZB_E_TIMEOUT tell the last line that it wrote to its standard error; other codes as of PEEK. ZB_E_BUSY: one of
 *            this service is under way, or ZB_KEEPER_DRILLS_MAX others. Ended by CANCEL, by the end of the engine that asked, and by the end of the keeper. -> elapsed_ms.
 * VERIFY     service, manifest (a set), nonce (seed), count (share of the files whose content is read, in 1/10000), timeout_ms, flags, text: "" or
 *            "BITS PREFIX...", which names are wanted (keeper/sum.h). Makes a peek of the set, reads it, and ends the peek. Changes nothing.
 *            Codes as of PEEK; ZB_E_BUSY: one is under way on this node; ZB_E_TIMEOUT; ZB_E_CANCELED. Ended as DRILL is. -> elapsed_ms, text: lines
 *            "total NAMES FILES READ-FILES READ-BYTES UNREADABLE", "error ERRNO PATH" of the first of what cannot be read, and "sum BUCKET SUM" for each bucket with a name
 *            in it; with ZB_KF_LIST "name POSITION DIGEST PATH" instead, and "more COUNT" of names that did not fit.
 * BLOCKERS   service, text as of PRUNE: what on this host is in the way of a move, of replication or of PRUNE, by name. Changes nothing, and proves
 *            nothing: an explanation. -> text: whole lines, as many as fit, of four fields with a tab between them: kind, dataset, snapshot (its
 *            name alone, or ""), what. Control characters are '?'. Kinds:
 *            sets (snapshot: the oldest set of the tree's own dataset; what: "<how many> <oldest that is among the newest N>"),
 *            hold (what: tag), clone (what: its name), rescue, peek (what: name of the rescue or peek that is its clone) of sets that the retention lets go;
 *            mount and device (what: where; of a tree that this node does not lead), process (what: who, beside the service's own, has something
 *            open there), partial (a receive that was begun and can be gone on with), foreign (a dataset of the tree, without zbaton's
 *            marks), orphan, volume (the tree itself is one), unfit (a name that no set can carry). count: lines that did not fit.
 * FENCE      service, term, node, text: name of the cluster. Runs the node's fence-command for `node` (runner/fence.h), until its
 *            fence-timeout. Refuses unless this node granted `term` to itself and knows of nobody who led it, and node is another
 *            member, or a suspect of the record. That a majority has granted the term, and that node does not answer, is the
 *            engine's to know: it asks afterwards (M4). ZB_OK: the program began after the request and exited 0: node was off at some moment since
 *            then. ZB_E_FAILED, ZB_E_TIMEOUT, ZB_E_NOTFOUND, ZB_E_UNSUPPORTED (no fence-command): nothing is known. ZB_E_BUSY:
 *            it runs for that node already, or for ZB_KEEPER_FENCES_MAX others. Ended by CANCEL, by the end of the engine that asked,
 *            and by the end of the keeper; by its next start, when it was killed. -> elapsed_ms.
 * BEAT       flags, guid, from_guid: cluster id of the etcd. For a heartbeat of the node's session in that etcd: stamps the time, before anything is sent; a
 *            session that is in another one is over by that. -> nonce (of this stamp), guid (the session's
 *            number), count: how a node of it is kept from writing (enum zb_conf_fenced_by). With ZB_KF_NEW of a new session, which is durable before the
 *            reply, and whose deadline counts from this stamp on; guid: an earlier one of this node that etcd knows and that was not left, or 0: what is
 *            writable under that is demoted first. After an earlier session nothing is made
 *            writable in a new one before the first RENEW. ZB_E_NOTFOUND: there is none: ask for a new one. ZB_E_STALE: it lapsed, and everything is
 *            demoted: ask for a new one. ZB_E_BUSY: it lapsed, and this is still being done. ZB_E_SUSPENDED: the pool does not answer.
 * RENEW      nonce: of a stamp: the heartbeat that carried it was accepted. The node may write until soft-deadline after the stamp; then everything
 *            is stopped and unmounted, and nothing writable before a new session. ZB_E_STALE: the session lapsed, or the stamp is of another.
 * LAPSE      guid (the session's number). It is over, as far as the engine knows: as at the soft deadline.
 * LEAVE      guid (the session's number). It was ended in etcd in such a way that nobody counts on this node's deadline: nothing binds it any more.
 * NOTIFY     service (may be empty), snap: rule of an event, count: its level (enum zb_log_level), time_s, text: what it says. Runs the node's
 *            notify program (runner/notice.h) as the engine's user, until its notify-timeout. ZB_OK: it exited 0. ZB_E_UNSUPPORTED: there is none.
 *            ZB_E_BUSY: it runs already. Ended as FENCE is. -> elapsed_ms.
 * REKEY      service, term, flags. The tree of a service of the raw flavour gets the key that its file or program gives now, as zfs change-key does it;
 *            its format and iterations stay. Refuses unless root of this host has consented to that file or program (keeper/consent.h), this node
 *            is the established leader of `term`, and the tree is mounted read-write by this keeper's life; names a dataset that does not fit the
 *            flavour, or that has the tree's key and is not mounted here, wherever it is in the pool: whether it really has that key is not known then,
 *            and kernels panic at one that has not. ZB_E_BUSY: another operation on it does not end. ZB_E_NOTFOUND, ZB_E_REFUSED, ZB_E_FORMAT and codes of programs: file or program give no key.
 *            Refused or failed, nothing is changed. -> flags ZB_KF_SAME: that key is in force, nothing was changed. Done, the consent is used up.
 *            With ZB_KF_DRY_RUN, on any member, nothing is changed, and neither a consent nor the lead is wanted. -> key: as of OBSERVE, but a program was
 *            asked for it now. Ended as DRILL is while it waits for a program.
 */
/* clang-format on */

#define ZB_KF_UNMOUNT 0x01u /* CREATE: may unmount a dataset that is mounted */
#define ZB_KF_SYNC 0x02u    /* SNAPSHOT: syncfs first */
#define ZB_KF_EXACT 0x04u   /* PROMOTE: the tree must equal the manifest; RESCUE_DROP: no orphans */
#define ZB_KF_REMOUNT 0x08u /* PROMOTE: put an aborted move back; UNADOPT: mount afterwards */
#define ZB_KF_REMOUNTED 0x10u /* reply of SEAL */
#define ZB_KF_ADOPT                                                                                \
    0x40u /* RECEIVE: a dataset without any mark, unmodified and with from_guid as its             \
           * newest snapshot, is marked with uuid first */
#define ZB_KF_FORWARD                                                                              \
    0x80u /* RECEIVE, ARRANGE: for the candidate of `term`, which it granted to                    \
           * itself, from another member */
#define ZB_KF_COPY                                                                                 \
    0x1000u                /* RECEIVE, ARRANGE: the first copy, from a follower of `term` instead  \
                            * of its leader */
#define ZB_KF_WHOLE 0x100u /* RESCUE: with nothing in common the whole tree is set aside */
#define ZB_KF_MARKS 0x200u /* SNAPS: of the bookmarks */
#define ZB_KF_LIST 0x400u  /* VERIFY: names instead of sums */
#define ZB_KF_NEW 0x800u   /* BEAT: of a new session */
#define ZB_KF_SAME                                                                                 \
    0x2000u /* reply of OBSERVE: as the look with that nonce; nothing else is filled; of REKEY:    \
             * that key is in force */
#define ZB_KF_DUE 0x4000u /* OBSERVE: SNAPSHOT follows if anything was written */
#define ZB_KF_DRY_RUN                                                                              \
    0x20u /* CREATE, UNADOPT: say in text what would change, change nothing; REKEY: only try */

/* The durable record of a service on this node (keeper's own file; protocol.md M1-M7, M12). */
struct zb_record {
    uint64_t granted_term; /* highest term granted; 0 none */
    char granted_to[ZB_NODE_NAME_SIZE];
    uint64_t learned_term; /* highest term known to be established */
    char learned_leader[ZB_NODE_NAME_SIZE];
    uint64_t established_term; /* highest term in which this node led; 0 never */
    uint64_t released_term;    /* term given away by release; 0 none */
    char released_to[ZB_NODE_NAME_SIZE];
    struct zb_set_ref released_set;
    char suspects[ZB_MEMBERS_MAX + 1][ZB_NODE_NAME_SIZE]; /* M3; unused ones empty */
    uint64_t version;                                     /* of the declaration stored by DEFINE */
    struct zb_lineage lineage; /* of the highest term known to be established */
};

enum zb_mount_state { ZB_MOUNT_NONE = 0, ZB_MOUNT_RO = 1, ZB_MOUNT_RW = 2 };

/* A dataset as observed. */
struct zb_kdataset {
    char uuid[ZB_UUID_SIZE]; /* zbaton:uuid, source local; else empty */
    char rel[ZB_REL_SIZE];
    uint64_t guid;          /* of the file system itself */
    uint32_t mount;         /* enum zb_mount_state */
    uint32_t readonly_on;   /* property readonly=on */
    uint32_t marked;        /* zbaton:* local, with this node and this pool's guid */
    uint64_t written_bytes; /* since the newest snapshot; 0 when the content is equal to it */
    uint64_t used_bytes;
    char newest[ZB_SNAP_NAME_SIZE]; /* newest snapshot of any tool, or empty */
    uint64_t newest_guid;
    char token[1024]; /* receive_resume_token or empty */
};

struct zb_ksnap {
    char name[ZB_SNAP_NAME_SIZE];
    uint64_t guid;
    uint64_t createtxg;
};

struct zb_kreq {
    uint64_t id; /* chosen by the engine, never reused in its life, never 0 */
    uint32_t op; /* enum zb_kop */
    uint32_t flags;
    uint32_t timeout_ms;
    uint32_t count;
    uint64_t term;
    uint64_t seq;
    uint64_t base_term;
    uint64_t base_seq;
    int64_t time_s;
    uint64_t guid;
    uint64_t from_guid;
    uint64_t nonce;
    uint64_t version;
    uint64_t target;
    char service[ZB_SERVICE_NAME_SIZE];
    char node[ZB_NODE_NAME_SIZE];
    char rel[ZB_REL_SIZE];
    char uuid[ZB_UUID_SIZE];
    char snap[ZB_SNAP_NAME_SIZE];
    char from_snap[ZB_SNAP_NAME_SIZE];
    char token[1024];
    char *text;                  /* owned, at most 64 KiB; empty is decoded as NULL */
    struct zb_manifest manifest; /* owned */
    struct zb_lineage lineage;
    uint32_t protect_count;
    struct zb_set_id protect[ZB_MEMBERS_MAX + 1];
};

struct zb_krep {
    uint64_t id;
    uint32_t op;
    uint32_t rc; /* enum zb_rc */
    int32_t sys_errno;
    uint32_t more; /* 1: another reply with this id follows; a descriptor is attached */
    uint32_t flags;
    uint32_t running; /* of the runner: 0 stopped, 1 running */
    uint32_t
        mounted_here; /* 1: tree mounted read-write by this keeper's life or continued by M12 */
    uint32_t sealed;  /* 1: not mounted, the term kept by this keeper's life: sealed and not
                         released, or unmounted by somebody */
    uint32_t foreign;
    uint32_t key; /* enum zb_key_state; OBSERVE, REKEY */
    uint32_t count;
    uint32_t elapsed_ms;
    uint64_t bytes;
    uint64_t guid;
    uint64_t pool_guid;
    uint64_t nonce;
    char node[ZB_NODE_NAME_SIZE];
    char boot_id[ZB_UUID_SIZE];
    char root[ZB_DATASET_NAME_SIZE];
    char msg[512];
    char hint[256];
    struct zb_record record;
    char *text;                  /* owned, at most 64 KiB; empty is decoded as NULL */
    struct zb_manifest manifest; /* owned */
    uint32_t datasets_count;
    struct zb_kdataset *datasets; /* owned */
    uint32_t snaps_count;
    struct zb_ksnap *snaps; /* owned */
};

/* Encodes into buf of size bytes; *used is the length. ZB_E_LIMIT when it does not fit. */
enum zb_rc zb_kreq_encode(const struct zb_kreq *req, uint8_t *buf, size_t size, size_t *used,
                          struct zb_err *err) ZB_CHECKED;
enum zb_rc zb_krep_encode(const struct zb_krep *rep, uint8_t *buf, size_t size, size_t *used,
                          struct zb_err *err) ZB_CHECKED;
/* Decodes a whole message: all of it or ZB_E_FORMAT, ZB_E_LIMIT, ZB_E_NOMEM with *out closed.
 * Checks lengths, NUL-terminated strings, valid names (zb_*_valid where the field is not empty) and
 * op. */
enum zb_rc zb_kreq_decode(const uint8_t *buf, size_t size, struct zb_kreq *out,
                          struct zb_err *err) ZB_CHECKED;
enum zb_rc zb_krep_decode(const uint8_t *buf, size_t size, struct zb_krep *out,
                          struct zb_err *err) ZB_CHECKED;
void zb_kreq_close(struct zb_kreq *req);
void zb_krep_close(struct zb_krep *rep);
/* What a resume token is made of: hexadecimal numbers and dashes (dsl_dataset.c,
 * "%u-%llx-%llx-%s"). "" is valid. */
bool zb_resume_token_valid(const char *s);
const char *zb_kop_word(uint32_t op); /* "snapshot" */

#endif
