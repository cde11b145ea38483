-- Schema 2. Daemons that stand by watch the one that serves (docs/design/standby.rst#term).

-- One row, beside the term's: who says that it lives waits for no commit, and no commit for that.
CREATE TABLE term_watch (
    one    boolean PRIMARY KEY DEFAULT true CHECK (one),
    alive  timestamptz NOT NULL DEFAULT 'epoch', -- when the holder last said that it lives
    wanted text NOT NULL DEFAULT ''              -- the process that an operator wants to serve
) WITH (fillfactor = 50);
INSERT INTO term_watch DEFAULT VALUES;

-- The holder lives, if it is the holder still.
CREATE FUNCTION say_alive(held bigint, process text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM term WHERE number = held AND boot = process AND holder <> '' FOR SHARE;
    IF FOUND THEN
        UPDATE term_watch SET alive = clock_timestamp();
    END IF;
END $$;

-- Whether the term has no holder, or one that has been silent for so long; 0: whatever it said.
CREATE FUNCTION is_silent(seconds double precision) RETURNS boolean LANGUAGE sql VOLATILE AS $$
    SELECT seconds = 0 OR holder = '' OR clock_timestamp() - alive >= make_interval(secs => seconds)
    FROM term, term_watch
$$;

-- Compare and swap: the row's lock waits for all that hold the term, so what they said is seen.
CREATE FUNCTION raise_term(
    expected bigint, fresh bigint, who text, process text, seconds double precision, of_home text, of_cluster text
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM term WHERE number = expected FOR UPDATE;
    IF NOT FOUND OR NOT is_silent(seconds) THEN
        RAISE EXCEPTION 'term % is held, or over', expected USING ERRCODE = 'GX003';
    END IF;
    UPDATE term SET number = fresh, holder = who, boot = process,
        since_ms = extract(epoch FROM clock_timestamp()) * 1000,
        home = coalesce(nullif(of_home, ''), home), cluster = coalesce(nullif(of_cluster, ''), cluster);
    UPDATE term_watch SET alive = clock_timestamp(), wanted = '';
END $$;
