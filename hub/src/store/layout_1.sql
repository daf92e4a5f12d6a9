-- A fixture of the tests: the tables as version 1 had them. Never changed.
-- The hub's own tables, version 1. 64-bit ids are stored as SQLite's signed integers;
-- row ids as 16 bytes; `body` and other BLOBs are postcard of the protocol's types.

-- Single values: 'head' (the hub sequence), 'device' (the operators' device).
CREATE TABLE wadi_store (
    key TEXT PRIMARY KEY NOT NULL,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The hub's line of runs: each begins behind `start`, the last sequence of the one before.
CREATE TABLE wadi_hub_run (
    number INTEGER PRIMARY KEY,
    run INTEGER NOT NULL UNIQUE,
    parent INTEGER NOT NULL,
    start INTEGER NOT NULL,
    started_s INTEGER NOT NULL
) STRICT;

CREATE TABLE wadi_schema (
    version INTEGER PRIMARY KEY,
    published_s INTEGER NOT NULL,
    body BLOB NOT NULL,
    source TEXT NOT NULL
) STRICT;

-- Enrolled gateways. `machine` is the state of the round's hub end.
CREATE TABLE wadi_gateway (
    number INTEGER PRIMARY KEY,
    site TEXT NOT NULL UNIQUE,
    added_s INTEGER NOT NULL,
    heard_s INTEGER NOT NULL DEFAULT 0,
    rounds INTEGER NOT NULL DEFAULT 0,
    round INTEGER NOT NULL DEFAULT 0,
    schema INTEGER NOT NULL DEFAULT 0,
    cursor_urgent INTEGER NOT NULL DEFAULT 0,
    cursor_routine INTEGER NOT NULL DEFAULT 0,
    machine BLOB NOT NULL
) STRICT;

-- Parts of a changeset that arrived, until its round is decided.
CREATE TABLE wadi_stage (
    gateway INTEGER NOT NULL,
    part INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (gateway, part)
) STRICT, WITHOUT ROWID;

-- The prepared round of a gateway, until it is decided: its verdicts and its page.
CREATE TABLE wadi_prepared (
    gateway INTEGER PRIMARY KEY,
    verdicts BLOB NOT NULL,
    page BLOB NOT NULL,
    notices_to INTEGER NOT NULL
) STRICT;

-- Outcomes that came later than their round, until a page that carried them is committed.
CREATE TABLE wadi_notice (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    gateway INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX wadi_notice_gateway ON wadi_notice (gateway, number);

-- Rows outside its own scope that a gateway holds, because rows of its scope reference them.
CREATE TABLE wadi_presence (
    gateway INTEGER NOT NULL,
    tbl INTEGER NOT NULL,
    row BLOB NOT NULL,
    PRIMARY KEY (gateway, tbl, row)
) STRICT, WITHOUT ROWID;

-- Every device's runs.
CREATE TABLE wadi_run (
    device INTEGER NOT NULL,
    run INTEGER NOT NULL,
    parent_run INTEGER,
    parent_seq INTEGER,
    label TEXT NOT NULL,
    PRIMARY KEY (device, run)
) STRICT, WITHOUT ROWID;

-- The changelog. hub_seq is null while the change is parked. `body` is the change as
-- it was made; `typed` its numbered form where that differs.
CREATE TABLE wadi_change (
    number INTEGER PRIMARY KEY,
    device INTEGER NOT NULL,
    run INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    hub_seq INTEGER,
    gateway INTEGER NOT NULL,
    round INTEGER NOT NULL,
    received_s INTEGER NOT NULL,
    seen_seq INTEGER NOT NULL,
    closure_seqs BLOB NOT NULL,
    tbl INTEGER NOT NULL,
    row BLOB NOT NULL,
    body BLOB NOT NULL,
    typed BLOB,
    UNIQUE (device, run, seq)
) STRICT;
CREATE UNIQUE INDEX wadi_change_hub_seq ON wadi_change (hub_seq) WHERE hub_seq IS NOT NULL;
CREATE INDEX wadi_change_row ON wadi_change (tbl, row, hub_seq);
CREATE INDEX wadi_change_parked ON wadi_change (number) WHERE hub_seq IS NULL;

-- Changes that will never be applied, whole, with the reason.
CREATE TABLE wadi_quarantine (
    device INTEGER NOT NULL,
    run INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    gateway INTEGER NOT NULL,
    round INTEGER NOT NULL,
    received_s INTEGER NOT NULL,
    reason TEXT NOT NULL,
    tbl TEXT NOT NULL,
    row BLOB NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (device, run, seq)
) STRICT;
CREATE INDEX wadi_quarantine_row ON wadi_quarantine (row);

-- Every row that ever was. `deleted` by its own candidates, `dead` by the delete rule,
-- `kept` where the rule took it out of the deleted ones. `fields` holds its values
-- before set-null; `review` and `twins` the fields that wait for a person.
CREATE TABLE wadi_row (
    tbl INTEGER NOT NULL,
    row BLOB NOT NULL,
    site INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    dead INTEGER NOT NULL,
    kept INTEGER NOT NULL,
    fields BLOB NOT NULL,
    review BLOB NOT NULL,
    twins BLOB NOT NULL,
    PRIMARY KEY (tbl, row)
) STRICT, WITHOUT ROWID;

-- References of every row, dead ones too, for the delete rule.
CREATE TABLE wadi_reference (
    tbl INTEGER NOT NULL,
    row BLOB NOT NULL,
    field INTEGER NOT NULL,
    to_tbl INTEGER NOT NULL,
    to_row BLOB NOT NULL,
    PRIMARY KEY (tbl, row, field)
) STRICT, WITHOUT ROWID;
CREATE INDEX wadi_reference_to ON wadi_reference (to_tbl, to_row);

-- Values of unique fields of live rows.
CREATE TABLE wadi_unique (
    tbl INTEGER NOT NULL,
    field INTEGER NOT NULL,
    value BLOB NOT NULL,
    row BLOB NOT NULL,
    PRIMARY KEY (tbl, field, value, row)
) STRICT, WITHOUT ROWID;

-- Candidates of the fields that have several, or wait for a person (0 = existence).
CREATE TABLE wadi_candidate (
    tbl INTEGER NOT NULL,
    row BLOB NOT NULL,
    field INTEGER NOT NULL,
    device INTEGER NOT NULL,
    run INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    value BLOB NOT NULL,
    winner INTEGER NOT NULL,
    review INTEGER NOT NULL,
    PRIMARY KEY (tbl, row, field, device, run, seq)
) STRICT, WITHOUT ROWID;

-- Cases for people; a case keeps its number.
CREATE TABLE wadi_review (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    tbl INTEGER NOT NULL,
    row BLOB NOT NULL,
    field INTEGER NOT NULL,
    opened_seq INTEGER NOT NULL,
    opened_s INTEGER NOT NULL,
    closed_seq INTEGER,
    closed_s INTEGER
) STRICT;
CREATE UNIQUE INDEX wadi_review_open ON wadi_review (tbl, row, field) WHERE closed_seq IS NULL;

-- What gateways must hear of: the fields that a sequence touched in a row, and those
-- of them that travel even to the gateway that brought the change.
CREATE TABLE wadi_log (
    seq INTEGER NOT NULL,
    tbl INTEGER NOT NULL,
    row BLOB NOT NULL,
    lane INTEGER NOT NULL,
    gateway INTEGER NOT NULL,
    touched BLOB NOT NULL,
    travels BLOB NOT NULL,
    PRIMARY KEY (seq, tbl, row)
) STRICT, WITHOUT ROWID;
CREATE INDEX wadi_log_row ON wadi_log (tbl, row, seq);
CREATE INDEX wadi_log_lane ON wadi_log (lane, seq);
