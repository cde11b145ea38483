"""
``grenache lookup``, ``announce``, ``put``, ``get`` and ``keygen``: what a grape can be asked.

Edge: reads key files and stdin.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
from pathlib import Path
from typing import Any

import click

from grenache_py.cli.settings import (
    NOTHING_FOUND,
    NetworkCommand,
    Settings,
    complain,
    until_interrupted,
)
from grenache_py.errors import ConfigError
from grenache_py.link import ItemKey, Link
from grenache_py.link.announcing import EVERY_S_DEFAULT

__all__ = ["announce", "get", "keygen", "lookup", "put"]


@click.command(cls=NetworkCommand)
@click.argument("name")
@click.pass_obj
def lookup(settings: Settings, name: str) -> None:
    """Print the addresses of the services announced as NAME, one a line."""

    async def work(_: Any, link: Link) -> int:
        addresses = await link.lookup(name)
        if settings.as_json:
            settings.show(addresses)
        else:
            for address in addresses:
                settings.show(address, address)
        if not addresses:
            return complain(f"nobody is announced as {name!r}", NOTHING_FOUND)
        return 0

    settings.run(work)


@click.command(cls=NetworkCommand, short_help="Announce that service NAME listens on PORT.")
@click.argument("name")
@click.argument("port", type=click.IntRange(1, 65535))
@click.option(
    "--every",
    type=click.FloatRange(min=1.0),
    metavar="SECONDS",
    help=f"Announce again and again, until interrupted; {EVERY_S_DEFAULT:g} is a good choice.",
)
@click.pass_obj
def announce(settings: Settings, name: str, port: int, every: float | None) -> None:
    """Announce that service NAME listens on PORT of the grape's host.

    A record lives about two minutes.
    """

    async def once(_: Any, link: Link) -> None:
        count = await link.announce(name, port)
        settings.show({"recorded_by": count}, _recorded_by(count))

    async def for_ever(reactor: Any, link: Link) -> None:
        running = link.start_announcing(name, port, every or EVERY_S_DEFAULT)
        count = await running.when_announced()
        settings.show({"recorded_by": count}, _recorded_by(count))
        await until_interrupted(reactor, link.close)

    settings.run(once if every is None else for_ever, long=every is not None)


def _recorded_by(count: int) -> str:
    return f"recorded by {count} other grape{'' if count == 1 else 's'}"


@click.command(cls=NetworkCommand)
@click.argument("value")
@click.option("--key", type=click.Path(dir_okay=False), help="Sign it with this key file: mutable.")
@click.option("--seq", type=int, help="Version.  [default: microseconds since 1970]")
@click.option("--salt", default="", help="Tells items under one key apart, 64 bytes at most.")
@click.option("--cas", type=int, help="Store only if the stored version is this one.")
@click.pass_obj
def put(
    settings: Settings, value: str, key: str | None, seq: int | None, salt: str, cas: int | None
) -> None:
    """Store VALUE (- for stdin) in the DHT and print its hash."""
    if key is None and (seq is not None or salt or cas is not None):
        raise click.UsageError("--seq, --salt and --cas are for items that are signed with --key")
    text = sys.stdin.read() if value == "-" else value
    item_key = ItemKey.from_text(Path(key).read_text()) if key is not None else None

    async def work(_: Any, link: Link) -> None:
        if item_key is None:
            target = await link.put(text)
        else:
            version = time.time_ns() // 1000 if seq is None else seq
            target = await link.put_mutable(text, item_key, version, salt=salt, cas=cas)
        settings.show({"hash": target}, target)

    settings.run(work)


@click.command(cls=NetworkCommand, short_help="Print the value stored under HASH.")
@click.argument("target", metavar="HASH")
@click.option("--salt", default="", help="The salt it was put with; grapes do not tell it.")
@click.pass_obj
def get(settings: Settings, target: str, salt: str) -> None:
    """Print the value stored under HASH, checked against hash and signature."""

    async def work(_: Any, link: Link) -> int:
        item = await link.get(target, salt=salt)
        if item is None:
            return complain(f"nothing is stored under {target}", NOTHING_FOUND)
        key = item.public_key.hex() if item.public_key is not None else None
        shown = {"value": item.value, "hash": item.hash, "key": key, "seq": item.seq, "salt": salt}
        settings.show(shown, item.value)
        return 0

    settings.run(work)


@click.command(
    cls=NetworkCommand, short_help="Make a key pair to sign values with, in FILE and FILE.pub."
)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--force", "-f", is_flag=True, help="Overwrite a key that is there.")
@click.pass_obj
def keygen(settings: Settings, file: Path, force: bool) -> None:
    """Make an ed25519 key pair: the secret in FILE, the public half in FILE.pub.

    Both are in the form of grenache-cli: 128 and 64 hexadecimal digits without a newline.
    """
    key = ItemKey.from_seed(secrets.token_bytes(32))
    public = file.with_name(f"{file.name}.pub")
    kind = os.O_TRUNC if force else os.O_EXCL
    try:
        for path, text in ((file, key.expanded.hex()), (public, key.public.hex())):
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | kind, 0o600), "w") as out:
                os.fchmod(out.fileno(), 0o600)
                out.write(text)
    except FileExistsError as error:
        raise ConfigError(f"{error.filename} is there already; --force overwrites it") from None
    settings.show({"public_key": key.public.hex(), "file": str(file)}, key.public.hex())
