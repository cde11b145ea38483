"""A store checked against its own log, and its history for other programs."""
