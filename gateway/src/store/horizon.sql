-- Version 8: deleted rows leave the feed, see horizon.rs. feed_floor: up to where, by the
-- run feed_floor_run when it began; null = never yet.
ALTER TABLE wadi_store ADD COLUMN feed_floor INTEGER NOT NULL DEFAULT 0;
ALTER TABLE wadi_store ADD COLUMN feed_floor_run INTEGER;

-- The deleted rows that the feed still names.
CREATE INDEX wadi_row_gone ON wadi_row (feed_seq)
    WHERE state >= 2 AND shown = 0 AND base IS NULL AND sight IS NULL AND feed_seq > 0;
