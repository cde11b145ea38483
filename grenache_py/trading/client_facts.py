"""
What a client knows without asking.

Pure.
"""

from __future__ import annotations

from grenache_py.trading.core import Core
from grenache_py.trading.line import State
from grenache_py.trading.models import Market, Order

__all__ = ["ClientFacts"]


class ClientFacts:
    """The properties that all clients share."""

    _core: Core

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._core.address}, {self._core.state}>"

    @property
    def markets(self) -> dict[str, Market]:
        """The markets by name."""
        return self._core.markets

    @property
    def state(self) -> State:
        """Of the line to the daemon."""
        return self._core.state

    @property
    def open_orders(self) -> dict[str, Order]:
        """Open orders by id, as `orders` tells them; empty before it is followed."""
        return self._core.open_orders

    @property
    def heard_at(self) -> float:
        """When the daemon was heard last, by the loop's clock."""
        return self._core.line.heard_at

    @property
    def reconnects(self) -> int:
        """How often the line was lost and is there again."""
        return self._core.line.reconnects

    @property
    def sent_again(self) -> int:
        """Calls that were sent once more."""
        return self._core.calls.sent_again
