-- Schema 1. docs/store-schema.rst explains every table and column; docs/high-availability.rst what differs here.
--
-- The tables are those of SQLite's schema 5, without shelves: a page that is changed here and there costs
-- PostgreSQL far less. Text is collated by bytes, so that no index depends on the server's locale.

CREATE TABLE version (
    schema integer NOT NULL
);

-- One row. Each transaction reads it FOR SHARE; only a compare-and-swap raises the number.
CREATE TABLE term (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    number   bigint NOT NULL DEFAULT 0,
    holder   text NOT NULL DEFAULT '', -- who has it, for people
    boot     text NOT NULL DEFAULT '', -- that process
    since_ms bigint NOT NULL DEFAULT 0,
    home     text NOT NULL DEFAULT '', -- the identity whose store this is
    cluster  text NOT NULL DEFAULT ''  -- the server's own identity: a dump that was restored has another one
);
INSERT INTO term DEFAULT VALUES;

CREATE FUNCTION hold_term(wanted bigint, process text, alone boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM term WHERE number = wanted AND boot = process FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'term % is over', wanted USING ERRCODE = 'GX001';
    END IF;
    IF NOT alone AND (current_setting('synchronous_standby_names') = ''
            OR current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')) THEN
        RAISE EXCEPTION 'commits wait for no standby any more' USING ERRCODE = 'GX002';
    END IF;
END $$;

CREATE TABLE meta (
    name  text COLLATE "C" PRIMARY KEY,
    value bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE log (
    position  bigint PRIMARY KEY, -- epoch << 36 | seq
    hash      text NOT NULL,
    payload   text NOT NULL,
    path      bytea NOT NULL,
    leaf      integer NOT NULL,
    size      integer NOT NULL,
    signature bytea NOT NULL
);

CREATE TABLE orders (
    position        bigint PRIMARY KEY, -- time_ms << 20 | counter
    order_id        text COLLATE "C" NOT NULL,
    market          text COLLATE "C" NOT NULL,
    side            text NOT NULL,
    type            text NOT NULL,
    time_in_force   text NOT NULL,
    price_ticks     bigint NOT NULL,
    stop_ticks      bigint NOT NULL,
    quantity_lots   bigint NOT NULL,
    post_only       integer NOT NULL,
    expires_ms      bigint NOT NULL,
    time_ms         bigint NOT NULL,
    counter         integer NOT NULL,
    key_ms          bigint NOT NULL,
    key_counter     integer NOT NULL,
    account         text COLLATE "C" NOT NULL,
    client_order_id text COLLATE "C" NOT NULL,
    self_trade      text NOT NULL,
    open            bigint NOT NULL,
    reserved        bigint NOT NULL,
    filled          bigint NOT NULL,
    total_lots      bigint NOT NULL,
    version         bigint NOT NULL,
    reason          text NOT NULL,
    value           text NOT NULL, -- ticks x lots may exceed 64 bits
    triggered       integer NOT NULL,
    fill_seq        bigint NOT NULL,
    order_seq       bigint NOT NULL,
    state_seq       bigint NOT NULL,
    live            integer NOT NULL,
    updated_ms      bigint NOT NULL,
    used_before     bigint NOT NULL,
    CONSTRAINT conservation CHECK (
        open >= 0 AND reserved >= 0 AND filled >= 0 AND open + reserved + filled <= quantity_lots
    )
) WITH (fillfactor = 80);
CREATE INDEX orders_by_id ON orders (order_id);
CREATE INDEX orders_by_account ON orders (account, position);
CREATE INDEX orders_by_client_id ON orders (account, client_order_id, position) WHERE client_order_id <> '';
CREATE INDEX orders_live ON orders (position) WHERE live = 1;
CREATE INDEX orders_closed ON orders (updated_ms) WHERE live = 0;

CREATE TABLE accounts (
    account       text COLLATE "C" PRIMARY KEY,
    event_seq     bigint NOT NULL,
    execution_seq bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE TABLE order_events (
    number   bigint PRIMARY KEY,
    position bigint NOT NULL,
    account  text COLLATE "C" NOT NULL,
    seq      bigint NOT NULL,
    order_id text NOT NULL,
    open     bigint NOT NULL,
    reserved bigint NOT NULL,
    filled   bigint NOT NULL,
    version  bigint NOT NULL,
    reason   text NOT NULL,
    value    text NOT NULL,
    time_ms  bigint NOT NULL,
    UNIQUE (account, seq)
);

CREATE TABLE executions (
    number          bigint PRIMARY KEY,
    account         text COLLATE "C" NOT NULL,
    seq             bigint NOT NULL,
    trade_id        text NOT NULL,
    order_id        text NOT NULL,
    client_order_id text NOT NULL,
    market          text COLLATE "C" NOT NULL,
    side            text COLLATE "C" NOT NULL,
    price_ticks     bigint NOT NULL,
    quantity_lots   bigint NOT NULL,
    role            text NOT NULL,
    counterparty    text NOT NULL,
    time_ms         bigint NOT NULL,
    UNIQUE (account, seq)
);

CREATE TABLE trades (
    number         bigint PRIMARY KEY,
    maker_position bigint,
    taker_position bigint,
    trade_id       text COLLATE "C" NOT NULL,
    market         text COLLATE "C" NOT NULL,
    price_ticks    bigint NOT NULL,
    quantity_lots  bigint NOT NULL,
    side           text NOT NULL,
    maker_order    text NOT NULL,
    taker_order    text NOT NULL,
    maker_home     text NOT NULL,
    taker_home     text NOT NULL,
    time_ms        bigint NOT NULL,
    UNIQUE (time_ms, trade_id)
);
CREATE INDEX trades_by_market ON trades (market, number);
CREATE INDEX trades_by_id ON trades (trade_id);
CREATE INDEX trades_by_maker ON trades (maker_position, number) WHERE maker_position IS NOT NULL;
CREATE INDEX trades_by_taker ON trades (taker_position, number) WHERE taker_position IS NOT NULL;

CREATE TABLE bars (
    number   bigint PRIMARY KEY,
    market   text COLLATE "C" NOT NULL,
    time_ms  bigint NOT NULL,
    first_ms bigint NOT NULL,
    last_ms  bigint NOT NULL,
    open     bigint NOT NULL,
    high     bigint NOT NULL,
    low      bigint NOT NULL,
    close    bigint NOT NULL,
    volume   bigint NOT NULL,
    trades   bigint NOT NULL,
    UNIQUE (market, time_ms)
) WITH (fillfactor = 50);

CREATE TABLE intents (
    number      bigint PRIMARY KEY,
    fill_id     text COLLATE "C" NOT NULL UNIQUE,
    taker_order text NOT NULL,
    maker_home  text NOT NULL,
    lots        bigint NOT NULL,
    deadline_ms bigint NOT NULL,
    settled     bigint NOT NULL,
    done        integer NOT NULL,
    payload     text NOT NULL,
    path        bytea NOT NULL,
    leaf        integer NOT NULL,
    size        integer NOT NULL,
    signature   bytea NOT NULL
);
CREATE INDEX intents_open ON intents (number) WHERE done = 0;
CREATE INDEX intents_done ON intents (deadline_ms) WHERE done = 1;

CREATE TABLE answers (
    number     bigint PRIMARY KEY,
    fill_id    text COLLATE "C" NOT NULL UNIQUE,
    taker_home text NOT NULL,
    keep_ms    bigint NOT NULL,
    unsettled  integer NOT NULL,
    payload    text NOT NULL,
    path       bytea NOT NULL,
    leaf       integer NOT NULL,
    size       integer NOT NULL,
    signature  bytea NOT NULL
);

CREATE TABLE evidence (
    number    bigint PRIMARY KEY,
    time_ms   bigint NOT NULL,
    payload   text NOT NULL,
    path      bytea NOT NULL,
    leaf      integer NOT NULL,
    size      integer NOT NULL,
    signature bytea NOT NULL
);
CREATE INDEX evidence_by_time ON evidence (time_ms);

CREATE TABLE traded_fills (
    number  bigint PRIMARY KEY,
    fill_id bytea NOT NULL,
    late_ms bigint NOT NULL
);

CREATE TABLE origins (
    origin       text COLLATE "C" PRIMARY KEY,
    epoch        bigint NOT NULL,
    seq          bigint NOT NULL,
    hash         text NOT NULL,
    time_ms      bigint NOT NULL,
    time_counter integer NOT NULL,
    lease_ms     bigint NOT NULL,
    frozen       text NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE records (
    number          bigint PRIMARY KEY,
    order_id        text COLLATE "C" NOT NULL UNIQUE,
    origin          text NOT NULL,
    version         bigint NOT NULL,
    order_payload   text NOT NULL,
    order_path      bytea NOT NULL,
    order_leaf      integer NOT NULL,
    order_size      integer NOT NULL,
    order_signature bytea NOT NULL,
    state_payload   text NOT NULL,
    state_path      bytea NOT NULL,
    state_leaf      integer NOT NULL,
    state_size      integer NOT NULL,
    state_signature bytea NOT NULL
);
