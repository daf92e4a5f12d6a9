-- Gateways beside the one that brought a change which waits or is aside: they offered it
-- too, and are told as well when it is taken.
CREATE TABLE wadi_also (
    device INTEGER NOT NULL,
    run INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    gateway INTEGER NOT NULL,
    PRIMARY KEY (device, run, seq, gateway)
) STRICT, WITHOUT ROWID;
