-- Schema 2. docs/store-schema.rst explains every table, column and index.

-- Fills that traded here and whose answers are forgotten: what is asked about them is not answered
-- with "late", which would deny the trade. number counts up and is the order of forgetting.
CREATE TABLE traded_fills (
    number  INTEGER PRIMARY KEY,
    fill_id BLOB NOT NULL,
    late_ms INTEGER NOT NULL
);

-- Lots that the orders before this one, which it replaced, had traded or in doubt: the whole
-- quantity that a client names by its client_order_id includes them.
ALTER TABLE orders ADD COLUMN used_before INTEGER NOT NULL DEFAULT 0;
