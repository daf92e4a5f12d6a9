-- Version 3: up to where a backup exists: the hub's run and sequence that its copy
-- shows, and when it was whole (seconds since 1970). 0 = there never was one.
INSERT INTO wadi_store (key, value) VALUES ('backup_run', 0), ('backup_seq', 0), ('backup_s', 0);
