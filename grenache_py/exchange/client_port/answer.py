"""
The answer to one line: one part for each of its requests, and what each part waits for.

Pure. A part is known at once, or made when the batch is sealed, or waits for the store. Every
request is answered (docs/failure-modes.rst#f20).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from inspect import CORO_CREATED, getcoroutinestate, iscoroutine
from typing import Any

from msgspec import UNSET, UnsetType

from grenache_py.exchange.client_port.methods.registry import AtSeal, FollowingLines
from grenache_py.exchange.errors import BUSY, INTERNAL_ERROR, OrderError, StoreError
from grenache_py.state_machine import Transitions
from grenache_py.wire.jsonrpc import Id, batch_line, error_line, result_line

__all__ = [
    "INTERNAL",
    "PART_TRANSITIONS",
    "Answer",
    "Fault",
    "Known",
    "PartEvent",
    "PartState",
    "error_part",
    "result_part",
]

INTERNAL = "Something is wrong inside the daemon; its log says more."


class Fault(bytes):
    """The answer to a request that a bug of ours kept from being carried out: it stays so."""


class PartState(Enum):
    """What the answer to one request waits for."""

    #: Its line is made, and what it says may not be durable yet.
    KNOWN = "known"
    #: It is made when the batch under way is complete.
    AT_SEAL = "at_seal"
    #: It is a coroutine, which waits for the store or the like.
    WAITING = "waiting"
    #: Its line may leave.
    READY = "ready"


class PartEvent(Enum):
    """What happens to the answer to one request."""

    #: The batch is complete, and the line was made.
    SEALED = "sealed"
    #: The batch is complete, and what was made of it has to wait.
    SEALED_WAITS = "sealed_waits"
    #: The coroutine has ended, and the line was made.
    FINISHED = "finished"
    #: The coroutine has ended and changed the node: the batch that holds this has to be sealed.
    FINISHED_CHANGED = "finished_changed"
    #: What the line says is durable.
    RELEASED = "released"
    #: What was done is not durable: the line is an error now.
    REFUSED = "refused"


PART_TRANSITIONS = Transitions(
    "part of an answer",
    {
        (PartState.KNOWN, PartEvent.RELEASED): PartState.READY,
        (PartState.KNOWN, PartEvent.REFUSED): PartState.READY,
        (PartState.AT_SEAL, PartEvent.SEALED): PartState.KNOWN,
        (PartState.AT_SEAL, PartEvent.SEALED_WAITS): PartState.WAITING,
        (PartState.AT_SEAL, PartEvent.REFUSED): PartState.READY,
        (PartState.WAITING, PartEvent.FINISHED): PartState.KNOWN,
        (PartState.WAITING, PartEvent.FINISHED_CHANGED): PartState.AT_SEAL,
        (PartState.WAITING, PartEvent.REFUSED): PartState.READY,
        (PartState.READY, PartEvent.REFUSED): PartState.READY,
    },
)


class _Part:
    """The answer to one request: a line, or what its line will be made of."""

    __slots__ = ("content", "id", "state")

    def __init__(self, id: Id | UnsetType, content: Any) -> None:
        self.id = id
        self.content = content
        if isinstance(content, bytes):
            self.state = PartState.KNOWN
        else:
            self.state = PartState.AT_SEAL if isinstance(content, AtSeal) else PartState.WAITING

    def happens(self, event: PartEvent, content: Any) -> None:
        """
        Raises:
            LocalProtocolError: not in this state; the part stays as it was.
        """
        self.state = PART_TRANSITIONS.next(self.state, event)
        self.content = content


class Answer:
    """
    The answer to one line, under way.

    Attributes:
        waits: `finish` is needed; right once it was sealed.
        requests: how many it answers, at least 1.
        lookups: those of them that somebody waits to see answered, to have more carried out.
        ready: the whole answer as a line once it may leave, empty if nobody asked for one.
        begun: subscriptions it begins: their notifications wait for it.
        pages: lines that follow it, page by page.
    """

    __slots__ = (
        "_after",
        "_at",
        "_batch",
        "_parts",
        "begun",
        "lookups",
        "pages",
        "ready",
        "requests",
        "waits",
    )

    def __init__(self, parts: list[tuple[Id | UnsetType, Any]], batch: bool = False) -> None:
        """
        Args:
            parts: the id of each request, and its line, an `AtSeal` or a coroutine.
            batch: the line was a JSON-RPC batch, so the answer is one too.
        """
        self._parts = [_Part(id, content) for id, content in parts]
        self._batch = batch
        self.requests = max(1, len(parts))
        self.lookups = 0
        self._after: list[AtSeal] = []
        self._at: _Part | None = None  # being worked on by `seal` or `finish`
        self.begun: Sequence[str] = ()
        self.pages: Sequence[FollowingLines] = ()
        self.waits = False
        self.ready: bytes | None = None

    def seal(self) -> None:
        """
        The batch is complete: make what waited for that; afterwards ``waits`` is right.

        Raises:
            Exception: a bug in one request. Call `fault`, then ``seal`` again for the others.
        """
        for part in self._parts:
            if part.state is PartState.AT_SEAL:
                self._at = part
                at_seal: AtSeal = part.content
                if at_seal.begins:
                    self.begun = (*self.begun, at_seal.begins)
                value = at_seal.make()
                self._after.append(at_seal)
                if iscoroutine(value):
                    part.happens(PartEvent.SEALED_WAITS, value)
                else:
                    part.happens(PartEvent.SEALED, result_part(part.id, value))
            if part.state is PartState.WAITING:
                self.waits = True

    async def finish(self) -> None:
        """
        Wait for what has to be waited for; what was done before must be durable by now.

        Where that changed the node, ``ready`` is None afterwards: seal and release it again.

        Raises:
            Exception: a bug in one request. Call `fault`, then ``finish`` again for the others.
        """
        unsealed = any(part.state is PartState.AT_SEAL for part in self._parts)
        for part in list(self._parts):
            if part.state is not PartState.WAITING or self.ready is not None:
                continue
            event = PartEvent.FINISHED
            self._at = part
            try:
                value = await part.content
            except OrderError as error:
                value = error_part(part.id, error.code, error.message, error.data)
            except StoreError as error:
                value = error_part(part.id, BUSY, f"The store cannot be read: {error}")
            else:
                if isinstance(value, AtSeal):
                    event, unsealed = PartEvent.FINISHED_CHANGED, True
                else:
                    value = result_part(part.id, value)
            if self.ready is None:
                part.happens(event, value)
        self.waits = False
        if not unsealed and self.ready is None:
            self.release()

    def fault(self) -> None:
        """What `seal` or `finish` was at has a bug: that request is answered with an error."""
        part = self._at
        if part is None or self.ready is not None:
            return  # it was refused meanwhile
        event = PartEvent.SEALED if part.state is PartState.AT_SEAL else PartEvent.FINISHED
        part.happens(event, Fault(error_part(part.id, INTERNAL_ERROR, INTERNAL)))

    def release(self) -> None:
        """
        All parts are known and durable: the answer may leave.

        Raises:
            LocalProtocolError: a part is not known yet.
        """
        for part in self._parts:
            part.happens(PartEvent.RELEASED, part.content)
        ready = self._join([part.content for part in self._parts if part.content])
        self.ready = b"".join([ready, *(line for each in self._after for line in each.after)])
        self.pages = [at_seal.pages for at_seal in self._after if at_seal.pages is not None]

    def _join(self, lines: list[bytes]) -> bytes:
        if not lines:
            return b""  # notifications only
        return batch_line(lines) if self._batch else lines[0]

    def discard(self) -> None:
        """Nobody is there to hear it any more: nothing further is begun for it."""
        self._close_unstarted()
        self._parts.clear()
        self._after.clear()
        self.ready = b""

    def _close_unstarted(self) -> None:
        for part in self._parts:
            coroutine = part.content
            if iscoroutine(coroutine) and getcoroutinestate(coroutine) == CORO_CREATED:
                coroutine.close()

    def refuse(self, code: int, message: str, **data: Any) -> None:
        """Answer every request with an error instead: what was done is not durable."""
        self._close_unstarted()
        self._after.clear()
        self.waits = False
        for part in self._parts:
            stays = type(part.content) is Fault
            line = part.content if stays else error_part(part.id, code, message, data)
            part.happens(PartEvent.REFUSED, line)
        self.ready = self._join([part.content for part in self._parts if part.content])


class Known(Answer):
    """The answer to a single request whose result was known at once, as nearly all are."""

    __slots__ = ("_id", "_line", "lookups")
    waits = False
    begun = ()
    pages = ()
    requests = 1

    def __init__(self, id: Id | UnsetType, line: bytes) -> None:
        self._id = id
        self._line = line
        self.lookups = 0
        self.ready = None

    def seal(self) -> None:
        """Nothing waits for it."""

    def release(self) -> None:
        self.ready = self._line

    def discard(self) -> None:
        self.ready = b""

    def refuse(self, code: int, message: str, **data: Any) -> None:
        self.ready = error_part(self._id, code, message, data)


def result_part(id: Id | UnsetType, result: Any) -> bytes:
    """The line of a result; empty when the request had no id, which asks for no answer."""
    return b"" if id is UNSET else result_line(id, result)


def error_part(
    id: Id | UnsetType, code: int, message: str, data: dict[str, Any] | None = None
) -> bytes:
    """
    The line of an error; empty when the request had no id, which asks for no answer.

    Who is told to ask again later is told whether it may have happened already: ``outcome`` is
    "none" unless ``data`` says otherwise.
    """
    if code == BUSY:
        data = {"outcome": "none", **(data or {})}
    return b"" if id is UNSET else error_line(id, code, message, data)
