"""``make demo``: a small network on loopback, started, used and shown."""
