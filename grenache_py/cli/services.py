"""
``grenache call``, ``serve``, ``sub`` and ``pub``: talk to services, or be one.

Edge: reads stdin, runs commands.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import sys
from collections.abc import Callable
from typing import Any

import click
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.stdio import StandardIO
from twisted.internet.task import deferLater
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from grenache_py.cli.settings import (
    FAILED,
    NetworkCommand,
    Settings,
    complain,
    to_json,
    until_interrupted,
)
from grenache_py.errors import ConfigError, LocalProtocolError
from grenache_py.link import Link
from grenache_py.rpc import (
    Publisher,
    Request,
    RPCClient,
    RPCFailure,
    RPCServer,
    ServerLimits,
    Subscriber,
)

__all__ = ["call", "pub", "serve", "sub"]

#: The longest line ``pub`` reads and the longest reply ``serve`` takes from a command.
TEXT_BYTES_MAX = 1_048_576

_transport = click.option(
    "--transport", type=click.Choice(["http", "ws"]), default="http", show_default=True
)


@click.command(cls=NetworkCommand, short_help="Send JSON to the service NAME and print its result.")
@click.argument("name")
@click.argument("payload", metavar="JSON")
@_transport
@click.option("--map", "everybody", is_flag=True, help="Ask every service of that name.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.001),
    metavar="SECONDS",
    default=10.0,
    show_default=True,
)
@click.option(
    "--retries",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Tries after one without an answer.",
)
@click.option("--compress", is_flag=True, help="gzip request and reply (http only).")
@click.pass_obj
def call(
    settings: Settings,
    name: str,
    payload: str,
    transport: Any,
    everybody: bool,
    timeout: float,
    retries: int,
    compress: bool,
) -> None:
    """Send JSON (- for stdin) to the service NAME and print its result."""
    try:
        request = json.loads(sys.stdin.read() if payload == "-" else payload)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"the request is not JSON: {error}") from None

    async def work(reactor: Any, link: Link) -> int:
        client = RPCClient(link, reactor, transport=transport, compress=compress)
        try:
            if not everybody:
                settings.show(
                    await client.request(name, request, timeout_s=timeout, retries=retries)
                )
                return 0
            outcomes = await client.map(name, request, timeout_s=timeout)
        finally:
            await client.close()
        for one in outcomes:
            error = str(one.error) if one.error is not None else None
            if settings.as_json:
                settings.show({"address": one.address, "value": one.value, "error": error})
            elif error is None:
                settings.show(one.value, f"{one.address}\t{to_json(one.value)}")
            else:
                complain(f"{one.address}: {error}")
        return 0 if any(one.error is None for one in outcomes) else FAILED

    settings.run(work)


class _Command(ProcessProtocol):
    """One run of the command of ``serve``."""

    def __init__(self, stdin: bytes) -> None:
        self._stdin = stdin
        self._out: list[bytes] = []
        self._err = b""
        self._size = 0
        self.done: Deferred[bytes] = Deferred(lambda _: self._kill())

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self._stdin)
        self.transport.closeStdin()

    def outReceived(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > TEXT_BYTES_MAX:
            self._kill()
        else:
            self._out.append(data)

    def errReceived(self, data: bytes) -> None:
        self._err = (self._err + data)[-4096:]

    def processEnded(self, reason: Failure) -> None:
        if self.done.called:
            return
        code = getattr(reason.value, "exitCode", None)
        if self._size > TEXT_BYTES_MAX:
            self.done.errback(RPCFailure(f"the command wrote more than {TEXT_BYTES_MAX} bytes"))
        elif code == 0:
            self.done.callback(b"".join(self._out))
        else:
            lines = self._err.decode("utf-8", "replace").strip().splitlines()
            self.done.errback(RPCFailure(lines[-1] if lines else f"the command ended with {code}"))

    def _kill(self) -> None:
        try:
            if self.transport is not None:
                self.transport.signalProcess("KILL")
        except ProcessExitedAlready:
            pass


@click.command(cls=NetworkCommand, short_help="Answer requests to service NAME by a COMMAND.")
@click.argument("name")
@click.argument("command", nargs=-1, required=True)
@_transport
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="[default: a free one]")
@click.option("--interface", default="", help="Address to listen on.  [default: all]")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=os.cpu_count() or 1,
    show_default=True,
    help="Runs of COMMAND at a time.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.001),
    metavar="SECONDS",
    default=60.0,
    show_default=True,
    help="Longest run of COMMAND.",
)
@click.pass_obj
def serve(
    settings: Settings,
    name: str,
    command: tuple[str, ...],
    transport: Any,
    port: int,
    interface: str,
    jobs: int,
    timeout: float,
) -> None:
    """Answer requests to service NAME by running COMMAND for each.

    It gets the request's JSON on stdin; what it writes to stdout is the reply, as JSON if it
    is that and as text otherwise. If it fails, the last line of its stderr is the error.
    """
    program = shutil.which(command[0])
    if program is None:
        raise ConfigError(f"there is no command {command[0]!r}")

    async def work(reactor: Any, link: Link) -> None:
        running = DeferredSemaphore(jobs)

        async def handle(request: Request) -> Any:
            await running.acquire()
            try:
                process = _Command(to_json(request.payload).encode())
                reactor.spawnProcess(process, program, command, env=None)
                out = (await process.done).decode("utf-8", "replace")
            finally:
                running.release()
            try:
                return json.loads(out)
            except (ValueError, RecursionError):
                return out.removesuffix("\n")

        server = RPCServer(
            link,
            name,
            handle,
            reactor,
            endpoint=_endpoint(port, interface),
            transport=transport,
            limits=ServerLimits(handler_timeout_s=timeout),
        )
        await _announced(settings, server, name)
        await until_interrupted(reactor, server.stop)

    settings.run(work, long=True)


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
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="[default: a free one]")
@click.option("--interface", default="", help="Address to listen on.  [default: all]")
@click.option(
    "--subscribers",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Wait until so many are subscribed before the first line.",
)
@click.pass_obj
def pub(settings: Settings, name: str, port: int, interface: str, subscribers: int) -> None:
    """Send each line of stdin to everybody who is subscribed to NAME."""

    async def work(reactor: Any, link: Link) -> None:
        publisher = Publisher(link, name, reactor, endpoint=_endpoint(port, interface))
        await _announced(settings, publisher, name)
        reactor.addSystemEventTrigger("before", "shutdown", publisher.stop)
        while publisher.subscribers < subscribers:
            await deferLater(reactor, 0.05)
        lines = _Lines(publisher.publish)
        StandardIO(lines, reactor=reactor)
        await lines.ended
        await publisher.stop()

    settings.run(work, long=True)


def _endpoint(port: int, interface: str) -> str:
    where = f":interface={interface}" if interface else ""
    return f"tcp:{port}{where}"


async def _announced(settings: Settings, server: Any, name: str) -> None:
    """Start a server and say where it is; it is announced soon after, and kept so."""
    port = await server.start()
    if settings.as_json:
        click.echo(to_json({"name": name, "port": port}), err=True)
    else:
        click.echo(f"{name} on port {port}", err=True)
