-- The hub's own tables, what people want to see of each gateway: when its last round
-- was committed, how often and why it was refused since it was enrolled.
ALTER TABLE wadi_gateway ADD COLUMN round_s INTEGER NOT NULL DEFAULT 0;
ALTER TABLE wadi_gateway ADD COLUMN refusals INTEGER NOT NULL DEFAULT 0;
ALTER TABLE wadi_gateway ADD COLUMN refused_s INTEGER NOT NULL DEFAULT 0;
ALTER TABLE wadi_gateway ADD COLUMN refusal TEXT NOT NULL DEFAULT '';

-- So that `status` counts what is rare without reading what is not.
CREATE INDEX wadi_row_kept ON wadi_row (tbl) WHERE kept;
CREATE INDEX wadi_change_operator ON wadi_change (number) WHERE gateway = 0;
