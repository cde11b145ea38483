-- Schema 3. The entry that published an order gave its first state as well: until the next it is stored once.
UPDATE exchange.records SET
    state_payload = '', state_path = '', state_leaf = 0, state_size = 0, state_signature = ''
    WHERE state_payload = order_payload AND state_path = order_path
        AND state_signature = order_signature;
