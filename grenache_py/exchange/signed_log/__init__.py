"""A home's log: entries, hash chain, signatures, the clock that stamps them."""
