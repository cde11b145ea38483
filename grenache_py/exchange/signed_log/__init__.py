"""A home's log: its entries, hash chain and signatures, and the clock that stamps them."""
