-- Schema 6. docs/store-schema.rst explains every table, column and index.

-- The entry that published an order gave its first state as well: until the next it is stored once.
UPDATE records SET
    state_payload = '', state_path = x'', state_leaf = 0, state_size = 0, state_signature = x''
    WHERE state_payload = order_payload AND state_path = order_path
        AND state_signature = order_signature;
