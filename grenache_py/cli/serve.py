"""
``grenache serve``: be a service that answers each request by a run of a command.

Edge: runs processes.
"""

from __future__ import annotations

import json
import os
import shutil
from typing import Any

import click
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from grenache_py.cli.json_lines import LastingCommand
from grenache_py.cli.outcomes import EXIT_FAILED
from grenache_py.cli.output import say, to_json
from grenache_py.cli.running import run, until_interrupted
from grenache_py.cli.service_options import (
    TEXT_BYTES_MAX,
    announced,
    endpoint,
    listening,
    timeout_option,
    transport_option,
)
from grenache_py.cli.settings import Settings
from grenache_py.errors import ConfigError
from grenache_py.link.client import Link
from grenache_py.rpc import Request, RPCFailure, RPCServer, ServerLimits

__all__ = ["serve"]

#: How long a process that holds the command's output open is waited for after the command.
LEFT_OPEN_S = 0.5


class _Command(ProcessProtocol):
    """One run of the command of ``serve``."""

    def __init__(self, stdin: bytes, clock: IReactorTime) -> None:
        self._stdin = stdin
        self._clock = clock
        self._left_open: IDelayedCall | None = None
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

    def processExited(self, reason: Failure) -> None:
        # `processEnded` waits until the last process that has our pipe open is gone.
        self._left_open = self._clock.callLater(LEFT_OPEN_S, self._take_what_came)

    def _take_what_came(self) -> None:
        assert self.transport is not None
        say(
            "grenache: the command left a process behind that keeps its output open (redirect"
            " that); the reply is what came until now"
        )
        self.transport.loseConnection()

    def processEnded(self, reason: Failure) -> None:
        if self._left_open is not None and self._left_open.active():
            self._left_open.cancel()
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


@click.command(short_help="Answer requests to service NAME by a COMMAND.")
@click.argument("name")
@click.argument("command", nargs=-1, required=True)
@transport_option
@listening
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=os.cpu_count() or 1,
    show_default=True,
    help="Runs of COMMAND at a time.",
)
@timeout_option(60.0, help="Longest run of COMMAND.")
@click.option(
    "--json-lines", is_flag=True, help="One COMMAND for all requests, a line of JSON for each."
)
@click.pass_obj
def serve(
    settings: Settings,
    name: str,
    command: tuple[str, ...],
    transport: Any,
    port: int,
    interface: str,
    allow_host: tuple[str, ...],
    allow_origin: tuple[str, ...],
    jobs: int,
    timeout: float,
    json_lines: bool,
) -> None:
    """
    Answer requests to service NAME by running COMMAND for each.

    It gets the request's JSON on stdin; what it writes to stdout is the reply, as JSON if it
    is that and as text otherwise. If it fails, the last line of its stderr is the error. What it
    leaves behind is not waited for.

    With --json-lines COMMAND is started once. It gets a line {"id": 1, "payload": ...} for each
    request, up to --jobs before it has answered, and writes {"id": 1, "result": ...} or
    {"id": 1, "error": "..."}, in any order. When it ends, so does the service.
    """
    program = shutil.which(command[0])
    if program is None:
        raise ConfigError(f"there is no command {command[0]!r}")

    limits = ServerLimits(
        handler_timeout_s=timeout, allow_hosts=allow_host, allow_origins=allow_origin
    )

    async def work(reactor: Any, link: Link) -> int:
        running = DeferredSemaphore(jobs)
        lasting = LastingCommand(reactor) if json_lines else None
        if lasting is not None:
            reactor.spawnProcess(
                lasting, program, command, env=None, childFDs={0: "w", 1: "r", 2: 2}
            )

        async def answer(request: Request) -> Any:
            await running.acquire()
            try:
                if lasting is not None:
                    return await lasting.ask(request.payload)
                process = _Command(to_json(request.payload).encode(), reactor)
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
            answer,
            reactor,
            endpoint=endpoint(port, interface),
            transport=transport,
            limits=limits,
        )
        await announced(settings, server, name)
        if lasting is None:
            await until_interrupted(reactor, server.stop)
            return 0
        reactor.addSystemEventTrigger("before", "shutdown", server.stop)
        reactor.addSystemEventTrigger("before", "shutdown", lasting.end)
        why = await lasting.ended
        if lasting.told_to_end:
            return 0
        await server.stop()
        return settings.complain(why, EXIT_FAILED, "CommandEnded")

    run(settings, work, long=True)
