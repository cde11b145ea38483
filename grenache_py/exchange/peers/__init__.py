"""Links to other peers: who they are, where they are, whom to keep, what to send them."""
