-- Version 14: what the links of gateways cost, as they told: by day of the site's calendar
-- (days since 1970-01-01), in bytes of IP both ways together.
CREATE TABLE wadi_spent (
    gateway INTEGER NOT NULL,
    day INTEGER NOT NULL,
    payload INTEGER NOT NULL,
    protocol INTEGER NOT NULL,
    connect INTEGER NOT NULL,
    idle INTEGER NOT NULL,
    others INTEGER NOT NULL,
    PRIMARY KEY (gateway, day)
) STRICT, WITHOUT ROWID;
