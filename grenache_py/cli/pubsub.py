"""
``grenache sub`` and ``pub``: print what a publisher sends, or be a publisher.

Edge: reads stdin.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import click
import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.stdio import StandardIO
from twisted.internet.task import deferLater
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from grenache_py.cli.running import run
from grenache_py.cli.service_options import TEXT_BYTES_MAX, announced, endpoint, listening
from grenache_py.cli.settings import Settings
from grenache_py.errors import LocalProtocolError
from grenache_py.link.client import Link
from grenache_py.rpc import Publisher, ServerLimits, Subscriber

__all__ = ["pub", "sub"]


@click.command(short_help="Print what the publisher NAME sends.")
@click.argument("name")
@click.option("--count", type=click.IntRange(min=1), help="Stop after so many messages.")
@click.pass_obj
def sub(settings: Settings, name: str, count: int | None) -> None:
    """Print what the publisher NAME sends, one message a line, until interrupted."""

    async def work(reactor: Any, link: Link) -> None:
        heard = 0
        enough: Deferred[None] = Deferred()

        def show(message: str | bytes) -> None:
            nonlocal heard
            if count is not None and heard >= count:
                return
            heard += 1
            if isinstance(message, str):
                settings.show({"text": message}, message)
            else:
                text = base64.b64encode(message).decode()
                settings.show({"base64": text}, text)
            if heard == count:
                enough.callback(None)

        subscriber = Subscriber(link, name, show, reactor)
        subscriber.start()
        reactor.addSystemEventTrigger("before", "shutdown", subscriber.stop)
        await enough
        await subscriber.stop()

    run(settings, work, long=True)


class _Lines(LineOnlyReceiver):
    """Lines of stdin."""

    delimiter = b"\n"
    MAX_LENGTH = TEXT_BYTES_MAX

    def __init__(self, publish: Callable[[str], object], as_json: bool) -> None:
        self._publish = publish
        self._as_json = as_json
        self._number = 0
        self.ended: Deferred[None] = Deferred()

    def lineReceived(self, line: bytes) -> None:
        if self.ended.called:
            return
        self._number += 1
        try:
            text = self._checked(line)
        except ValueError as error:
            self._refuse(f"line {self._number} is not JSON: {error}")
        else:
            self._publish(text)

    def lineLengthExceeded(self, line: bytes) -> None:
        self._refuse(f"line {self._number + 1} has more than {TEXT_BYTES_MAX} bytes")

    def _checked(self, line: bytes) -> str:
        """The text to publish; with ``--json`` it is JSON, as short as it can be."""
        if not self._as_json:
            return line.decode("utf-8", "replace")
        return msgspec.json.encode(msgspec.json.decode(line)).decode()

    def _refuse(self, why: str) -> None:
        if not self.ended.called:
            self.ended.errback(LocalProtocolError(why))

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]
        if self._buffer:
            self.lineReceived(self._buffer)
        if not self.ended.called:
            self.ended.callback(None)


@click.command()
@click.argument("name")
@listening
@click.option(
    "--subscribers",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Wait until so many are subscribed before the first line.",
)
@click.pass_obj
def pub(
    settings: Settings,
    name: str,
    port: int,
    interface: str,
    allow_host: tuple[str, ...],
    allow_origin: tuple[str, ...],
    subscribers: int,
) -> None:
    """
    Send each line of stdin to everybody who is subscribed to NAME.

    With --json each line must be a JSON value; one that is none ends the command with 2.
    """
    limits = ServerLimits(allow_hosts=allow_host, allow_origins=allow_origin)

    async def work(reactor: Any, link: Link) -> None:
        publisher = Publisher(
            link, name, reactor, endpoint=endpoint(port, interface), limits=limits
        )
        await announced(settings, publisher, name)
        reactor.addSystemEventTrigger("before", "shutdown", publisher.stop)
        while publisher.subscribers < subscribers:
            await deferLater(reactor, 0.05)
        lines = _Lines(publisher.publish, settings.as_json)
        StandardIO(lines, reactor=reactor)
        try:
            await lines.ended
        finally:
            await publisher.stop()

    run(settings, work, long=True)
