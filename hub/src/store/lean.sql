-- Version 6: the same with fewer b-trees to write for each change. The log is kept by
-- lane, as gateways read it; references by what they point to, as the delete rule does.
-- `chain` of a row is the last of its changes where these are a simple chain, so that
-- the next one needs no look at its history; null where that is not known.
ALTER TABLE wadi_row ADD COLUMN chain BLOB;

-- How many quarantined changes there are of a gateway.
CREATE INDEX wadi_quarantine_gateway ON wadi_quarantine (gateway, received_s);

-- Rows that are too large to travel (ROW_BYTES_MAX), for `status`.
CREATE INDEX wadi_row_large ON wadi_row (tbl, row) WHERE length(fields) > 1048576;

DROP INDEX wadi_change_hub_seq;

CREATE TABLE wadi_log_2 (
    lane INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    tbl INTEGER NOT NULL,
    row BLOB NOT NULL,
    gateway INTEGER NOT NULL,
    touched BLOB NOT NULL,
    travels BLOB NOT NULL,
    PRIMARY KEY (lane, seq, tbl, row)
) STRICT, WITHOUT ROWID;
INSERT INTO wadi_log_2 SELECT lane, seq, tbl, row, gateway, touched, travels FROM wadi_log ORDER BY 1, 2, 3, 4;
DROP TABLE wadi_log;
ALTER TABLE wadi_log_2 RENAME TO wadi_log;
CREATE INDEX wadi_log_row ON wadi_log (tbl, row, seq);

CREATE TABLE wadi_reference_2 (
    to_tbl INTEGER NOT NULL,
    to_row BLOB NOT NULL,
    tbl INTEGER NOT NULL,
    row BLOB NOT NULL,
    field INTEGER NOT NULL,
    PRIMARY KEY (to_tbl, to_row, tbl, row, field)
) STRICT, WITHOUT ROWID;
INSERT INTO wadi_reference_2 SELECT to_tbl, to_row, tbl, row, field FROM wadi_reference ORDER BY 1, 2, 3, 4, 5;
DROP TABLE wadi_reference;
ALTER TABLE wadi_reference_2 RENAME TO wadi_reference;
