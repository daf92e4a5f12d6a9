-- A handheld's own tables, version 1. Typed tables and their views come with
-- the schema. Devices are stored as the signed number of the same 64 bits.

-- Whose file this is, where it was last seen, and how far its replica is. One row.
-- generation counts the replicas begun from the feed's beginning.
-- writing: 1 while we write into typed tables, which are read-only for others.
-- secret: the private half of the key that this handheld is known by.
CREATE TABLE wadi_file (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    secret BLOB NOT NULL CHECK (length(secret) = 32),
    device INTEGER NOT NULL,
    machine TEXT NOT NULL,
    boot TEXT NOT NULL,
    inode INTEGER NOT NULL,
    schema_version INTEGER NOT NULL DEFAULT 0,
    schema BLOB,
    learnt_s INTEGER NOT NULL DEFAULT 0,
    site TEXT,
    feed_run INTEGER NOT NULL DEFAULT 0,
    feed_seq INTEGER NOT NULL DEFAULT 0,
    generation INTEGER NOT NULL DEFAULT 0,
    cursor_urgent INTEGER NOT NULL DEFAULT 0,
    cursor_routine INTEGER NOT NULL DEFAULT 0,
    last_sync_s INTEGER,
    writing INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Devices that made changes here: the own one, and those that records named.
-- Their ids are derived from key and label, which therefore never change.
-- moved: 1 if the next change needs a new run. seq, rows: what the run gave last.
CREATE TABLE wadi_device (
    device INTEGER PRIMARY KEY,
    label TEXT NOT NULL UNIQUE,
    run INTEGER NOT NULL,
    seq INTEGER NOT NULL DEFAULT 0,
    rows INTEGER NOT NULL DEFAULT 0,
    moved INTEGER NOT NULL DEFAULT 0,
    issued_s INTEGER NOT NULL DEFAULT 0,
    issued_counter INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Their runs. durable: changes of the run that are durable and no longer kept here.
CREATE TABLE wadi_run (
    device INTEGER NOT NULL,
    run INTEGER NOT NULL,
    parent_run INTEGER,
    parent_seq INTEGER,
    durable INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (device, run)
) STRICT, WITHOUT ROWID;

-- The outbox: own changes until they are durable at the hub and shown by the replica.
-- custody: pending, taken (by the gateway), parked, quarantined or durable.
-- shown: 1 once the replica's image of the row counts it; until then it is laid over.
CREATE TABLE wadi_change (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    device INTEGER NOT NULL,
    run INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    tbl TEXT NOT NULL,
    row BLOB NOT NULL,
    custody TEXT NOT NULL DEFAULT 'pending'
        CHECK (custody IN ('pending', 'taken', 'parked', 'quarantined', 'durable')),
    reason TEXT,
    shown INTEGER NOT NULL DEFAULT 0,
    group_last INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (device, run, seq)
) STRICT;
CREATE INDEX wadi_change_custody ON wadi_change (custody, place);
CREATE INDEX wadi_change_laid ON wadi_change (tbl, row, place) WHERE shown = 0;
CREATE INDEX wadi_change_row ON wadi_change (tbl, row);

-- The replica: rows as the village sees them, from the gateway's feed.
CREATE TABLE wadi_row (
    tbl INTEGER NOT NULL,
    row BLOB NOT NULL,
    live INTEGER NOT NULL,
    fields BLOB NOT NULL,
    seen BLOB NOT NULL,
    review BLOB NOT NULL,
    marked BLOB NOT NULL,
    generation INTEGER NOT NULL,
    PRIMARY KEY (tbl, row)
) STRICT, WITHOUT ROWID;

-- Gateways by site: the key that answered at first contact, and when that was.
-- Another key for the same site ends the sync.
CREATE TABLE wadi_site (
    site TEXT PRIMARY KEY,
    key BLOB NOT NULL CHECK (length(key) = 32),
    first_s INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Imports that did not come to their end: how far they are in which file, and a
-- hash of the bytes just before, to know the file again.
CREATE TABLE wadi_import (
    path TEXT PRIMARY KEY,
    bytes INTEGER NOT NULL,
    lines INTEGER NOT NULL,
    tail BLOB NOT NULL
) STRICT;
