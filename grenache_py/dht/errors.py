"""What the DHT can fail with. Pure."""

from __future__ import annotations

from grenache_py.errors import GrenacheError

__all__ = ["AllQueriesFailed", "DHTError", "DHTNotRunning", "DHTOverloaded", "NoNodesToQuery"]


class DHTError(GrenacheError):
    """Base of the errors of DHT operations."""


class NoNodesToQuery(DHTError):
    """Other nodes answered, and none of them gave a token to store with."""

    def __init__(self) -> None:
        super().__init__("No nodes to query")


class AllQueriesFailed(DHTError):
    """
    Nodes were asked to store something and none did.

    Attributes:
        krpc_error: code and text of the refusal that says most (a 3xx of BEP 44 wins),
            or None when nobody said anything.
    """

    def __init__(self, krpc_error: tuple[int, str] | None = None) -> None:
        super().__init__("All queries failed")
        self.krpc_error = krpc_error


class DHTNotRunning(DHTError):
    """The node's port is closed, or not yet open."""

    def __init__(self) -> None:
        super().__init__("The DHT is not running")


class DHTOverloaded(DHTError):
    """More operations are under way than this node's configuration allows."""

    def __init__(self) -> None:
        super().__init__("Too many operations under way")
