"""What the core hands to its shells: rows to commit, then what may be sent and told."""
