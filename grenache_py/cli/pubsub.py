"""
``grenache sub`` and ``pub``: print what a publisher sends, or be a publisher.

Edge: reads stdin.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import click
from twisted.internet.defer import Deferred
from twisted.internet.stdio import StandardIO
from twisted.internet.task import deferLater
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from grenache_py.cli.service_options import TEXT_BYTES_MAX, announced, endpoint, listening
from grenache_py.cli.settings import NetworkCommand, Settings, complain
from grenache_py.errors import LocalProtocolError
from grenache_py.link import Link
from grenache_py.rpc import Publisher, ServerLimits, Subscriber

__all__ = ["pub", "sub"]


@click.command(cls=NetworkCommand, short_help="Print what the publisher NAME sends.")
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

    settings.run(work, long=True)


class _Lines(LineOnlyReceiver):
    """Lines of stdin."""

    delimiter = b"\n"
    MAX_LENGTH = TEXT_BYTES_MAX

    def __init__(self, publish: Callable[[str], object]) -> None:
        self._publish = publish
        self.ended: Deferred[None] = Deferred()

    def lineReceived(self, line: bytes) -> None:
        self._publish(line.decode("utf-8", "replace"))

    def lineLengthExceeded(self, line: bytes) -> None:
        complain(f"a line of more than {TEXT_BYTES_MAX} bytes cannot be published")
        self.ended.errback(LocalProtocolError("the input is not lines of text"))

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]
        if self._buffer:
            self.lineReceived(self._buffer)
        if not self.ended.called:
            self.ended.callback(None)


@click.command(cls=NetworkCommand)
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
    """Send each line of stdin to everybody who is subscribed to NAME."""
    limits = ServerLimits(allow_hosts=allow_host, allow_origins=allow_origin)

    async def work(reactor: Any, link: Link) -> None:
        publisher = Publisher(
            link, name, reactor, endpoint=endpoint(port, interface), limits=limits
        )
        await announced(settings, publisher, name)
        reactor.addSystemEventTrigger("before", "shutdown", publisher.stop)
        while publisher.subscribers < subscribers:
            await deferLater(reactor, 0.05)
        lines = _Lines(publisher.publish)
        StandardIO(lines, reactor=reactor)
        await lines.ended
        await publisher.stop()

    settings.run(work, long=True)
