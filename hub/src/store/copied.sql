-- Version 10: devices whose runs go on in two places: two runs of one line that neither
-- precedes. The latest such pair of each, and when it was noticed.
CREATE TABLE wadi_copied (
    device INTEGER PRIMARY KEY,
    label TEXT NOT NULL,
    run INTEGER NOT NULL,
    other INTEGER NOT NULL,
    noticed_s INTEGER NOT NULL
) STRICT;
