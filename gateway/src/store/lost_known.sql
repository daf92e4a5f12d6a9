-- Version 13: stretches that the lost hub had called known, until the one in its place has told
-- everything: what is stale still counts them.
CREATE TABLE wadi_lost_known (
    run INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (run, first)
) STRICT, WITHOUT ROWID;
