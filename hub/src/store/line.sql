-- Version 8: lines of rounds. A gateway that was restored, cloned or replaced begins
-- another; `line` counts those that ended, `home_from` is the hub sequence at which the
-- present one began: what came before is not in its base, whoever brought it; `blank` if
-- it began with an empty box, which holds nothing that it would have to let go of. `any_line`
-- is 1 by an enrolment until its first round: whoever has its secrets may begin one;
-- 2 since the gateway was told to begin anew.
ALTER TABLE wadi_gateway ADD COLUMN line INTEGER NOT NULL DEFAULT 0;
ALTER TABLE wadi_gateway ADD COLUMN home_from INTEGER NOT NULL DEFAULT 0;
ALTER TABLE wadi_gateway ADD COLUMN blank INTEGER NOT NULL DEFAULT 0;
ALTER TABLE wadi_gateway ADD COLUMN any_line INTEGER NOT NULL DEFAULT 0;

-- The box that came last with another history than the hub's, until it is taken: the
-- chain hash that it names, its run, how far it is, and since when it comes.
CREATE TABLE wadi_other_line (
    gateway INTEGER PRIMARY KEY,
    parent BLOB NOT NULL,
    run INTEGER NOT NULL,
    urgent INTEGER NOT NULL,
    routine INTEGER NOT NULL,
    first_s INTEGER NOT NULL,
    last_s INTEGER NOT NULL
) STRICT;

-- Parked changes whose gateway's line has ended meanwhile: they travel there too.
ALTER TABLE wadi_change ADD COLUMN stray INTEGER NOT NULL DEFAULT 0;

-- Whether a gateway holds the row: 1 it does, 0 no longer, 2 not known, since it began
-- another line of rounds.
ALTER TABLE wadi_presence ADD COLUMN held INTEGER NOT NULL DEFAULT 1;
