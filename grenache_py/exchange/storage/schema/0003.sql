-- Schema 3. Epochs are minutes since 2026, and 22 bits of them end in December 2033: the number of an
-- entry leaves 27 bits to its epoch now, and 36 to its place in the log.

CREATE TABLE log_2 (
    position  INTEGER PRIMARY KEY, -- epoch << 36 | seq
    hash      TEXT NOT NULL,
    payload   TEXT NOT NULL,
    path      BLOB NOT NULL,
    leaf      INTEGER NOT NULL,
    size      INTEGER NOT NULL,
    signature BLOB NOT NULL
);
INSERT INTO log_2
    SELECT (position >> 40) << 36 | (position & 0xFFFFFFFFFF), hash, payload, path, leaf, size, signature
    FROM log ORDER BY position;
DROP TABLE log;
ALTER TABLE log_2 RENAME TO log;
