"""A DHT whose answers a test decides, with the calls it was asked for."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred


class FakeDHT:
    """Each call is a tuple in ``calls`` and leaves a Deferred, in order, in ``pending``."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.pending: list[Deferred[Any]] = []

    def _ask(self, *call: Any) -> Deferred[Any]:
        self.calls.append(call)
        self.pending.append(Deferred())
        return self.pending[-1]

    def lookup(self, info_hash: bytes) -> Deferred[list[str]]:
        return self._ask("lookup", info_hash)

    def announce(self, info_hash: bytes, port: int) -> Deferred[int]:
        return self._ask("announce", info_hash, port)

    def put(self, item: Any) -> Deferred[bytes]:
        return self._ask("put", item)

    def get(self, target: bytes, salt: bytes = b"", use_cache: bool = True) -> Deferred[Any | None]:
        return self._ask("get", target, salt, use_cache)
