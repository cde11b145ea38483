"""How a peer is: its status as plain values, and what is wrong by them."""
