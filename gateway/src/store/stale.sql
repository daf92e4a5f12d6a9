-- Version 10: the last run of the hub that is lost, which the versions of stale rows are of
-- (`stale` is such a version and 1); 0 = none.
ALTER TABLE wadi_store ADD COLUMN lost_hub INTEGER NOT NULL DEFAULT 0;
