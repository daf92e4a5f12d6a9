-- Version 7: compaction, see compact.rs. backup_seq: up to which hub sequence a backup
-- of the hub exists, as it told last; 0 = none that we heard of.
ALTER TABLE wadi_store ADD COLUMN backup_seq INTEGER NOT NULL DEFAULT 0;

-- Backup watermarks as they were heard, four a day and 1,500 at most: what lies behind an
-- old one is in every backup that was made since.
CREATE TABLE wadi_backup (
    seq INTEGER PRIMARY KEY,
    heard_s INTEGER NOT NULL
) STRICT;

-- Stretches of sequences that the changelog held and has let go: committed, folded into
-- base, in a backup of the hub. Their fate is "durable" for ever.
CREATE TABLE wadi_compacted (
    run INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (run, first)
) STRICT, WITHOUT ROWID;
