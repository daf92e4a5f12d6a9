-- Layout 11: changesets and pages are written against models of what was committed before.
-- The way of writing that the hub proposed last: 1 plainly, 2 against models.
ALTER TABLE wadi_store ADD COLUMN codec INTEGER NOT NULL DEFAULT 1;

-- The models of both directions (0 up, 1 down): whole ones, and what came behind each.
-- name: of the model behind the entry. bytes: the model if it is whole, else what was coded.
-- Two whole ones a direction (some 280 KB each), with 32 KB and 512 entries behind each.
CREATE TABLE wadi_model (
    direction INTEGER NOT NULL,
    n INTEGER NOT NULL,
    name BLOB NOT NULL,
    whole INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (direction, n)
) STRICT;
