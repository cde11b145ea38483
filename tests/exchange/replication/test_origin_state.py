"""The states of another home's log: each event has one outcome, an illegal one changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grenache_py.errors import LocalProtocolError, RemoteProtocolError
from grenache_py.exchange.replication.missing_orders import MissingOrders
from grenache_py.exchange.replication.origin import Origin
from grenache_py.exchange.replication.origin_state import (
    ORIGIN_TRANSITIONS,
    OriginEvent,
    OriginState,
    _transitions,
)
from grenache_py.exchange.signed_log.entries import Entry, HeartbeatBody, StateBody
from grenache_py.exchange.signed_log.live_set import FINGERPRINT_MODULUS, element
from grenache_py.exchange.signed_log.merkle import Signed
from tests.exchange.replication.test_replica import ALICE, Author
from tests.support.peers import Network

HOME = "a" * 64


@attrs.define
class Flags:
    """The same, as flags: what the states replaced."""

    suspect: bool = False
    checked: bool = False
    expected: bool = False
    frozen: bool = False

    @property
    def complete(self) -> bool:
        return self.checked and not self.suspect and not self.frozen

    @property
    def unsure(self) -> bool:
        return self.suspect and not self.frozen


def entry(origin: Origin, ahead: int) -> Entry:
    seq = origin.seq + ahead
    return Entry(HOME, origin.epoch, seq, "0" * 64, (origin.time[0] + 1, 0))


class Driver:
    """Does one thing to an origin and to the flags."""

    def __init__(self) -> None:
        self.origin = Origin(HOME)
        self.flags = Flags()

    def beat(self, agrees: bool) -> HeartbeatBody:
        held = self.origin.fingerprint
        return HeartbeatBody(20_000, 0, f"{held if agrees else held + 1:064x}")

    def beat_agrees(self) -> None:
        self.origin.heard_beat(self.beat(True))
        self.flags.checked, self.flags.suspect, self.flags.expected = True, False, False

    def beat_differs(self) -> None:
        self.origin.heard_beat(self.beat(False))
        self.flags.checked, self.flags.suspect, self.flags.expected = False, True, True

    def chain_breaks(self) -> None:
        self.origin.chain_broke()
        self.flags.suspect, self.flags.expected = True, False

    def jumps(self, agrees: bool) -> None:
        next_one, beat = entry(self.origin, 5), self.beat(agrees)
        self.origin.adopted(attrs_moved(self.origin, next_one, beat), beat)
        self.flags.suspect, self.flags.checked, self.flags.expected = False, agrees, not agrees

    def jumps_to_what_agrees(self) -> None:
        self.jumps(True)

    def jumps_to_what_differs(self) -> None:
        self.jumps(False)

    def adopts_an_older_beat(self) -> None:
        self.origin.seq += 2
        try:
            self.origin.adopted(entry(self.origin, -1), self.beat(True))
        except LocalProtocolError:
            self.origin.seq -= 2
            raise
        self.flags.suspect = self.flags.checked = False

    def log_agrees(self) -> None:
        if self.origin.expected is None:
            self.origin.settle()  # nothing is expected: nothing happens
            return
        self.origin.expected = self.origin.fingerprint, 0
        self.origin.settle()
        self.flags = Flags(checked=True)

    def begins_an_epoch(self) -> None:
        self.origin.begin_epoch(self.origin.epoch + 1)
        self.flags = Flags()

    def breaks_a_rule(self) -> None:
        self.origin.freeze("it lied")
        self.flags.frozen, self.flags.expected = True, False


def attrs_moved(origin: Origin, moved: Entry, beat: HeartbeatBody) -> Entry:
    if origin.state is not OriginState.FROZEN:
        origin.jump(moved, beat, "1" * 64)
    return moved


ACTS: list[Callable[[Driver], None]] = [
    Driver.beat_agrees,
    Driver.beat_differs,
    Driver.chain_breaks,
    Driver.jumps_to_what_agrees,
    Driver.jumps_to_what_differs,
    Driver.adopts_an_older_beat,
    Driver.log_agrees,
    Driver.begins_an_epoch,
    Driver.breaks_a_rule,
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(ACTS), max_size=30))
def test_the_states_say_what_the_flags_said(acts: list[Callable[[Driver], None]]) -> None:
    driver = Driver()
    for act in acts:
        before = driver.origin.state, driver.origin.expected, driver.origin.frozen
        try:
            act(driver)
        except LocalProtocolError:
            after = driver.origin.state, driver.origin.expected, driver.origin.frozen
            assert after == before
            # Nothing happens to a frozen origin, and only a set known to differ is adopted again.
            older = act is Driver.adopts_an_older_beat
            assert before[0] is OriginState.FROZEN or (older and not driver.flags.unsure)
        origin, flags = driver.origin, driver.flags
        assert origin.complete is flags.complete
        assert (origin.state is OriginState.UNSURE) is flags.unsure
        assert bool(origin.frozen) is (origin.state is OriginState.FROZEN) is flags.frozen
        assert (origin.expected is not None) is flags.expected


@given(st.lists(st.sampled_from(OriginEvent), max_size=20))
def test_any_events_lead_to_a_state_or_are_refused(events: list[OriginEvent]) -> None:
    state = OriginState.FOLLOWING
    for event in events:
        try:
            state = ORIGIN_TRANSITIONS.next(state, event)
        except LocalProtocolError as error:
            assert event.name in str(error) and state.name in str(error)
            assert state is OriginState.FROZEN or event in (
                OriginEvent.LOG_AGREED,
                OriginEvent.SET_ADOPTED,
            )


def test_every_state_is_reached_and_only_frozen_is_final() -> None:
    reached = {OriginState.FOLLOWING}
    for _ in OriginState:
        reached |= {
            ORIGIN_TRANSITIONS.next(state, event)
            for state in reached
            for event in OriginEvent
            if ORIGIN_TRANSITIONS.allows(state, event)
        }
    assert reached == set(OriginState)
    for (state, event), after in _transitions().items():
        assert ORIGIN_TRANSITIONS.next(state, event) is after
    for state in OriginState:
        lives = any(ORIGIN_TRANSITIONS.allows(state, event) for event in OriginEvent)
        assert lives is (state is not OriginState.FROZEN)


class Story:
    """A home's log with everything in it that may go wrong, and a peer that hears of it."""

    def __init__(self) -> None:
        self.net = Network(1)
        self.replica = self.net[0].replica
        self.missing = MissingOrders(self.replica.adoption.table)
        author, forked = Author(self.net.now), Author(self.net.now)
        live: dict[str, int] = {}

        def beat(lie: int = 0) -> Signed:
            total = sum(element(*item) for item in live.items()) + lie
            beats = HeartbeatBody(20_000, len(live), f"{total % FINGERPRINT_MODULUS:064x}")
            return author.entry(beat=beats)

        self.entries: list[Signed] = []
        for number in range(12):
            self.entries.append(author.order(price=str(number + 1)))
            live[author.last] = 1
            if number % 4 == 1:
                self.entries.append(beat())
            if number % 4 == 3:
                self.entries.append(author.state(2, "0", reason="cancelled"))
                del live[author.last]
            if number == 7:
                self.entries.append(beat(lie=1))
        self.entries.append(beat())
        author.log.restore(author.log.epoch + 1, 0, "0" * 64, [])
        live.clear()
        self.entries += [author.order(price="99"), author.entry(states=[])]
        self.forked = [forked.order(price=str(50 + number)) for number in range(len(self.entries))]

    def receive(self, number: int) -> None:
        self.replica.receive(self.entries[number % len(self.entries)], self.net.now)

    def receive_many(self, number: int) -> None:
        for signed in self.entries[: number + 1]:
            self.replica.receive(signed, self.net.now)

    def _next(self) -> int:
        """Which entry follows the head."""
        origin = self.replica.origins.get(ALICE.key)
        return origin.seq if origin is not None and origin.epoch == 1 else 0

    def receive_next(self, number: int) -> None:
        """A few entries from the head on."""
        for _ in range(number):
            self.receive(self._next())

    def receive_forked_next(self, number: int) -> None:
        """What follows the head in the other history."""
        self.receive_forked(self._next())

    def receive_forked(self, number: int) -> None:
        self.replica.receive(self.forked[number % len(self.forked)], self.net.now)

    def adopt_record(self, number: int) -> None:
        signed = self.entries[number % len(self.entries)]
        self.replica.adoption.adopt_record(signed, signed, self.net.now)

    def adopt_head(self, number: int) -> None:
        beats = [signed for signed in self.entries if '"beat"' in signed.payload]
        self.replica.adoption.adopt_head(beats[number % len(beats)], self.net.now)

    def drop_missing(self, number: int) -> None:
        found = [self.replica.records.find(state.order_id) for state in self._states(number)]
        origin = self.replica.origins.get(ALICE.key)
        if origin is not None:
            gone = [record for record in found if record is not None]
            self.missing.said(origin, gone, "ab"[number % 2], only=number % 3 == 0)

    def _states(self, number: int) -> tuple[StateBody, ...]:
        return Entry.decode(self.entries[number % len(self.entries)].payload).states

    def prove(self, number: int) -> None:
        self.replica.forks.prove(self.entries[0], self.forked[number % 2])

    def restart(self, number: int) -> None:
        self.net.settle()
        self.net.restart(0)
        self.replica = self.net[0].replica
        self.missing = MissingOrders(self.replica.adoption.table)


DEEDS: list[Callable[[Story, int], None]] = [
    Story.receive,
    Story.receive_next,
    Story.receive_next,
    Story.receive_many,
    Story.adopt_record,
    Story.adopt_head,
    Story.adopt_head,
    Story.drop_missing,
    Story.receive_forked,
    Story.receive_forked_next,
    Story.receive_forked_next,
    Story.prove,
    Story.restart,
]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(DEEDS), st.integers(0, 30)), max_size=25))
def test_whatever_neighbours_say_no_event_is_illegal(
    deeds: list[tuple[Callable[[Story, int], None], int]],
) -> None:
    """A LocalProtocolError would fail this test: it is a bug of ours, whatever was received."""
    story = Story()
    for deed, number in deeds:
        with suppress(RemoteProtocolError):
            deed(story, number)
        for origin in story.replica.origins.values():
            assert bool(origin.frozen) is (origin.state is OriginState.FROZEN)
            sure = (OriginState.VERIFIED, OriginState.FROZEN)
            assert origin.expected is None or origin.state not in sure
            if origin.state is OriginState.FROZEN:
                assert not origin.visible and not origin.waiting


def test_a_frozen_origin_that_is_told_to_change_is_a_bug() -> None:
    origin = Origin(HOME)
    origin.freeze("it lied")
    with pytest.raises(LocalProtocolError, match="RULE_BROKEN cannot happen in state FROZEN"):
        origin.freeze("again")
    assert origin.frozen == "it lied"
