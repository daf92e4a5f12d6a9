-- The certificate that the hub renewed over the sync, in DER; null until it did.
ALTER TABLE wadi_store ADD COLUMN certificate BLOB;
