"""
Looking at a store, whatever kind it is.

Shell. Reads the file or the database that is named; a database is copied into a temporary file.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from sqlite3 import Connection

from grenache_py.errors import ConfigError
from grenache_py.exchange.storage.addresses import check_address, is_address
from grenache_py.exchange.storage.read_only import read_only

__all__ = ["reading"]


@contextmanager
def reading(named: str) -> Iterator[Connection]:
    """
    Look at one state of a store: a file, or a database, which is copied into a file for that.

    Raises:
        StoreError: it cannot be opened or read, or is not a store this program understands.
        ConfigError: psycopg is not installed, or the address has a password in it.
    """
    if not is_address(named):
        with read_only(named) as connection:
            yield connection
        return
    try:
        check_address(named)
        from grenache_py.exchange.storage.postgresql.copying import copy_to_file
        from grenache_py.exchange.storage.postgresql.sessions import DatabaseSession
    except ValueError as error:
        raise ConfigError(f"the address {error}") from None
    except ImportError:
        raise ConfigError("this needs psycopg: pip install 'grenache-py[postgresql]'") from None
    with tempfile.TemporaryDirectory(prefix="exchange-") as directory:
        path = os.path.join(directory, "copy.sqlite")
        session = DatabaseSession(named, "grenache", alone=True, now_s=None)
        with closing(session):
            copy_to_file(session, path)
        with read_only(path) as connection:
            yield connection
