-- What the link cost, in bytes of IP: by day of the site's calendar (days since 1970-01-01),
-- whether in cheap hours, by purpose, and of the payload by table (0 = none). `rounds` counts
-- those that were committed; `told` says that the hub has the day's sums.
CREATE TABLE wadi_spent (
    day INTEGER NOT NULL,
    cheap INTEGER NOT NULL,
    purpose INTEGER NOT NULL,
    tbl INTEGER NOT NULL,
    up INTEGER NOT NULL,
    down INTEGER NOT NULL,
    PRIMARY KEY (day, cheap, purpose, tbl)
) WITHOUT ROWID;
CREATE TABLE wadi_spent_day (
    day INTEGER PRIMARY KEY,
    rounds INTEGER NOT NULL DEFAULT 0,
    told INTEGER NOT NULL DEFAULT 0
);
ALTER TABLE wadi_store ADD COLUMN last_round_up INTEGER NOT NULL DEFAULT 0;
ALTER TABLE wadi_store ADD COLUMN last_round_down INTEGER NOT NULL DEFAULT 0;
