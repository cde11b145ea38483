"""A catch-up: whatever the neighbour answers, it ends once, and an honest one brings everything."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, cast

import attrs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grenache_py.errors import LocalProtocolError, RemoteProtocolError
from grenache_py.exchange.node import ExchangeNode
from grenache_py.exchange.peer_messages import PEER_MESSAGES
from grenache_py.exchange.peers.link import PeerLink
from grenache_py.exchange.peers.requests import Answered
from grenache_py.exchange.replication import catch_up_session
from grenache_py.exchange.replication.catch_up_session import NOTHING_S, CatchUpSession
from grenache_py.exchange.replication.catch_up_state import (
    CATCH_UP_TRANSITIONS,
    CatchUpEvent,
    CatchUpState,
)
from grenache_py.exchange.replication.held_logs import HeldLogs
from grenache_py.exchange.replication.intake import Intake
from grenache_py.exchange.replication.missing_orders import MissingOrders
from grenache_py.exchange.replication.origin_state import OriginState
from grenache_py.exchange.replication.reconciliation import Reconciliation
from grenache_py.exchange.replication.sync_responder import SyncResponder
from grenache_py.exchange.signed_log.head import Head
from tests.support.peers import Network

ORDER = list(CatchUpState)
DECODE = {row.name: row.decode for row in PEER_MESSAGES}
Method = Callable[[Any, Any, float], Any]


class Wire:
    """Stands for the peering of both sides: keeps the requests of one, has the other answer."""

    def __init__(self) -> None:
        self.methods: dict[str, Method] = {}
        self.open: list[tuple[str, dict[str, Any], Answered]] = []
        self.gossip = self.scores = self.messages = self
        self.penalties = 0

    def method(self, name: str, call: Method) -> None:
        self.methods[name] = call

    def request(self, link: Any, method: str, params: Any, answered: Answered, now: float) -> None:
        if link.closing or link.full:
            answered(None, None, now)
        else:
            self.open.append((method, params, answered))

    def relay(self, *entry: Any, announced: bool) -> None: ...

    def delivered(self, key: str, now: float) -> None: ...

    def penalise(self, link: Any, points: float, reason: str, now: float) -> None:
        self.penalties += 1

    def ready(self) -> list[PeerLink]:
        return []


@attrs.define
class OneLink:
    """What a session needs of a link."""

    id: int = 7
    address: str = "neighbour:7071"
    key: str = "b" * 64
    ready: bool = True
    closing: bool = False
    full: bool = False
    heads: dict[str, Head] = attrs.Factory(dict)
    told: dict[str, Head] = attrs.Factory(dict)
    hollow: dict[str, Head] = attrs.Factory(dict)
    heads_again: float = 0.0
    delivered: int = 0
    delivered_at: float = 0.0
    points: int = 0
    answer_bytes: int = 0
    outbound: bool = True
    cannot_show = PeerLink.cannot_show


@attrs.define
class Rig:
    """A peer that knows nothing, and a neighbour with ``orders`` orders."""

    session: CatchUpSession
    link: OneLink
    wire: Wire
    intake: Intake
    here: ExchangeNode
    there: ExchangeNode
    now: float
    ended: list[CatchUpState]

    @classmethod
    def of(cls, orders: int, seed: int = 1) -> Rig:
        net = Network(2)
        rng = random.Random(seed)
        for _ in range(orders):
            net.place(0, "sell", rng.randrange(1, 9), rng.randrange(100, 200))
        net.run(10)  # a heartbeat
        for _ in range(orders // 4):
            net.place(0, "sell", 1, 300)  # after the heartbeat
        wire, there, here = Wire(), net[0], net[1]
        SyncResponder(cast(Any, wire), HeldLogs(there.ledger, there.replica), there.live)
        intake = Intake(cast(Any, wire), HeldLogs(here.ledger, here.replica))
        link = OneLink()
        ended: list[CatchUpState] = []
        session = CatchUpSession(
            cast(PeerLink, link),
            [there.key],
            intake,
            here.live,
            MissingOrders(here.replica.adoption.table),
            lambda session: ended.append(session.state),
        )
        return cls(session, link, wire, intake, here, there, net.now, ended)

    def answer(self, kind: str, choice: int) -> None:
        """Answer one of the open requests."""
        if kind == "lost":
            self.link.closing = True
            self.session.abort(self.now)
            return
        if not self.wire.open:
            return
        method, params, answered = self.wire.open.pop(choice % len(self.wire.open))
        sent = msgspec.json.decode(msgspec.json.encode(params))
        decode = DECODE[method]
        assert decode is not None
        honest = self.wire.methods[method](self.session.link, decode(sent), self.now)
        result = msgspec.json.decode(msgspec.json.encode(honest))
        results: dict[str, tuple[Any, Any]] = {
            "honest": (result, None),
            "error": (None, {"code": -32602}),
            "silence": (None, None),
            "empty": ({}, None),
            "pruned": ({**result, "pruned": True}, None),
            "nonsense": ({name: [1, "x"] for name in (*result, "entries", "frame")}, None),
        }
        try:
            answered(*results[kind], self.now)
        except RemoteProtocolError:
            assert kind not in ("honest", "error", "silence", "pruned")


KINDS = ["honest"] * 8 + ["error", "silence", "empty", "pruned", "nonsense", "lost"]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 40),
    st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 20)), max_size=30),
)
def test_whatever_is_answered_a_session_goes_forward_and_ends_once(
    orders: int, answers: list[tuple[str, int]]
) -> None:
    rig = Rig.of(orders)
    session = rig.session
    session.begin(rig.now)
    states = [session.state]
    for kind, choice in answers:
        done = session.state is CatchUpState.DONE
        asked = len(rig.wire.open)
        rig.answer(kind, choice)
        states.append(session.state)
        if done:
            assert len(rig.wire.open) <= asked, "it asks no more when it is over"
    assert [ORDER.index(state) for state in states] == sorted(map(ORDER.index, states))
    assert len(rig.ended) == (session.state is CatchUpState.DONE)
    assert all(state is CatchUpState.DONE for state in rig.ended)
    assert rig.wire.penalties == session.broke
    assert rig.intake.illegal_transitions == 0


@pytest.mark.parametrize("orders", [0, 1, 7, 60])
@pytest.mark.parametrize("seed", range(3))
def test_an_honest_neighbour_brings_everything_in_whatever_order(orders: int, seed: int) -> None:
    rig = Rig.of(orders, seed)
    rng = random.Random(seed)
    rig.session.begin(rig.now)
    for _ in range(1_000):
        if rig.session.state is CatchUpState.DONE:
            break
        rig.answer("honest", rng.randrange(20))
    assert rig.session.state is CatchUpState.DONE and not rig.session.broke
    ours, theirs = rig.here.live.set, rig.there.live.set
    assert len(ours) == len(theirs)
    assert ours.fingerprint(0, len(ours)) == theirs.fingerprint(0, len(theirs))
    assert rig.here.replica.origins[rig.there.key].complete


def test_what_a_full_link_has_no_room_for_is_asked_later() -> None:
    """Requests of others fill the link in every step: that is no fault of the neighbour."""
    rig = Rig.of(60)
    rig.link.full = True
    rig.session.begin(rig.now)
    for turn in range(1_000):
        if rig.session.state is CatchUpState.DONE:
            break
        rig.link.full = bool(turn % 2)
        asked = len(rig.wire.open)
        rig.session.ask_again(rig.now)
        assert not rig.link.full or len(rig.wire.open) == asked
        rig.answer("honest", 0)
    assert rig.session.state is CatchUpState.DONE and not rig.session.broke
    assert rig.wire.penalties == 0
    assert rig.here.replica.origins[rig.there.key].complete


@given(st.lists(st.sampled_from(CatchUpEvent), max_size=10))
def test_any_events_lead_to_a_state_or_are_refused(events: list[CatchUpEvent]) -> None:
    state = CatchUpState.BEATS
    for event in events:
        try:
            after = CATCH_UP_TRANSITIONS.next(state, event)
        except LocalProtocolError as error:
            assert event.name in str(error) and state.name in str(error)
            continue
        assert ORDER.index(after) > ORDER.index(state)
        state = after


def test_an_illegal_event_of_an_origin_costs_the_entry_and_is_counted() -> None:
    rig = Rig.of(3)
    entries = [draft.proof for _, draft in rig.there.ledger.log.tail]
    link = cast(PeerLink, rig.link)
    rig.intake.take(link, entries[0], rig.now)
    origin = rig.here.replica.origins[rig.there.key]
    origin.state = OriginState.FROZEN  # a bug: nothing froze it
    for signed in entries[1:]:
        rig.intake.take(link, signed, rig.now)
    beats = sum('"beat":' in signed.payload for signed in entries[1:])
    assert rig.intake.illegal_transitions == beats > 0
    assert origin.state is OriginState.FROZEN


def test_an_illegal_event_costs_the_session_and_is_counted() -> None:
    rig = Rig.of(3)
    rig.session.begin(rig.now)
    rig.session.state = CatchUpState.RECORDS  # a bug: the heartbeats have not come
    method, _, answered = rig.wire.open[0]
    assert method == "sync.range"
    rig.session._request("sync.reconcile", {}, rig.session._frame_came, rig.now)
    _, _, frame_came = rig.wire.open[-1]
    frame_came({"frame": ""}, None, rig.now)
    assert rig.intake.illegal_transitions == 1
    assert rig.session.state is CatchUpState.DONE and rig.session.broke
    answered({"entries": []}, None, rig.now)  # too late: nothing happens
    assert len(rig.ended) == 1


def test_a_neighbour_that_brings_nothing_has_its_place_for_a_while() -> None:
    rig = Rig.of(8)
    rig.session.begin(rig.now)
    assert not rig.session.too_slow(rig.now)
    assert not rig.session.too_slow(rig.now + NOTHING_S - 0.1)
    assert rig.session.too_slow(rig.now + NOTHING_S)


def test_records_of_all_catch_ups_are_counted_together() -> None:
    net = Network(3)
    for home, orders in ((0, 3), (1, 2)):
        for price in range(orders):
            net.place(home, "sell", 1, 100 + price)
        net[home].ledger.log.tail.clear()  # so that its orders are taken, not its entries
    for home in (0, 1):
        net.link(2, home)
        net.run(10)
    catchup = net[2].sync.catchup
    assert (catchup.sessions, catchup.broken, catchup.adopted) == (2, 0, 5)


def test_each_catch_up_that_ends_early_is_counted() -> None:
    net = Network(3)
    net.lost = {"sync.reconcile"}
    for home in (0, 1):
        net.place(home, "sell", 1, 100)
        net[home].ledger.log.tail.clear()
        net.link(2, home)
        net.run(5)
        net.cut(home)
    catchup = net[2].sync.catchup
    assert (catchup.sessions, catchup.broken, catchup.adopted) == (0, 2, 0)


def test_a_neighbour_that_always_finds_more_differences_is_asked_for_those_found_so_far(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catch_up_session, "_ROUNDS_MAX", 5)
    monkeypatch.setattr(Reconciliation, "receive", lambda self, frame: self.begin())
    rig = Rig.of(8)
    rig.session.begin(rig.now)
    frames = 0
    for _ in range(50):
        if rig.session.state is CatchUpState.DONE:
            break
        frames += rig.wire.open[0][0] == "sync.reconcile"
        rig.answer("honest", 0)
    assert rig.session.state is CatchUpState.DONE and not rig.session.broke
    assert frames == 6


def test_a_neighbour_whose_orders_are_not_what_their_home_signed_is_asked_last() -> None:
    rig = Rig.of(8)
    honest = rig.wire.methods["sync.records"]

    def hides_one(link: Any, params: Any, now: float) -> Any:
        result = honest(link, params, now)
        return {**result, "records": result["records"][1:]}

    rig.wire.methods["sync.records"] = hides_one
    link = cast(PeerLink, rig.link)
    before = rig.intake.helpers.rank(link)
    rig.session.begin(rig.now)
    for _ in range(50):
        if rig.session.state is CatchUpState.DONE:
            break
        rig.answer("honest", 0)
    assert rig.session.state is CatchUpState.DONE and not rig.session.broke
    assert not rig.here.replica.origins[rig.there.key].complete
    assert rig.intake.helpers.rank(link)[0] > before[0] == 0.0


def _unsure(net: Network) -> str:
    """Peer 0 holds the whole log of peer 1, which rests, and not the orders that it signed."""
    net.mesh()
    net.place(1, "sell", 1, 100)
    net.run(6)
    home = net[1].key
    net[0].replica.origins[home].chain_broke()
    for link in net[0].peering.ready():
        link.heads.clear()
        link.told.clear()
    net[0].replica.moved.clear()
    return home


def test_a_log_that_rests_is_asked_of_a_neighbour_that_tells_nothing_of_it() -> None:
    """Of such a log neighbours hold what this peer holds: its head was told long ago."""
    net = Network(3)
    home = _unsure(net)
    net[0].sync.catchup.begin([], net.now)
    assert net[0].sync.catchup.covers(home)


def test_a_log_that_just_moved_is_not_asked_of_a_neighbour_that_may_not_have_it() -> None:
    net = Network(3)
    home = _unsure(net)
    net[0].replica.moved[home] = None
    net[0].sync.catchup.begin([], net.now)
    assert not net[0].sync.catchup.covers(home)


def test_a_neighbour_that_holds_no_more_of_a_log_than_this_peer_is_not_asked_for_it() -> None:
    net = Network(2)
    net.link(0, 1)
    net.place(1, "sell", 1, 100)
    net.run(6)
    home, link = net[1].key, net[0].peering.by_key[net[1].key]
    link.told[home] = net[0].replica.origins[home].head
    net[0].sync.catchup.begin([home], net.now)
    assert not net[0].sync.catchup.covers(home)
