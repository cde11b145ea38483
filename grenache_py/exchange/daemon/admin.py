"""
What an operator asks of the daemon through the client port: status, backup, log level, shutdown.

Shell: asks the store for a copy, and the reactor to stop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs
from twisted.logger import Logger

from grenache_py.exchange.errors import INVALID_REQUEST, OrderError
from grenache_py.exchange.storage.store import Store

if TYPE_CHECKING:
    from grenache_py.exchange.daemon.role.serving_role import ServingRole

__all__ = ["DaemonAdmin"]


@attrs.frozen
class DaemonAdmin:
    """
    The `gateway.Admin` of a daemon.

    Attributes:
        counters: returns what ``status`` adds to what the node knows.
        log_level: changes what is logged: a level, and a namespace or "" for all.
        stop: stops the daemon, soon.
        role: returns what plays this daemon's role; None when its store has one daemon.
    """

    log = Logger()

    store: Store
    counters: Callable[[], dict[str, Any]]
    log_level: Callable[[str, str], None]
    stop: Callable[[], None]
    role: Callable[[], ServingRole | None] = lambda: None

    def status(self) -> dict[str, Any]:
        return self.counters()

    def promote(self, new_epoch: bool) -> None:
        self._role().promote(new_epoch)

    def demote(self) -> None:
        self._role().demote()

    def _role(self) -> ServingRole:
        role = self.role()
        if role is None:
            raise OrderError(
                INVALID_REQUEST,
                "The store of this daemon is a file, so no other daemon can serve its home.",
            )
        return role

    async def backup(self, path: str) -> dict[str, Any]:
        await self.store.backup(path)
        return {"path": path}

    def shutdown(self) -> None:
        self.log.info("stopping, as a client with the scope admin asked")
        self.stop()
