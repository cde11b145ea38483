"""A stored log played again, and its history for other programs."""
