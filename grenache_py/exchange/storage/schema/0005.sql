-- Schema 5. docs/store-schema.rst explains every table, column and index.

-- What both homes signed about trades between them, for receipts. Times rise, and so does the index.
CREATE TABLE evidence (
    number    INTEGER PRIMARY KEY,
    time_ms   INTEGER NOT NULL,
    payload   TEXT NOT NULL,
    path      BLOB NOT NULL,
    leaf      INTEGER NOT NULL,
    size      INTEGER NOT NULL,
    signature BLOB NOT NULL
);
CREATE INDEX evidence_by_time ON evidence (time_ms);
