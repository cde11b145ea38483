"""
What drives a core in an event loop, whichever that is: when to connect, to write, to look again.

Pure. A shell for a loop is a `Driver` that knows how to do these four things there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from grenache_py.trading.core import Core
from grenache_py.trading.errors import ExchangeError, no_connection

__all__ = ["Driver", "Timer"]


class Timer(Protocol):
    """What is called later, unless cancelled before."""

    def cancel(self) -> Any: ...


class Driver:
    """
    One core in one loop.

    Attributes:
        core: it is told nothing but by this.
    """

    def __init__(self, core: Core, clock: Callable[[], float]) -> None:
        self.core = core
        self.now = clock
        self._attempt = 0  # the connection that is being made, or is there
        self._open = False
        self._timer: Timer | None = None
        self._waiting: list[Callable[[], None]] = []

    # What a shell does.

    def connect(self, attempt: int) -> None:
        """Make a connection; then call `opened`, or `gone`, with this ``attempt``."""
        raise NotImplementedError

    def write(self, data: bytes) -> None:
        """Write to the connection that is there."""
        raise NotImplementedError

    def hang_up(self) -> None:
        """Close the connection that is there or under way, at once."""
        raise NotImplementedError

    def later(self, delay_s: float, call: Callable[[], None]) -> Timer:
        """Call it then."""
        raise NotImplementedError

    # What it says.

    def opened(self, attempt: int) -> bool:
        """A connection is there; False: it is not wanted any more, close it."""
        if attempt != self._attempt or self.core.state != "connecting":
            return False
        self.core.connected(self.now())
        self.pump()
        return True

    def data(self, attempt: int, data: bytes) -> None:
        """Bytes came."""
        if attempt == self._attempt:
            self.core.received(data, self.now())
            self.pump()

    def gone(self, attempt: int, reason: str) -> None:
        """A connection ended, or could not be made."""
        if attempt == self._attempt:
            self._open = False
            self.core.lost(reason, self.now())
            self.pump()

    # What a client calls.

    def start(self) -> None:
        """Begin to connect."""
        self.core.start(self.now())
        self.pump()

    def close(self) -> None:
        """Ask nothing more."""
        self.core.close(self.now())
        self.pump()

    def when_live(self, call: Callable[[], None]) -> None:
        """Call once it is live or closed; perhaps at once."""
        self._waiting.append(call)
        self.pump()

    def entered(self) -> None:
        """
        Raises:
            ExchangeError: it is not live.
        """
        core = self.core
        if core.state != "live":
            error: ExchangeError | None = core.closed_by
            raise error or no_connection(core.address, core.line.reason)

    def pump(self) -> None:
        """Do what the core wants done by now."""
        core = self.core
        if core.state == "connecting" and not self._open:
            self._open = True
            self._attempt += 1
            self.connect(self._attempt)
        output = core.take_output()
        if output and self._open:
            self.write(output)
        if self._open and core.state in {"waiting", "closed"}:
            self._open = False
            self._attempt += 1
            self.hang_up()
        if core.state in {"live", "closed"}:
            waiting, self._waiting = self._waiting, []
            for call in waiting:
                call()
        if self._timer is not None:
            self._timer.cancel()
        deadline = core.deadline()
        self._timer = (
            None if deadline is None else self.later(max(0.0, deadline - self.now()), self._tick)
        )

    def _tick(self) -> None:
        self._timer = None
        self.core.tick(self.now())
        self.pump()
