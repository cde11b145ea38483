"""
Orders that end with the connection they were placed on.

Pure. Connections are numbers here. That an order is tied is stored with it, so it is cancelled also
when the daemon was killed together with the connection.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import attrs

from grenache_py.exchange.effects.batch import Outbox
from grenache_py.exchange.effects.rows import MetaGone, MetaRow

__all__ = ["TiedOrders"]

#: Their stored names: an order's id follows; the value is the connection's number.
META = "tied:"


@attrs.define
class TiedOrders:
    """
    The open orders that are tied, each to one connection.

    Attributes:
        cut: those whose connection is lost, and orders that cannot be shown, to be cancelled as
            soon as this home may sign.
    """

    outbox: Outbox
    cut: dict[str, None] = attrs.Factory(dict)
    _connection_of: dict[str, int] = attrs.Factory(dict)
    _orders_of: dict[int, set[str]] = attrs.Factory(dict)

    def tie(self, order_id: str, connection: int) -> None:
        """Tie an open order to ``connection``, and to no other any more."""
        if self._connection_of.get(order_id) != connection:
            self._forget(order_id)
            self._remember(order_id, connection)
            self.outbox.rows.append(MetaRow(META + order_id, connection))

    def closed(self, order_id: str) -> None:
        """An order is closed, tied or not."""
        if order_id in self._connection_of:
            self._forget(order_id)
            self.outbox.rows.append(MetaGone(META + order_id))

    def untie(self, connection: int) -> None:
        """Let a connection's orders stand when it is lost."""
        for order_id in list(self._orders_of.get(connection, ())):
            self.closed(order_id)

    def lost(self, connection: int) -> None:
        """A connection is lost. Another may get its number after a restart, but not its orders."""
        orders = self._orders_of.pop(connection, ())
        self.cut.update(dict.fromkeys(orders))
        self._connection_of.update(dict.fromkeys(orders, 0))

    def lost_but(self, connections: Collection[int]) -> None:
        """All connections are lost, or were while nobody looked, but ``connections``."""
        for connection in self._orders_of.keys() - connections:
            self.lost(connection)

    def restore(self, meta: Mapping[str, int]) -> None:
        """Take back what was stored."""
        for name, connection in meta.items():
            if name.startswith(META):
                self._remember(name.removeprefix(META), connection)

    def _remember(self, order_id: str, connection: int) -> None:
        self._connection_of[order_id] = connection
        self._orders_of.setdefault(connection, set()).add(order_id)

    def _forget(self, order_id: str) -> None:
        self.cut.pop(order_id, None)
        connection = self._connection_of.pop(order_id, 0)
        if connection:
            orders = self._orders_of[connection]
            orders.discard(order_id)
            if not orders:
                del self._orders_of[connection]
