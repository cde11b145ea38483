"""
One connection after another to a daemon: how long each may be silent, and when to try again.

Pure. The core says what happened and when; this says in which state that leaves the client, and
when something is due.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal, TypeAlias

from msgspec import Struct

__all__ = ["SILENT", "Due", "Line", "State"]

State: TypeAlias = Literal["connecting", "greeting", "live", "waiting", "closed"]
#: What a line wants done when its time has come.
Due: TypeAlias = Literal["", "connect", "ping", "dead"]

#: The first pause after a line was lost; it doubles up to the second number.
PAUSE_S, PAUSE_S_MAX = 0.1, 15.0
#: The pauses begin anew for a line that was live for so long.
STEADY_S = 10.0
#: A daemon that is silent for so long is asked whether it is there, and has as long to answer.
SILENCE_S = 10.0
#: A connection that is not made, or not greeted, in this time counts as lost.
GREETING_S = 5.0
#: Why a connection that is there is of no use yet.
SILENT = "it has not said who it is"


class Line(Struct):
    """
    The state of the line.

    Attributes:
        addresses: of the daemons to try, one after the other.
        place: which of them is the one of now.
        reason: why it is not live.
        heard_at: when anything was heard last.
        reconnects: how often it was live again after it was lost.
    """

    rng: random.Random
    addresses: Sequence[str]
    place: int = 0
    state: State = "waiting"
    reason: str = "not connected yet"
    heard_at: float = 0.0
    lost_at: float = 0.0
    reconnects: int = 0
    _tries: int = 0
    _due_at: float = 0.0
    _live_at: float | None = None
    _pinged: bool = False

    def connecting(self, now: float) -> None:
        """A connection is being made."""
        self.state, self._due_at = "connecting", now + GREETING_S

    def connected(self, now: float) -> None:
        """A connection is there, and nothing is known of the other end."""
        self.state, self.heard_at, self._due_at = "greeting", now, now + GREETING_S
        self.reason = SILENT

    def greeted(self, now: float) -> bool:
        """The daemon has said who it is; whether this is not the first time."""
        again = self._live_at is not None
        self.reconnects += again
        self.state, self.reason, self._live_at = "live", "", now
        self.heard(now)
        return again

    def heard(self, now: float) -> None:
        """Something came."""
        self.heard_at, self._pinged = now, False
        if self.state == "live":
            self._due_at = now + SILENCE_S

    @property
    def address(self) -> str:
        """Of the daemon that is tried or used."""
        return self.addresses[self.place]

    def lost(self, reason: str, now: float, serving: str = "") -> bool:
        """
        The connection is gone, or was not made; the next daemon is tried.

        Args:
            serving: which one is tried instead, if it is among them.

        Returns:
            whether it was live, or all have been tried.
        """
        others = self.addresses
        last = self.state == "live" or self._tries + 1 >= len(others)
        if self.state == "live":
            self.lost_at = now
            if self._live_at is not None and now - self._live_at >= STEADY_S:
                self._tries = 0
        # The pause grows when all of them were tried.
        pause = min(PAUSE_S * 2 ** (self._tries // len(others)), PAUSE_S_MAX)
        self._tries = min(self._tries + 1, 16 * len(others))
        self.state, self.reason = "waiting", reason
        self._due_at = now + pause * (0.5 + self.rng.random() / 2)
        self.place = others.index(serving) if serving in others else (self.place + 1) % len(others)
        return last

    def closed(self, reason: str) -> None:
        """There will be no other."""
        self.state, self.reason = "closed", reason

    def deadline(self) -> float | None:
        """When `due` has something next."""
        return None if self.state == "closed" else self._due_at

    def due(self, now: float) -> Due:
        """What is to be done now; "" for nothing."""
        if self.state == "closed" or now < self._due_at:
            return ""
        if self.state == "waiting":
            return "connect"
        if self.state == "live" and not self._pinged:
            self._pinged, self._due_at = True, now + SILENCE_S
            return "ping"
        return "dead"
