-- Which line of the hub's rounds this store is on, as the hub counts them for its number.
ALTER TABLE wadi_store ADD COLUMN line INTEGER NOT NULL DEFAULT 0;
