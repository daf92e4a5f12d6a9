-- Version 2: enrolments. `enrolment` counts those of a gateway (0: none yet), `issue`
-- the certificates of the newest; `public_key` is what they are made for. `renewal` is
-- the next certificate until the gateway has it. Nothing here is secret.
ALTER TABLE wadi_gateway ADD COLUMN enrolment INTEGER NOT NULL DEFAULT 0;
ALTER TABLE wadi_gateway ADD COLUMN issue INTEGER NOT NULL DEFAULT 0;
ALTER TABLE wadi_gateway ADD COLUMN enrolled_s INTEGER NOT NULL DEFAULT 0;
ALTER TABLE wadi_gateway ADD COLUMN until_s INTEGER NOT NULL DEFAULT 0;
ALTER TABLE wadi_gateway ADD COLUMN public_key BLOB NOT NULL DEFAULT x'';
ALTER TABLE wadi_gateway ADD COLUMN revoked_s INTEGER;
ALTER TABLE wadi_gateway ADD COLUMN renewal BLOB;
ALTER TABLE wadi_gateway ADD COLUMN renewal_until_s INTEGER NOT NULL DEFAULT 0;

-- Every certificate that was ever made for a gateway, for the list of revoked ones.
CREATE TABLE wadi_certificate (
    gateway INTEGER NOT NULL,
    enrolment INTEGER NOT NULL,
    issue INTEGER NOT NULL,
    until_s INTEGER NOT NULL,
    PRIMARY KEY (gateway, enrolment, issue)
) STRICT, WITHOUT ROWID;
