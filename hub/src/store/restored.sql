-- Version 9: the database was restored from an older copy, and gateways know more.
-- 'stopped_s': since when nothing is numbered, until an operator confirms; 0 = it is.
-- 'resumed_s': when one did last.
INSERT OR IGNORE INTO wadi_store (key, value) VALUES ('stopped_s', 0), ('resumed_s', 0);

-- Gateways that know of a hub run or of sequences that are not here: when and how far
-- they were, and whether they were told to return what they hold.
CREATE TABLE wadi_claim (
    gateway INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    schema INTEGER NOT NULL,
    first_s INTEGER NOT NULL,
    last_s INTEGER NOT NULL,
    told INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Runs of a lost hub by the word of a gateway: up to `fork` they are ours.
CREATE TABLE wadi_lost_run (
    gateway INTEGER NOT NULL,
    run INTEGER NOT NULL,
    fork INTEGER NOT NULL,
    PRIMARY KEY (gateway, run)
) STRICT, WITHOUT ROWID;

-- Returned changes, by the sequences that they had there.
CREATE TABLE wadi_alias (
    tbl INTEGER NOT NULL,
    row BLOB NOT NULL,
    lost_seq INTEGER NOT NULL,
    gateway INTEGER NOT NULL,
    device INTEGER NOT NULL,
    run INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (tbl, row, lost_seq, gateway, device, run, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX wadi_alias_gateway ON wadi_alias (gateway, lost_seq);
