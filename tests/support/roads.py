"""
Roads between processes: relays that a test slows down, cuts, blocks, or stops at one message.

All run on one thread of their own. A place is the path of a UNIX socket, or ``HOST:PORT``.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Literal, TypeVar

__all__ = ["POINTS", "Point", "Road", "Roads", "Trap"]

T = TypeVar("T")

#: Around the commit of an order: nothing of it has reached the server; its rows have, and COMMIT
#: has not; all was sent; the server has answered, and nobody heard it; the answer has arrived.
Point = Literal["before", "inside", "sent", "answered", "after"]
POINTS: tuple[Point, ...] = ("before", "inside", "sent", "answered", "after")

#: Both ends of a blocked connection give it up after so long: keepalive, as
#: ``storage/postgresql/sessions.py`` sets it.
GIVEN_UP_S = 11.0
#: PostgreSQL's messages: an execution of COMMIT as it was prepared, what makes it answer now, and
#: the answer to a COMMIT.
_COMMIT = re.compile(rb"B\0\0\0.\0commit\0", re.DOTALL)
_OF_AN_ORDER = b"\0OrderRow\0"
_FLUSH = b"H\0\0\0\4"
_COMMITTED = b"COMMIT\0"


class Trap:
    """
    Springs at one point of the next commit of an order, and holds up what would follow.

    Attributes:
        sprung: set when it has.
    """

    def __init__(self, point: Point) -> None:
        self.point = point
        self.sprung = threading.Event()
        self.released = asyncio.Event()
        self.lost = False


class Roads:
    """The thread that all roads of a test run on. Leave with ``close``."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._servers: list[asyncio.Server] = []
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def lead(self, place: str, to: str, delay_s: float = 0.0) -> Road:
        """Have who connects to ``place`` talk to ``to``, ``delay_s`` away in each direction."""
        return self.run(self._lead(place, to, delay_s))

    async def _lead(self, place: str, to: str, delay_s: float) -> Road:
        road = Road(self, to, delay_s)
        if "/" in place:
            self._servers.append(await asyncio.start_unix_server(road.travelled, place))
            os.chmod(place, 0o777)  # servers may run as another user
        else:
            host, _, port = place.rpartition(":")
            self._servers.append(await asyncio.start_server(road.travelled, host, int(port)))
        return road

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it on the thread, to its end."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def close(self) -> None:
        """End all that passes, and the thread."""

        async def end() -> None:
            for server in self._servers:
                server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        self.run(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Road:
    """One relay, which any number of connections take; see `Roads.lead`."""

    def __init__(self, roads: Roads, to: str, delay_s: float) -> None:
        self.to = to
        self.delay_s = delay_s
        self.trap: Trap | None = None
        self.passable = asyncio.Event()
        self.passable.set()
        self._roads = roads
        self._whole = True
        self._taken: set[_Passage] = set()

    async def travelled(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Somebody has connected."""
        passage = _Passage(self, reader, writer)
        self._taken.add(passage)
        try:
            if self._whole:
                await passage.run()
        except (OSError, asyncio.CancelledError):
            pass  # nobody is there, or the end
        finally:
            passage.abort()
            self._taken.discard(passage)

    def cut(self) -> None:
        """End all connections, and refuse new ones, until it is mended."""
        self._roads.run(self._cut())

    async def _cut(self) -> None:
        self._whole = False
        self._abort()

    def block(self) -> None:
        """Let nothing pass any more, in neither direction, and tell nobody."""
        self._roads.run(self._block())

    async def _block(self) -> None:
        self.passable.clear()
        blocked = set(self._taken)

        def give_up() -> None:
            for passage in blocked & self._taken:
                if not self.passable.is_set():
                    passage.abort()

        asyncio.get_running_loop().call_later(GIVEN_UP_S, give_up)

    def mend(self) -> None:
        """Let pass again."""
        self._roads.run(self._mend())

    async def _mend(self) -> None:
        self._whole = True
        self.passable.set()

    def set_trap(self, point: Point) -> Trap:
        """Stop whoever commits an order next."""

        async def set() -> Trap:
            self.trap = Trap(point)
            return self.trap

        return self._roads.run(set())

    def release(self, lost: bool) -> None:
        """
        Let go on who is in the trap, and take it away.

        Args:
            lost: the sender is dead: what was held up never left.
        """
        self._roads.run(self._release(lost))

    async def _release(self, lost: bool) -> None:
        trap, self.trap = self.trap, None
        if trap is not None:
            trap.lost = lost
            trap.released.set()

    def _abort(self) -> None:
        for passage in list(self._taken):
            passage.abort()


class _Passage:
    """One connection, and the one behind it."""

    def __init__(
        self, road: Road, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._road = road
        self._reader, self._writer = reader, writer
        self._far: asyncio.StreamWriter | None = None
        self._trap: Trap | None = None  # that this one is in
        self._held = b""  # answers that wait there

    async def run(self) -> None:
        await self._road.passable.wait()
        to = self._road.to
        if "/" in to:
            far_reader, far = await asyncio.open_unix_connection(to)
        else:
            host, _, port = to.rpartition(":")
            far_reader, far = await asyncio.open_connection(host, int(port))
        self._far = far
        there = asyncio.create_task(self._carry(self._reader, far, self._onward))
        back = asyncio.create_task(self._carry(far_reader, self._writer, self._back))
        try:
            await asyncio.gather(there, back)
        finally:
            there.cancel()
            back.cancel()

    def abort(self) -> None:
        for writer in (self._writer, self._far):
            if writer is not None:
                writer.transport.abort()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, on: Any
    ) -> None:
        loop, delay_s = asyncio.get_running_loop(), self._road.delay_s
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                await self._road.passable.wait()
                if delay_s:
                    loop.call_later(delay_s, writer.write, data)
                else:
                    await on(data, writer)
        await self._road.passable.wait()  # that an end was reached does not get through either
        loop.call_later(delay_s, writer.close)

    async def _onward(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        trap = self._road.trap
        commit = _COMMIT.search(data) if trap and not trap.sprung.is_set() else None
        if trap is None or self._trap or commit is None or _OF_AN_ORDER not in data:
            writer.write(data)
            return
        self._trap = trap
        if trap.point == "before":
            trap.sprung.set()
            await trap.released.wait()
            data = b"" if trap.lost else data
        elif trap.point == "inside":
            writer.write(data[: commit.start()] + _FLUSH)
            await trap.released.wait()  # `_back` springs it
            data = b"" if trap.lost else data[commit.start() :]
        elif trap.point == "sent":
            trap.sprung.set()
        writer.write(data)

    async def _back(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        trap = self._trap
        if trap is None or trap.released.is_set():
            writer.write(data)
        elif trap.point == "inside":
            writer.write(data)
            trap.sprung.set()
        elif trap.point == "after":
            writer.write(data)
            if _COMMITTED in data:
                trap.sprung.set()
        else:
            self._held += data
            if _COMMITTED in self._held:
                trap.sprung.set()
                await trap.released.wait()
                writer.write(self._held)
