"""
``grenache lookup``, ``announce``, ``put``, ``get`` and ``keygen``: what a grape can be asked.

Edge: reads key files and stdin.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from grenache_py.cli.asking import GrapeAsker
from grenache_py.cli.outcomes import EXIT_NOTHING, complain_of
from grenache_py.cli.settings import Settings
from grenache_py.errors import ConfigError
from grenache_py.link.announcing import EVERY_S_DEFAULT
from grenache_py.link.errors import LinkError
from grenache_py.link.items import (
    Item,
    check_salt,
    check_value,
    immutable_hash,
    mutable_hash,
    signed_put,
)
from grenache_py.link.keys import ItemKey

if TYPE_CHECKING:
    from grenache_py.link.client import Link

__all__ = ["announce", "get", "keygen", "lookup", "put"]


T = TypeVar("T")

#: Options of the commands that look again and again.
watched = click.option(
    "--watch", is_flag=True, help="Look again and again, and print each change, until Ctrl-C."
)
every = click.option(
    "--every",
    type=click.FloatRange(min=0.1),
    metavar="SECONDS",
    default=10.0,
    show_default=True,
    help="With --watch: look again after so long.",
)


@click.command()
@click.argument("name")
@watched
@every
@click.pass_obj
def lookup(settings: Settings, name: str, watch: bool, every: float) -> int:
    """
    Print the addresses of the services announced as NAME, one a line.

    With --watch, all of them on one line, again when they have changed.
    """
    grapes = GrapeAsker(settings.grapes)
    if watch:
        for addresses in _changes(settings, lambda: sorted(grapes.lookup(name)), every):
            settings.show(addresses, " ".join(addresses))
    addresses = grapes.lookup(name)
    if settings.as_json:
        settings.show(addresses)
    else:
        for address in addresses:
            settings.show(address, address)
    if not addresses:
        return settings.complain(f"nobody is announced as {name!r}", EXIT_NOTHING, "NothingFound")
    return 0


def _changes(settings: Settings, ask: Callable[[], T], every_s: float) -> Iterator[T]:
    """Yield the addresses now and after each change; a failed lookup is reported once."""
    seen: T | None = None
    told = ""
    while True:
        try:
            found = ask()
        except LinkError as error:
            if str(error) != told:
                complain_of(error, settings.as_json)
            told = str(error)
        else:
            told = ""
            if found != seen:
                yield found
            seen = found
        time.sleep(every_s)


@click.command(short_help="Announce that service NAME listens on PORT.")
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
    if every is None:
        count = GrapeAsker(settings.grapes).announce(name, port)
        settings.show({"recorded_by": count}, _recorded_by(count))
        return
    from grenache_py.cli.running import run, until_interrupted

    async def for_ever(reactor: Any, link: Link) -> None:
        running = link.start_announcing(name, port, every)
        count = await running.when_announced()
        settings.show({"recorded_by": count}, _recorded_by(count))
        await until_interrupted(reactor, link.close)

    run(settings, for_ever, long=True)


def _recorded_by(count: int) -> str:
    return f"recorded by {count} other grape{'' if count == 1 else 's'}"


@click.command()
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
    if key is None:
        data, target = {"v": text}, immutable_hash(check_value(text))
    else:
        item_key = ItemKey.from_text(Path(key).read_text())
        version = time.time_ns() // 1000 if seq is None else seq
        raw_salt = check_salt(salt)
        data = signed_put(text, item_key, version, raw_salt, cas)
        target = mutable_hash(item_key.public, raw_salt)
    settings.show({"hash": target}, GrapeAsker(settings.grapes).put(data, target))


@click.command(short_help="Print the value stored under HASH.")
@click.argument("target", metavar="HASH")
@click.option("--salt", default="", help="The salt it was put with; grapes do not tell it.")
@watched
@every
@click.pass_obj
def get(settings: Settings, target: str, salt: str, watch: bool, every: float) -> int:
    """Print the value stored under HASH, checked against hash and signature."""
    grapes = GrapeAsker(settings.grapes)
    if watch:
        for item in _changes(settings, lambda: grapes.get(target, salt), every):
            if item is not None:
                _show_item(settings, item, salt)
    item = grapes.get(target, salt)
    if item is None:
        return settings.complain(f"nothing is stored under {target}", EXIT_NOTHING, "NothingFound")
    _show_item(settings, item, salt)
    return 0


def _show_item(settings: Settings, item: Item, salt: str) -> None:
    key = item.public_key.hex() if item.public_key is not None else None
    shown = {"value": item.value, "hash": item.hash, "key": key, "seq": item.seq, "salt": salt}
    settings.show(shown, item.value)


@click.command(short_help="Make a key pair to sign values with, in FILE and FILE.pub.")
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
