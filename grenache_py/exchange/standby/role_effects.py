"""
What a daemon's role wants done, as values that its shell carries out.

Pure. Each has the number of its step: what comes of it is told with that number, and an answer to
a step that is over changes nothing.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs

__all__ = [
    "Ask",
    "DropNode",
    "EndSessions",
    "Finish",
    "GiveUp",
    "LoadNode",
    "Look",
    "Raise",
    "RoleEffect",
    "TwoDatabases",
]


@attrs.frozen
class Look:
    """
    Read the term; then ``DaemonRole.seen``.

    Attributes:
        alive: the term that this process holds: if it is that still, write first that its holder
            lives, and wait until that is replicated; 0: only read.
    """

    step: int
    alive: int


@attrs.frozen
class EndSessions:
    """
    End every database session of the terms up to ``number``; then ``DaemonRole.ended``.

    Only if the holder is silent for ``silent_s`` still, as in `Raise`; else ``DaemonRole.outrun``:
    who was stopped before this, and wakes, must not disturb one that serves.
    """

    step: int
    number: int
    silent_s: float


@attrs.frozen
class Raise:
    """
    Commit a new term, and wait until it is replicated; then ``DaemonRole.raised``.

    In one transaction, and only if the term is still ``expected`` and its holder silent for
    ``silent_s`` or gone; else ``DaemonRole.outrun``. Any error, and any warning about the wait,
    is ``DaemonRole.failed``.

    Attributes:
        silent_s: by the database's clock; 0: the term is this daemon's own.
    """

    step: int
    expected: int
    number: int
    boot: str
    holder: str
    silent_s: float


@attrs.frozen
class LoadNode:
    """
    Make a node from what the database holds; then ``DaemonRole.loaded``.

    Attributes:
        term: which each of its transactions checks, and which it shows to other peers.
        new_epoch: close all own orders and begin a new log (docs/design/standby.rst#rule-8).
        listen: the node hears its neighbours first, as it cannot know whether the database is
            an old one (docs/design/identity.rst#old-disk).
    """

    step: int
    term: int
    new_epoch: bool
    listen: bool


@attrs.frozen
class DropNode:
    """Forget the node and all it has not released: its connections end, and the database's."""

    reason: str


@attrs.frozen
class Finish:
    """Take no more orders, and commit and release those taken; then ``DaemonRole.finished``."""

    step: int


@attrs.frozen
class GiveUp:
    """Leave the term without a holder if it is ``number``; then ``DaemonRole.given_up``."""

    step: int
    number: int


@attrs.frozen
class Ask:
    """Write that ``boot`` is wanted to serve. Nobody waits for it."""

    boot: str


@attrs.frozen
class TwoDatabases:
    """Another database has given this identity term ``number``: the node must sign nothing."""

    number: int


RoleEffect: TypeAlias = (
    Look | EndSessions | Raise | LoadNode | DropNode | Finish | GiveUp | Ask | TwoDatabases
)
