"""The other end of the client port: a blocking client, a book mirror, a load generator."""

from __future__ import annotations

from grenache_py.exchange.client.blocking import CannotReach, Client, Refused
from grenache_py.exchange.client.book_mirror import BookMirror

__all__ = ["BookMirror", "CannotReach", "Client", "Refused"]
