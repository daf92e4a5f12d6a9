-- Version 12: rows move from site to site.
-- The log entry at which a row came to the site that it is of now; 0 = it never moved.
ALTER TABLE wadi_row ADD COLUMN moved_seq INTEGER NOT NULL DEFAULT 0;
