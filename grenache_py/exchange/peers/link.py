"""
One connection to another peer: its state, and what is known about the other side.

Pure. ``LINK`` is the table of states. A link that is not READY is not used for anything but the
handshake, or, while it is CONTESTED, the question whether the other side is still there.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

import attrs

from grenache_py.exchange.peers.handshake import PULSES_PROTOCOL, TERMS_PROTOCOL, Handshake
from grenache_py.exchange.rates import Rate, TokenBucket
from grenache_py.exchange.signed_log.head import NO_HEAD, Head
from grenache_py.state_machine import Transitions

__all__ = [
    "LINK",
    "MESSAGE_RATE",
    "ORIGINS_MAX",
    "PENDING_MAX",
    "LinkEvent",
    "LinkState",
    "PeerLink",
    "PendingRequest",
]

#: Messages of one link. What a peer can digest in Python is about this; more is abuse.
MESSAGE_RATE = Rate(10_000, 40_000)
#: Requests of ours that one link may owe an answer.
PENDING_MAX = 4_096
#: Origins whose head one link may tell.
ORIGINS_MAX = 20_000


class LinkState(enum.Enum):
    """Where a link is in its life."""

    #: The key is proven; the hello has not come, or is just being judged.
    HANDSHAKING = enum.auto()
    #: The one link to that peer that is used.
    READY = enum.auto()
    #: A newer link has the same key with another boot id; this one is only asked for a sign of
    #: life (``clones.py``).
    CONTESTED = enum.auto()
    #: Not used any more; the shell closes it, or it is gone.
    CLOSING = enum.auto()


class LinkEvent(enum.Enum):
    """What changes the state of a link."""

    #: The hello came and this peer wants the link.
    ACCEPT = enum.auto()
    #: A newer link has the same key with another boot id.
    CONTEST = enum.auto()
    #: This side ends the link.
    CLOSE = enum.auto()
    #: The connection is gone.
    LOSE = enum.auto()


#: The states of a link. Whatever happens to it, it never comes back from CLOSING.
LINK = Transitions(
    "link",
    {
        (LinkState.HANDSHAKING, LinkEvent.ACCEPT): LinkState.READY,
        (LinkState.READY, LinkEvent.CONTEST): LinkState.CONTESTED,
        (LinkState.HANDSHAKING, LinkEvent.CLOSE): LinkState.CLOSING,
        (LinkState.HANDSHAKING, LinkEvent.LOSE): LinkState.CLOSING,
        (LinkState.READY, LinkEvent.CLOSE): LinkState.CLOSING,
        (LinkState.READY, LinkEvent.LOSE): LinkState.CLOSING,
        (LinkState.CONTESTED, LinkEvent.CLOSE): LinkState.CLOSING,
        (LinkState.CONTESTED, LinkEvent.LOSE): LinkState.CLOSING,
        (LinkState.CLOSING, LinkEvent.LOSE): LinkState.CLOSING,
    },
)

# Looking a member up in its enum costs more than a global name in Python 3.10.
_READY, _CLOSING = LinkState.READY, LinkState.CLOSING


@attrs.frozen
class PendingRequest:
    """
    A request of ours.

    Attributes:
        answered: who to tell of the result (None: it failed).
        asked, deadline: since when, and until when at most.
        stall_s: how long the link may bring no answer to questions like this one.
    """

    method: str
    answered: Callable[[dict[str, Any] | None, dict[str, Any] | None, float], None]
    asked: float
    deadline: float
    stall_s: float


@attrs.define(eq=False)
class PeerLink:
    """
    One connection.

    Attributes:
        id: the shell's number for it.
        address: of the other end, as seen from here.
        key: the peer's key, proven by TLS.
        handshake: until the hellos are said.
        boot: the peer's boot id, "" before its hello.
        term: that its hello claims, 0 for none.
        listen: ``host:port`` it can be dialled at, "" when it cannot.
        state: changed by ``LinkTable`` only, along ``LINK``.
        heard: when the last message came.
        clock_ahead_s, clock_at: this clock less the other side's, in seconds, and when that was
            measured; None before.
        heads: the heads it told of and that are not held here, by origin.
        hollow: heads of which it could show neither the entries nor a heartbeat, by origin.
        heads_again: it did not deliver what it promised; its heads are not believed until then.
        told: the heads it was told, or told of itself, by origin; of logs that rest nothing is kept
            (``head_exchange.py``).
        delivered: entries and orders that it was the first to bring.
        delivered_at: when it last did, or was taken into the mesh.
        answered: when it last answered a question that must not stall.
        points: of what it asked for, not paid yet (``turns.py``).
        answer_bytes: of the answers it got, likewise.
        reads: questions of it that wait for the store.
        mesh: entries are pushed to it at once (``mesh.py``).
        mesh_again: not grafted before this time.
    """

    id: int
    outbound: bool
    address: str
    opened: float
    handshake: Handshake
    bucket: TokenBucket
    key: str
    boot: str = ""
    term: int = 0
    listen: str = ""
    state: LinkState = LinkState.HANDSHAKING
    heard: float = 0.0
    ping_sent: float = 0.0
    pings_missed: int = 0
    latency_s: float | None = None
    clock_ahead_s: float | None = None
    clock_at: float = 0.0
    heads: dict[str, Head] = attrs.Factory(dict)
    hollow: dict[str, Head] = attrs.Factory(dict)
    heads_again: float = 0.0
    told: dict[str, Head] = attrs.Factory(dict)
    delivered: int = 0
    delivered_at: float = 0.0
    answered: float = 0.0
    points: int = 0
    answer_bytes: int = 0
    reads: int = 0
    mesh: bool = False
    mesh_again: float = 0.0
    pending: dict[int, PendingRequest] = attrs.Factory(dict)

    def bill(self) -> tuple[int, int]:
        """Points and bytes of answers since the last bill."""
        points, size = self.points, self.answer_bytes
        self.points = self.answer_bytes = 0
        return points, size

    @property
    def reads_terms(self) -> bool:
        """Whether the other side understands an address record with a term."""
        return (self.handshake.protocol or 0) >= TERMS_PROTOCOL

    @property
    def reads_pulses(self) -> bool:
        """Whether the other side understands ``lease.*`` messages."""
        return (self.handshake.protocol or 0) >= PULSES_PROTOCOL

    @property
    def full(self) -> bool:
        """Whether it may be asked nothing before it has answered: no fault of its."""
        return len(self.pending) >= PENDING_MAX

    def is_hollow(self, origin: str, head: Head) -> bool:
        """Whether it could show nothing of a log up to there, or further."""
        return head.position <= self.hollow.get(origin, NO_HEAD).position

    def cannot_show(self, origin: str, held: Head) -> None:
        """It has no heartbeat of a log that is held here up to ``held``: it cannot help."""
        head = max(self.heads.pop(origin, NO_HEAD), self.told.get(origin, NO_HEAD), held)
        if len(self.hollow) < ORIGINS_MAX:
            self.hollow[origin] = head

    @property
    def ready(self) -> bool:
        """Whether this is the one link to its peer that is used."""
        return self.state is _READY

    @property
    def closing(self) -> bool:
        """Whether this link is not used any more and never will be."""
        return self.state is _CLOSING
