"""
``exchange store copy``: a stopped home's store moved to a database, or back into a file.

Edge: reads and writes files and databases.
"""

from __future__ import annotations

import os
import random
import socket
import time

import click

from grenache_py.errors import ConfigError
from grenache_py.exchange.cli.files import store_file
from grenache_py.exchange.cli.tool import Tool
from grenache_py.exchange.storage.addresses import check_address, is_address

__all__ = ["store"]


@click.command()
@click.argument("action", type=click.Choice(["copy"]))
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option("--again", is_flag=True, help="It was tried before, and cut off.")
@click.option(
    "--single-database", is_flag=True, help="The database may be one server, without a standby."
)
@click.pass_obj
def store(
    tool: Tool, action: str, source: str, target: str, again: bool, single_database: bool
) -> None:
    """
    Move a stopped home's orders, history and log into another kind of store.

    One of FROM and TO is a data directory or its exchange.sqlite, the other one
    postgresql://HOST[,HOST]/DATABASE. TO must be empty. No daemon serves FROM afterwards: it is
    marked as a copy before anything is copied. The key stays where it is.
    """
    to_database = is_address(target)
    if is_address(source) == to_database:
        raise click.UsageError("One of FROM and TO must be postgresql://HOST/DATABASE.")
    address, path = (target, store_file(source)) if to_database else (source, store_file(target))
    try:
        check_address(address)
        from grenache_py.exchange.storage.postgresql import database, moving
    except ValueError as error:
        raise ConfigError(f"the address {error}") from None
    except ImportError:
        raise ConfigError("this needs psycopg: pip install 'grenache-py[postgresql]'") from None
    boot = f"{random.SystemRandom().getrandbits(128):032x}"
    name = f"exchange store copy, {socket.gethostname()}, process {os.getpid()}"
    opened = database.PostgreSQLDatabase(
        address,
        database.Claimant("", boot, name),
        time.time,
        alone=single_database,
        accept_copy=again and not to_database,
    )
    if to_database:
        moving.move_from_file(path, opened, again)
    else:
        moving.move_to_file(opened, path)
    said = f"{source} is moved to {target}: prove it with exchange replay {target}"
    tool.out({"from": source, "to": target}, lambda: said)
