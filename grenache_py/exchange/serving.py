"""
Whether this home may serve: after it has listened, without an alarm, by a clock that is right.

Pure. A home that was restarted says nothing in its own name before it has listened to what its
neighbours hold of its log: its disk may be an old copy (docs/design/identity.rst#old-disk). Its
wall clock, and one that leapt, is believed when the neighbours agree or nobody is there
(docs/design/log.rst#clock-rests). Stamps never step back, so a home that followed a clock hours
ahead is not heard once that is put right, until the time has come up to them.
"""

from __future__ import annotations

from collections.abc import Callable

from grenache_py.alarms import utc
from grenache_py.exchange.errors import BUSY, OrderError
from grenache_py.exchange.peers.link import PeerLink
from grenache_py.exchange.peers.neighbour_clocks import ENOUGH, ClockOffset, NeighbourClocks
from grenache_py.exchange.signed_log.hybrid_clock import AHEAD_MS_MAX, HybridClock

__all__ = ["ALONE_S", "LISTEN_S", "Serving"]

#: A restarted home listens so long, from its first link on.
LISTEN_S = 3.0
#: It serves without when nobody could be reached for so long.
ALONE_S = 10.0
#: When only one neighbour says that the clock is wrong, either may be right: so long it has a say.
#: And so long a clock that leapt rests while nobody tells the time.
DOUBT_S = 90.0
#: A difference to the neighbours' clocks that an operator is warned of ...
CLOCK_WARNING_S = 1.0
#: ... and one beyond which they do not take this home's entries.
CLOCK_ALARM_S = AHEAD_MS_MAX / 1000
_TWO_DAEMONS = "another process proves this peer's key: two daemons, one identity"


class Serving:
    """
    See the module.

    Attributes:
        on_change: called with the alarms and warnings when others came, or some went.
        listening: this home was restarted and has not heard its neighbours yet.
        wall_jumps: whether the machine's clock says another time than the one this home is told.
        damage: what of the store cannot be read, or "".
    """

    def __init__(
        self,
        clock: HybridClock,
        clocks: NeighbourClocks,
        ready: Callable[[], list[PeerLink]],
        proofs: list[str],
        own_clone: Callable[[], bool],
        superseded: Callable[[], bool] = lambda: False,
    ) -> None:
        """
        Args:
            ready: the links that are used.
            proofs: what proves that this home must not sign any more.
            own_clone: whether another process uses this home's key.
            superseded: whether a peer has shown a higher term of this identity.
        """
        self.on_change: list[Callable[[list[str], list[str]], None]] = []
        self.listening = False
        self.wall_jumps: Callable[[], bool] = lambda: False
        self.damage = ""
        self._clock = clock
        clock.may_leap = lambda: not ready()  # nobody is there to ask
        self._clocks = clocks
        self._ready = ready
        self._proofs = proofs
        self._own_clone = own_clone
        self._superseded = superseded
        self._since = 0.0  # listening, or with a clock that rests
        self._linked_at: float | None = None
        self._rested = False
        self._clock_alarm = self._clock_warning = self._stamps_alarm = ""
        self._said: tuple[list[str], bool, bool, bool] = ([], False, False, False)

    def begin(self, restarted: bool, others_known: bool, now: float) -> None:
        """
        This process started.

        Args:
            restarted: there is a log, and no operator's word that it may be old.
            others_known: there are other homes, or addresses to look for them at.
        """
        if restarted and others_known:
            self._clock.rest()
            self.listening = self._rested = True
            self._since = now
        else:
            self._clock.trust(now)

    def tick(self, now: float) -> None:
        """See whether it is over; call it every second."""
        links = self._ready()
        self._since = min(self._since, now)  # when the clock was put back
        if self.listening:
            if links and (self._linked_at is None or self._linked_at > now):
                self._linked_at = now
            if self._linked_at is None:
                self.listening = now < self._since + ALONE_S
            else:
                self.listening = now < self._linked_at + LISTEN_S
        elif self._clock.resting:
            if not self._rested:  # it leapt just now
                self._rested, self._since = True, now
            if self._believed(bool(links), now):
                self._clock.trust(now)
                self._rested = False
        self._look(now)

    def _believed(self, linked: bool, now: float) -> bool:
        """Whether a clock that rests is to be followed again."""
        found = self._clocks.offset(self._since)
        agrees = found is not None and abs(found.ahead_s) <= CLOCK_ALARM_S
        if agrees or self.wall_jumps():  # a time that is about to be put right is no better later
            return agrees
        if found is None:
            patience_s = ALONE_S if linked else 0.0
            if self._clock.leaps(now):  # perhaps the network is not up yet
                patience_s = DOUBT_S
            return now >= self._since + patience_s
        return found.neighbours < ENOUGH and now >= self._since + DOUBT_S

    def _look(self, now: float) -> None:
        found = self.clock_offset
        off = 0.0 if found is None else abs(found.ahead_s)
        text = "" if found is None or off <= CLOCK_WARNING_S else _clocks_differ(found, now)
        wrong = off > CLOCK_ALARM_S and (
            self._clock.resting or (found is not None and found.neighbours >= ENOUGH)
        )
        self._clock_alarm = f"{text}; new orders are refused until then" if wrong else ""
        self._clock_warning = text if not wrong else ""
        self._stamps_alarm = "" if found is None else self._stamps_ahead(found, now)
        said = (
            self.alarms_but_clock(),
            wrong,
            bool(self._clock_warning),
            bool(self._stamps_alarm),
        )
        if said != self._said:
            self._said = said
            for tell in self.on_change:
                tell(self.alarms(), self.warnings())

    def _stamps_ahead(self, found: ClockOffset, now: float) -> str:
        """What is wrong with stamps that are ahead of both clocks: one neighbour may lie."""
        stamp = self._clock.ms / 1000
        if stamp - max(now, now - found.ahead_s) <= CLOCK_ALARM_S:
            return ""
        return (
            f"the newest entry of this home's log is of {utc(stamp)}, and this machine's clock says"
            f" {utc(now)}: other peers take nothing of this home until"
            f" {utc(stamp - CLOCK_ALARM_S)}; new orders are refused until then"
        )

    @property
    def clock_offset(self) -> ClockOffset | None:
        """How far the clock is from the neighbours'."""
        return self._clocks.offset()

    @property
    def silent(self) -> bool:
        """Whether this home must sign nothing at all."""
        return self.listening or bool(self._proofs) or self._superseded() or self._own_clone()

    def must_sign(self) -> None:
        """
        Raises:
            OrderError: this home must sign nothing.
        """
        if self.silent:
            raise self._refusal()

    def must_take(self) -> None:
        """
        Raises:
            OrderError: this home must take no new orders.
        """
        if self.silent or self._clock_alarm or self._stamps_alarm:
            raise self._refusal()

    def _refusal(self) -> OrderError:
        if self.listening:
            return OrderError(
                BUSY,
                "this peer was restarted and listens to its neighbours first; ask again in some"
                " seconds",
                retry_after_ms=1000,
            )
        if self._superseded():
            return OrderError(
                BUSY,
                "another daemon of this identity may serve now; ask again in a second",
                retry_after_ms=1000,
            )
        return OrderError(BUSY, f"this peer does not serve: {self.alarms()[0]}")

    def raised(self) -> dict[str, str]:
        """What is wrong, by the id of its alarm."""
        found = {
            "clock-wrong": self._clock_alarm,
            "stamps-ahead": self._stamps_alarm,
            "clock-differs": self._clock_warning,
            "log-damaged": self.damage,
        }
        if self._proofs:
            found["own-log"] = self._proofs[0]
        if self._own_clone():
            found["two-daemons"] = _TWO_DAEMONS
        return {id: text for id, text in found.items() if text}

    def alarms(self) -> list[str]:
        """Why this home does not serve; empty when all is well."""
        return [*self.alarms_but_clock(), *self._alarms_of_clock()]

    def _alarms_of_clock(self) -> list[str]:
        return list(filter(None, [self._clock_alarm, self._stamps_alarm]))

    def alarms_but_clock(self) -> list[str]:
        """Those that nothing but an operator ends."""
        alarms = list(self._proofs)
        if self._own_clone():
            alarms.append(_TWO_DAEMONS)
        return alarms

    def warnings(self) -> list[str]:
        """What will become a reason."""
        return list(filter(None, [self._clock_warning]))


def _clocks_differ(found: ClockOffset, now: float) -> str:
    """Name both clocks."""
    who = "a neighbour's" if found.neighbours == 1 else f"the {found.neighbours} neighbours'"
    return (
        f"this machine's clock says {utc(now)}, {who} {utc(now - found.ahead_s)}: set the wrong"
        " one right, with an NTP service"
    )
