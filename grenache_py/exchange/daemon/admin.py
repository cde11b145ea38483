"""
What an operator asks of the daemon through the client port: status, backup, log level, shutdown.

Shell: asks the store for a copy, and the reactor to stop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from twisted.logger import Logger

from grenache_py.exchange.storage.store import Store

__all__ = ["DaemonAdmin"]


@attrs.frozen
class DaemonAdmin:
    """
    The `gateway.Admin` of a daemon.

    Attributes:
        counters: returns what ``status`` adds to what the node knows.
        log_level: changes what is logged: a level, and a namespace or "" for all.
        stop: stops the daemon, soon.
    """

    log = Logger()

    store: Store
    counters: Callable[[], dict[str, Any]]
    log_level: Callable[[str, str], None]
    stop: Callable[[], None]

    def status(self) -> dict[str, Any]:
        return self.counters()

    async def backup(self, path: str) -> dict[str, Any]:
        await self.store.backup(path)
        return {"path": path}

    def shutdown(self) -> None:
        self.log.info("stopping, as a client with the scope admin asked")
        self.stop()
