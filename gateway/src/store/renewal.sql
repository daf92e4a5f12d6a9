-- Of the renewed certificate: the enrolment that it belongs to, and when it ends.
ALTER TABLE wadi_store ADD COLUMN certificate_of INTEGER;
ALTER TABLE wadi_store ADD COLUMN certificate_until_s INTEGER;
