-- Version 13: changesets and pages are written against models of what was committed before.
-- The models of each link, both directions (0 up, 1 down): whole ones, and what came behind
-- each. name: of the model behind the entry. bytes: the model if it is whole, else what was
-- coded. Two whole ones a direction (some 280 KB each), with 32 KB and 512 entries behind each.
CREATE TABLE wadi_model (
    gateway INTEGER NOT NULL,
    direction INTEGER NOT NULL,
    n INTEGER NOT NULL,
    name BLOB NOT NULL,
    whole INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (gateway, direction, n)
) STRICT;

-- What was judged, decoded, and the page of it, plainly: what is decided needs no model.
ALTER TABLE wadi_prepared ADD COLUMN batch BLOB NOT NULL DEFAULT x'';
ALTER TABLE wadi_prepared ADD COLUMN plain BLOB NOT NULL DEFAULT x'';
