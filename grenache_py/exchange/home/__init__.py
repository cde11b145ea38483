"""This peer's own orders, and how each change of them is written to its log."""
