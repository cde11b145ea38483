"""Copies of what other homes published: how they are kept, and how missed parts are fetched."""
