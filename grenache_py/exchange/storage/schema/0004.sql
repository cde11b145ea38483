-- Schema 4. docs/store-schema.rst explains every table, column and index.

-- What own orders traded, each trade once for each own order in it, by account. It says by itself
-- what its client is told, so that it outlives the order and the trade. Shelves are number >> 10.
CREATE TABLE executions (
    number          INTEGER PRIMARY KEY,
    account         TEXT NOT NULL,
    seq             INTEGER NOT NULL,
    trade_id        TEXT NOT NULL,
    order_id        TEXT NOT NULL,
    client_order_id TEXT NOT NULL,
    market          TEXT NOT NULL,
    side            TEXT NOT NULL,
    price_ticks     INTEGER NOT NULL,
    quantity_lots   INTEGER NOT NULL,
    role            TEXT NOT NULL,
    counterparty    TEXT NOT NULL,
    time_ms         INTEGER NOT NULL
);
INSERT INTO executions
    SELECT row_number() OVER learned, account, row_number() OVER (PARTITION BY account ORDER BY number, role),
        trade_id, order_id, client_order_id, market, side, price_ticks, quantity_lots, role, counterparty,
        time_ms
    FROM (
        SELECT t.number, o.account, t.trade_id, o.order_id, o.client_order_id, t.market, o.side,
            t.price_ticks, t.quantity_lots, 'maker' AS role, t.taker_home AS counterparty, t.time_ms
        FROM trades AS t JOIN orders AS o ON o.position = t.maker_position
        UNION ALL
        SELECT t.number, o.account, t.trade_id, o.order_id, o.client_order_id, t.market, o.side,
            t.price_ticks, t.quantity_lots, 'taker', t.maker_home, t.time_ms
        FROM trades AS t JOIN orders AS o ON o.position = t.taker_position
    )
    WINDOW learned AS (ORDER BY number, role);
CREATE UNIQUE INDEX executions_by_account ON executions (number >> 10, account, seq);

-- The newest number of each account's executions; they are forgotten some day, as events are.
ALTER TABLE accounts ADD COLUMN execution_seq INTEGER NOT NULL DEFAULT 0;
UPDATE accounts SET execution_seq =
    (SELECT coalesce(max(seq), 0) FROM executions WHERE executions.account = accounts.account);
