-- Schema 7. docs/store-schema.rst explains every table, column and index.

-- How far the journal beside this file is folded into these tables; no row: there is no journal, or
-- all of it is here.
CREATE TABLE journal (
    id     INTEGER PRIMARY KEY, -- random; the journal's header has it too
    number INTEGER NOT NULL,    -- of the newest batch that is in the tables
    offset INTEGER NOT NULL     -- where in the journal the next one begins
);
