-- Version 9: rows for which changes at the hub wait, as it asked last (WANTED_ROWS_MAX at
-- most): what makes them goes first.
CREATE TABLE wadi_wanted (
    tbl INTEGER NOT NULL,
    row BLOB NOT NULL,
    PRIMARY KEY (tbl, row)
) STRICT, WITHOUT ROWID;
