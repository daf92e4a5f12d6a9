-- The gateway's own tables, version 1. Typed tables, their triggers and views
-- come with the schema (see install.rs). Whole numbers of 64 bits that are not
-- counts (devices) are stored as the signed number of the same bits.
--
-- What bounds each of them (those of later versions too). Before the disk is full nothing
-- is taken any more ([disk] of the configuration): handhelds hear "busy", SQL programs an error.
--   store, switch, round     one row each; a changeset has at most 4 MiB
--   page_part                one page of at most 16 MiB, while a round is open
--   schema                   one of at most 1 MiB for each that the hub published
--   capture, replaced, group 10,000 lines (CAPTURED_CHANGES_MAX), then writes are refused
--   change                   pending and held: 500,000 (PENDING_CHANGES_MAX), then both doors
--                            refuse; parked: 4,096, in quarantine: 16,384, as the hub counts,
--                            beyond that they are held; committed: until base and a backup of
--                            the hub hold them, and then by [changelog] of the configuration
--   compacted, known         one row for each gap in a run's sequences, whatever their number
--   backup                   1,500 rows
--   row, ref                 one for each row ever known here and for each hidden reference;
--                            a deleted row keeps its id and its version, and a place in the feed
--                            until whoever was silent for less than 90 days has heard of it
--   wanted                   16 rows (WANTED_ROWS_MAX)
--   run                      one for each run in which something was made that came here
--   life                     one for each start in 90 days, and 1,000 at most (LIVES_MAX)
--   hub                      one for each start of the hub that was heard
--   handheld                 those that somebody named, and 64 that wait (WAITING_MAX)

-- Whose store this is. One row.
CREATE TABLE wadi_store (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    site TEXT NOT NULL,
    gateway INTEGER NOT NULL,
    device INTEGER NOT NULL,
    run INTEGER NOT NULL,
    feed_seq INTEGER NOT NULL DEFAULT 0,
    clock BLOB NOT NULL,
    rounds INTEGER NOT NULL DEFAULT 0,
    last_round_s INTEGER,
    lock_waits INTEGER NOT NULL DEFAULT 0,
    last_lock_wait_s INTEGER
) STRICT;

-- The runs of this store, and where the feed stood when each began.
CREATE TABLE wadi_life (
    run INTEGER PRIMARY KEY,
    before INTEGER,
    feed_from INTEGER NOT NULL,
    began_s INTEGER NOT NULL
) STRICT;

-- Every run that a change names, and those on its line as far as known.
-- told: 0 = only its name is known; what its parent is may still be told.
CREATE TABLE wadi_run (
    id INTEGER PRIMARY KEY,
    device INTEGER NOT NULL,
    run INTEGER NOT NULL,
    parent_run INTEGER,
    parent_seq INTEGER,
    label TEXT NOT NULL,
    told INTEGER NOT NULL DEFAULT 1,
    UNIQUE (device, run)
) STRICT;

-- The hub's runs that this gateway has heard: their sequences are one lineage.
CREATE TABLE wadi_hub (run INTEGER PRIMARY KEY) STRICT;

-- Schemas as published, newest last.
CREATE TABLE wadi_schema (
    version INTEGER PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;

-- The changelog: append-only but for what becomes of a change.
-- custody: 0 pending, 1 committed, 2 parked, 3 held, 4 quarantined.
-- laid: 1 in the overlay, 0 no longer, 2 could not be laid (reason says why).
-- brought: 1 if a round of this gateway brought it to the hub.
CREATE TABLE wadi_change (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    tbl INTEGER,
    row BLOB NOT NULL,
    op INTEGER NOT NULL,
    grp INTEGER,
    custody INTEGER NOT NULL DEFAULT 0 CHECK (custody BETWEEN 0 AND 4),
    hub_seq INTEGER,
    brought INTEGER NOT NULL DEFAULT 0,
    laid INTEGER NOT NULL DEFAULT 2,
    reason TEXT,
    taken_s INTEGER NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (run, seq)
) STRICT;
CREATE INDEX wadi_change_open ON wadi_change (custody, id) WHERE custody <> 1;
CREATE INDEX wadi_change_overlay ON wadi_change (tbl, row, id) WHERE laid = 1;
CREATE INDEX wadi_change_pending ON wadi_change (tbl, id) WHERE custody = 0;
CREATE INDEX wadi_change_unlaid ON wadi_change (tbl, row, id) WHERE laid = 2;
CREATE INDEX wadi_change_unfolded ON wadi_change (hub_seq) WHERE laid = 1 AND hub_seq IS NOT NULL;

-- Stretches of sequences that other gateways brought and base covers.
CREATE TABLE wadi_known (
    run INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (run, first)
) STRICT, WITHOUT ROWID;

-- Every row that was ever known here.
-- state (in base): 0 not there, 1 live, 2 dead, 3 left the scope.
-- shown: 0 absent, 1 shown, 2 hidden, 3 shown although deleted.
-- base: the hub's image, only where the typed table does not hold just that.
-- review, followed: of the hub, see page.rs. sight: what handhelds are told, see overlay.rs.
CREATE TABLE wadi_row (
    tbl INTEGER NOT NULL,
    row BLOB NOT NULL,
    state INTEGER NOT NULL DEFAULT 0,
    version INTEGER NOT NULL DEFAULT 0,
    shown INTEGER NOT NULL DEFAULT 0,
    base BLOB,
    review BLOB,
    followed BLOB,
    sight BLOB,
    feed_seq INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (tbl, row)
) STRICT, WITHOUT ROWID;
CREATE INDEX wadi_row_feed ON wadi_row (feed_seq);

-- References that the typed tables do not show: of hidden rows, and those shown as null.
CREATE TABLE wadi_ref (
    tbl INTEGER NOT NULL,
    row BLOB NOT NULL,
    field INTEGER NOT NULL,
    target_tbl INTEGER NOT NULL,
    target_row BLOB NOT NULL,
    PRIMARY KEY (tbl, row, field)
) STRICT, WITHOUT ROWID;
CREATE INDEX wadi_ref_target ON wadi_ref (target_tbl, target_row);

-- The switch of the capture triggers and their limits. One row.
-- full: 0 no, 1 too many changes wait for the hub, 2 the disk is nearly full.
CREATE TABLE wadi_switch (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    capturing INTEGER NOT NULL DEFAULT 1,
    captured INTEGER NOT NULL DEFAULT 0,
    full INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO wadi_switch (one) VALUES (1);

-- What other programs did, until the gateway has put it into the changelog.
-- op: I insert, U update, D delete. old, new: quote() of every field, by comma.
CREATE TABLE wadi_capture (
    n INTEGER PRIMARY KEY,
    tbl INTEGER NOT NULL,
    id TEXT NOT NULL,
    op TEXT NOT NULL,
    grp INTEGER,
    old TEXT,
    new TEXT
) STRICT;
CREATE INDEX wadi_capture_grp ON wadi_capture (grp) WHERE grp IS NOT NULL;

-- The row that an INSERT finds in its place, until its AFTER trigger takes it.
CREATE TABLE wadi_replaced (
    tbl INTEGER NOT NULL,
    id TEXT NOT NULL,
    mark INTEGER NOT NULL,
    old TEXT NOT NULL,
    PRIMARY KEY (tbl, id)
) STRICT, WITHOUT ROWID;

-- Changes that belong together, for other programs, in one transaction:
--   BEGIN; INSERT INTO wadi_group(name) VALUES ('visit'); ... ; DELETE FROM wadi_group; COMMIT;
CREATE TABLE wadi_group (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL
) STRICT;

-- The round: the machine's state, the encoded changeset, the local ids of its changes.
CREATE TABLE wadi_round (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    state BLOB NOT NULL,
    body BLOB NOT NULL,
    changes BLOB NOT NULL
) STRICT;

-- Staged parts of the page of the open round.
CREATE TABLE wadi_page_part (
    part INTEGER PRIMARY KEY,
    bytes BLOB NOT NULL
) STRICT;
