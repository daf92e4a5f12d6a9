-- Version 2: changes that came under the dot of another change, whole. `content` is
-- the hash of the change as it was made; `first_*` say who brought the one that has the dot.
CREATE TABLE wadi_clash (
    number INTEGER PRIMARY KEY,
    device INTEGER NOT NULL,
    run INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    content BLOB NOT NULL,
    gateway INTEGER NOT NULL,
    round INTEGER NOT NULL,
    received_s INTEGER NOT NULL,
    first_gateway INTEGER NOT NULL,
    first_round INTEGER NOT NULL,
    first_s INTEGER NOT NULL,
    reason TEXT NOT NULL,
    tbl TEXT NOT NULL,
    row BLOB NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (device, run, seq, content)
) STRICT;
CREATE INDEX wadi_clash_gateway ON wadi_clash (gateway);
CREATE INDEX wadi_clash_row ON wadi_clash (row);
