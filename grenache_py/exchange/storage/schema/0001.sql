-- Schema 1. docs/store-schema.rst explains every table, column and index.
--
-- Each table has an explicit INTEGER PRIMARY KEY that only grows: new rows go to the last page,
-- "the oldest" and "the newest" need no index, and VACUUM INTO (backup) keeps the numbers.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;

-- position = epoch << 40 | seq
CREATE TABLE log (
    position  INTEGER PRIMARY KEY,
    hash      TEXT NOT NULL,
    payload   TEXT NOT NULL,
    path      BLOB NOT NULL,
    leaf      INTEGER NOT NULL,
    size      INTEGER NOT NULL,
    signature BLOB NOT NULL
);

-- position = time_ms << 20 | counter: the home's hybrid clock never repeats, so it names the order
-- as well as its id does, and a change of state touches no index but those of its own columns.
--
-- shelf counts up, once for about a thousand new orders. Ids and names come at random: an index of
-- them alone would dirty a page somewhere for every order. Those below begin with the shelf, so new
-- keys go to its few pages, and who looks for an id looks through the shelves, the newest first.
CREATE TABLE orders (
    position        INTEGER PRIMARY KEY,
    shelf           INTEGER NOT NULL,
    order_id        TEXT NOT NULL,
    market          TEXT NOT NULL,
    side            TEXT NOT NULL,
    type            TEXT NOT NULL,
    time_in_force   TEXT NOT NULL,
    price_ticks     INTEGER NOT NULL,
    stop_ticks      INTEGER NOT NULL,
    quantity_lots   INTEGER NOT NULL,
    post_only       INTEGER NOT NULL,
    expires_ms      INTEGER NOT NULL,
    time_ms         INTEGER NOT NULL,
    counter         INTEGER NOT NULL,
    key_ms          INTEGER NOT NULL,
    key_counter     INTEGER NOT NULL,
    account         TEXT NOT NULL,
    client_order_id TEXT NOT NULL,
    self_trade      TEXT NOT NULL,
    open            INTEGER NOT NULL,
    reserved        INTEGER NOT NULL,
    filled          INTEGER NOT NULL,
    total_lots      INTEGER NOT NULL,
    version         INTEGER NOT NULL,
    reason          TEXT NOT NULL,
    value           TEXT NOT NULL, -- ticks x lots may exceed 64 bits
    triggered       INTEGER NOT NULL,
    fill_seq        INTEGER NOT NULL,
    order_seq       INTEGER NOT NULL,
    state_seq       INTEGER NOT NULL,
    live            INTEGER NOT NULL,
    updated_ms      INTEGER NOT NULL,
    CONSTRAINT conservation CHECK (
        open >= 0 AND reserved >= 0 AND filled >= 0 AND open + reserved + filled <= quantity_lots
    )
);
CREATE INDEX orders_by_id ON orders (shelf, substr(order_id, 1, 8));
CREATE INDEX orders_by_account ON orders (shelf, account);
CREATE INDEX orders_by_client_id ON orders (shelf, client_order_id, account)
    WHERE client_order_id <> '';
CREATE INDEX orders_live ON orders (position) WHERE live = 1;
CREATE INDEX orders_closed ON orders (updated_ms) WHERE live = 0;

-- The newest event number of every account, kept apart because old events are deleted
-- and numbers must never be used twice.
CREATE TABLE accounts (
    account   TEXT PRIMARY KEY,
    event_seq INTEGER NOT NULL
) WITHOUT ROWID;

-- position: of the order. Shelves are number >> 10.
CREATE TABLE order_events (
    number   INTEGER PRIMARY KEY,
    position INTEGER NOT NULL,
    account  TEXT NOT NULL,
    seq      INTEGER NOT NULL,
    order_id TEXT NOT NULL,
    open     INTEGER NOT NULL,
    reserved INTEGER NOT NULL,
    filled   INTEGER NOT NULL,
    version  INTEGER NOT NULL,
    reason   TEXT NOT NULL,
    value    TEXT NOT NULL,
    time_ms  INTEGER NOT NULL
);
CREATE UNIQUE INDEX order_events_by_account ON order_events (number >> 10, account, seq);

-- maker_position, taker_position: of this home's own orders. Shelves are number >> 10. Whoever tells
-- of a trade tells its time, so that is the first part of what makes it unique: it keeps new keys
-- together.
CREATE TABLE trades (
    number         INTEGER PRIMARY KEY,
    maker_position INTEGER,
    taker_position INTEGER,
    trade_id       TEXT NOT NULL,
    market         TEXT NOT NULL,
    price_ticks    INTEGER NOT NULL,
    quantity_lots  INTEGER NOT NULL,
    side           TEXT NOT NULL,
    maker_order    TEXT NOT NULL,
    taker_order    TEXT NOT NULL,
    maker_home     TEXT NOT NULL,
    taker_home     TEXT NOT NULL,
    time_ms        INTEGER NOT NULL,
    UNIQUE (time_ms, trade_id)
);
CREATE INDEX trades_by_market ON trades (market);
CREATE INDEX trades_by_id ON trades (number >> 10, substr(trade_id, 1, 8));
CREATE INDEX trades_by_maker ON trades (maker_position) WHERE maker_position IS NOT NULL;
CREATE INDEX trades_by_taker ON trades (taker_position) WHERE taker_position IS NOT NULL;

-- The trades of one minute, summed up as they come, so that neither a candle nor the volume of a
-- day reads a million trades. time_ms is the minute's begin; a trade that another home tells of
-- late goes into the minute it was made in.
CREATE TABLE bars (
    number   INTEGER PRIMARY KEY,
    market   TEXT NOT NULL,
    time_ms  INTEGER NOT NULL,
    first_ms INTEGER NOT NULL,
    last_ms  INTEGER NOT NULL,
    open     INTEGER NOT NULL,
    high     INTEGER NOT NULL,
    low      INTEGER NOT NULL,
    close    INTEGER NOT NULL,
    volume   INTEGER NOT NULL,
    trades   INTEGER NOT NULL
);
CREATE UNIQUE INDEX bars_by_market ON bars (market, time_ms);
CREATE TRIGGER trades_into_bars AFTER INSERT ON trades BEGIN
    INSERT INTO bars
        (market, time_ms, first_ms, last_ms, open, high, low, close, volume, trades)
    VALUES
        (new.market, new.time_ms / 60000 * 60000, new.time_ms, new.time_ms, new.price_ticks,
         new.price_ticks, new.price_ticks, new.price_ticks, new.quantity_lots, 1)
    ON CONFLICT (market, time_ms) DO UPDATE SET
        open = CASE WHEN excluded.first_ms < first_ms THEN excluded.open ELSE open END,
        close = CASE WHEN excluded.last_ms >= last_ms THEN excluded.close ELSE close END,
        first_ms = min(first_ms, excluded.first_ms),
        last_ms = max(last_ms, excluded.last_ms),
        high = max(high, excluded.high),
        low = min(low, excluded.low),
        volume = volume + excluded.volume,
        trades = trades + 1;
END;

CREATE TABLE intents (
    number      INTEGER PRIMARY KEY,
    fill_id     TEXT NOT NULL UNIQUE,
    taker_order TEXT NOT NULL,
    maker_home  TEXT NOT NULL,
    lots        INTEGER NOT NULL,
    deadline_ms INTEGER NOT NULL,
    settled     INTEGER NOT NULL,
    done        INTEGER NOT NULL,
    payload     TEXT NOT NULL,
    path        BLOB NOT NULL,
    leaf        INTEGER NOT NULL,
    size        INTEGER NOT NULL,
    signature   BLOB NOT NULL
);
CREATE INDEX intents_open ON intents (number) WHERE done = 0;
CREATE INDEX intents_done ON intents (deadline_ms) WHERE done = 1;

CREATE TABLE answers (
    number     INTEGER PRIMARY KEY,
    fill_id    TEXT NOT NULL UNIQUE,
    taker_home TEXT NOT NULL,
    keep_ms    INTEGER NOT NULL,
    unsettled  INTEGER NOT NULL,
    payload    TEXT NOT NULL,
    path       BLOB NOT NULL,
    leaf       INTEGER NOT NULL,
    size       INTEGER NOT NULL,
    signature  BLOB NOT NULL
);

CREATE TABLE origins (
    origin       TEXT PRIMARY KEY,
    epoch        INTEGER NOT NULL,
    seq          INTEGER NOT NULL,
    hash         TEXT NOT NULL,
    time_ms      INTEGER NOT NULL,
    time_counter INTEGER NOT NULL,
    lease_ms     INTEGER NOT NULL,
    frozen       TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE records (
    number          INTEGER PRIMARY KEY,
    order_id        TEXT NOT NULL UNIQUE,
    origin          TEXT NOT NULL,
    version         INTEGER NOT NULL,
    order_payload   TEXT NOT NULL,
    order_path      BLOB NOT NULL,
    order_leaf      INTEGER NOT NULL,
    order_size      INTEGER NOT NULL,
    order_signature BLOB NOT NULL,
    state_payload   TEXT NOT NULL,
    state_path      BLOB NOT NULL,
    state_leaf      INTEGER NOT NULL,
    state_size      INTEGER NOT NULL,
    state_signature BLOB NOT NULL
);
