-- Version 3: the handhelds that have knocked or were named, by public key.
-- name: the label of its own device. state: waiting for somebody to allow it,
-- allowed, or revoked. last_s: when it was last there, null = never.
-- refused: how often it was sent away; the last ten minutes may not be counted yet.
CREATE TABLE wadi_handheld (
    key BLOB PRIMARY KEY CHECK (length(key) = 32),
    name TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'allowed', 'revoked')),
    first_s INTEGER NOT NULL,
    last_s INTEGER,
    refused INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX wadi_handheld_state ON wadi_handheld (state);
