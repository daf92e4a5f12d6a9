-- Version 11: when a gateway was last asked for rows that parked changes wait for, seconds
-- since 1970; 0 = never.
ALTER TABLE wadi_gateway ADD COLUMN asked_s INTEGER NOT NULL DEFAULT 0;
