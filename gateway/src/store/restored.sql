-- The hub was restored from an older backup. alias: the sequence that a change had at
-- the hub that is lost, while it is returned. stale: the row's base is that hub's.
ALTER TABLE wadi_change ADD COLUMN alias INTEGER;
CREATE INDEX wadi_change_alias ON wadi_change (tbl, row) WHERE alias IS NOT NULL;
ALTER TABLE wadi_row ADD COLUMN stale INTEGER NOT NULL DEFAULT 0;
CREATE INDEX wadi_row_stale ON wadi_row (tbl, row) WHERE stale;
-- The lost hub's runs that were heard here, and the sequence up to which it and the
-- restored one are one.
CREATE TABLE wadi_lost (run INTEGER PRIMARY KEY, fork INTEGER NOT NULL) STRICT;
