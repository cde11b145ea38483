"""
What the node wants read of the store: begun after the commit, handed back in a later turn.

Shell: asks the store, and then the node, if it is still the same one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import attrs
from twisted.logger import Logger

from grenache_py.deferreds import Background
from grenache_py.exchange.daemon.loop.guarded_node import GuardedNode
from grenache_py.exchange.effects.batch import ReadRecords
from grenache_py.exchange.effects.rows import RecordRow
from grenache_py.exchange.errors import StoreError

if TYPE_CHECKING:
    from grenache_py.exchange.node import ExchangeNode
    from grenache_py.exchange.storage.store import Store

__all__ = ["RecordReads"]


@attrs.frozen
class RecordReads:
    """Carries out `ReadRecords`; a node that has been dropped meanwhile is told nothing."""

    log = Logger()
    store: Store
    guarded: GuardedNode
    background: Background

    def begin(self, reads: Iterable[ReadRecords]) -> None:
        """Have these read, one behind the other on the store's reading thread."""
        for read in reads:
            self.background.spawn("reading orders", self._read(read, self.guarded.node))

    async def _read(self, read: ReadRecords, node: ExchangeNode | None) -> None:
        found: dict[str, RecordRow] | None = None
        try:
            found = {row.order_id: row for row in await self.store.records(read.order_ids)}
        except StoreError as error:
            self.log.warn("orders cannot be read: {reason}", reason=error)
        if self.guarded.node is node:
            self.guarded.ask("orders that were read", lambda _, now: read.done(found, now))
