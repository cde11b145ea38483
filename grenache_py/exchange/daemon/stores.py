"""
The store that the settings ask for.

Shell: looks at the data directory; connects to nothing yet.
"""

from __future__ import annotations

import os
import random
import socket
from typing import Any

from twisted.internet.interfaces import IReactorTime

from grenache_py.errors import ConfigError
from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.settings.config import ExchangeConfig
from grenache_py.exchange.storage.copies import is_copy
from grenache_py.exchange.storage.sqlite_store import FILE_NAME, SQLiteStore
from grenache_py.exchange.storage.store import Store

__all__ = ["make_store"]


def make_store(
    config: ExchangeConfig, home: str, reactor: Any, clock: IReactorTime, rng: random.Random
) -> Store:
    """
    Return the store of ``home``, not open yet.

    Raises:
        ConfigError: what it needs is not installed, or the home is in another store.
    """
    if not config.store:
        return SQLiteStore(config.data, reactor, accept_copy=config.new_epoch)
    try:
        from grenache_py.exchange.storage.postgresql import database, postgresql_store
    except ImportError as error:
        raise ConfigError(
            f"store needs psycopg ({error}): pip install 'grenache-py[postgresql]'"
        ) from None
    file = os.path.join(config.data, FILE_NAME)
    try:
        if os.path.exists(file) and not is_copy(file):
            raise ConfigError(
                f"{file} holds this home already: move it with exchange store copy {config.data}"
                " and the address of the new store"
            )
        name = f"{socket.gethostname()}, process {os.getpid()}"
        found = database.PostgreSQLDatabase(
            config.store,
            database.Claimant(home, f"{rng.getrandbits(128):032x}", name),
            clock.seconds,
            alone=config.single_database,
            accept_copy=config.new_epoch,
        )
    except StoreError as error:
        raise ConfigError(error.message) from None
    return postgresql_store.PostgreSQLStore(found, reactor)
