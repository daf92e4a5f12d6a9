-- Version 7: rulings, which operators make about one change each. `subject_*` is the
-- change that one is about; `body` the whole. `waits` while it repairs a change that is
-- applied in an older form, and references a row that has not come.
CREATE TABLE wadi_ruling (
    device INTEGER NOT NULL,
    run INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    subject_device INTEGER NOT NULL,
    subject_run INTEGER NOT NULL,
    subject_seq INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (device, run, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX wadi_ruling_subject ON wadi_ruling (subject_device, subject_run, subject_seq);

-- Changes that left quarantine for the changelog: why they had been there, until when,
-- and whether a repair of them that counts still waits for a row that it references.
CREATE TABLE wadi_released (
    device INTEGER NOT NULL,
    run INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    reason TEXT NOT NULL,
    released_s INTEGER NOT NULL,
    waits INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (device, run, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX wadi_released_waits ON wadi_released (device) WHERE waits;

-- `typed` is then the form that an operator gave it: its gateway does not lay what it has.
ALTER TABLE wadi_change ADD COLUMN repaired INTEGER NOT NULL DEFAULT 0;

-- Gateways that offered a change that waits or is quarantined after another had brought
-- it: they are told too when it is taken or rejected.
CREATE TABLE wadi_also (
    device INTEGER NOT NULL,
    run INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    gateway INTEGER NOT NULL,
    PRIMARY KEY (device, run, seq, gateway)
) STRICT, WITHOUT ROWID;

-- What the writer had seen, in our sequences at arrival; why it is never to be applied.
ALTER TABLE wadi_quarantine ADD COLUMN seen_seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE wadi_quarantine ADD COLUMN closure_seqs BLOB NOT NULL DEFAULT x'00';
ALTER TABLE wadi_quarantine ADD COLUMN rejected TEXT;
ALTER TABLE wadi_clash ADD COLUMN rejected TEXT;

-- How many there are of a gateway that nobody has rejected.
DROP INDEX wadi_quarantine_gateway;
CREATE INDEX wadi_quarantine_gateway ON wadi_quarantine (gateway, received_s) WHERE rejected IS NULL;
