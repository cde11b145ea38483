"""Whatever happens to a link, and in whatever order: only legal states, and nothing escapes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grenache_py.errors import LocalProtocolError
from grenache_py.exchange.effects.batch import CloseLink, Send
from grenache_py.exchange.peer_messages import PEER_MESSAGES
from grenache_py.exchange.peers.admission import line_of
from grenache_py.exchange.peers.link import LINK, PENDING_MAX, LinkEvent, LinkState, PeerLink
from grenache_py.exchange.peers.link_table import LinkTable
from grenache_py.exchange.peers.outgoing import Outgoing
from grenache_py.exchange.peers.scores import SCORES_MAX
from tests.support.far_ends import NOW, OTHERS, FarEnds

#: What the far ends say besides the handshake: every message of the table, answers, nonsense.
PARAMS: list[dict[str, Any]] = [
    {},
    {"backoff_s": 60},
    {"records": []},
    {"reason": "stopping"},
    {"entries": []},
    {"backoff_s": "soon", "records": 1},
]


def check(ends: FarEnds) -> None:
    """All that must hold after every step."""
    peering = ends.peering
    for number, link in ends.known.items():
        before, after = ends.before[number], link.state
        assert after in reachable(before), f"{before} -> {after}"
        ends.before[number] = after
        if number not in peering.links:
            assert after is LinkState.CLOSING, "gone for good"
        assert len(link.pending) <= PENDING_MAX
        if after is not LinkState.READY:
            assert not link.mesh and not link.pending
            assert peering.by_key.get(link.key) is not link
    for key, link in peering.by_key.items():
        assert link.state is LinkState.READY and link.key == key
        assert peering.links[link.id] is link
    assert len([x for x in peering.by_key.values() if not x.outbound]) <= 3
    assert len(set(map(id, ends.gone))) == len(ends.gone), "told once that a link is gone"
    assert len(peering.scores.bans) <= SCORES_MAX
    assert peering.table.illegal == 0


def reachable(state: LinkState) -> set[LinkState]:
    found = {state}
    while True:
        more = {LINK.next(s, e) for s in found for e in LinkEvent if LINK.allows(s, e)} | found
        if more == found:
            return found
        found = more


NUMBERS = st.integers(0, 7)
STEPS = st.one_of(
    st.tuples(st.just("open"), NUMBERS, st.integers(0, 3), st.integers(0, 2), st.booleans()),
    st.tuples(st.just("settle"), st.sets(NUMBERS), st.booleans()),
    st.tuples(
        st.just("say"),
        NUMBERS,
        st.sampled_from([*(row.name for row in PEER_MESSAGES), "no.such", 7, None]),
        st.sampled_from(PARAMS),
        st.sampled_from([None, 1, "still there?", "hello", [1]]),
    ),
    st.tuples(st.just("answer"), NUMBERS, st.sampled_from([1, 2, 3, "still there?", "prove"])),
    st.tuples(st.just("gone"), NUMBERS),
    st.tuples(st.just("ban"), st.integers(0, 2), st.booleans()),
    st.tuples(st.just("penalise"), NUMBERS, st.sampled_from([-10.0, -60.0, -200.0])),
    st.tuples(st.just("wait"), st.sampled_from([-30.0, 0.5, 1.0, 4.0, 6.0, 11.0, 700.0])),
    st.tuples(st.just("goodbye")),
)


def step(ends: FarEnds, what: str, *details: Any) -> None:
    peering = ends.peering
    if what == "open":
        ends.open(*details)
    elif what == "settle":
        ends.settle(details[0].__contains__, details[1])
    elif what == "say":
        number, name, params, request = details
        message = {"jsonrpc": "2.0", "method": name, "params": params}
        ends.say(number, message if request is None else {**message, "id": request})
    elif what == "answer":
        ends.say(details[0], {"jsonrpc": "2.0", "id": details[1], "result": {}})
    elif what == "gone":
        peering.link_closed(details[0], ends.now)
    elif what == "ban":
        key = OTHERS[details[0]].key
        if details[1]:
            peering.ban(key, 60.0, ends.now)
        else:
            peering.scores.unban(key)
    elif what == "penalise":
        if (link := peering.links.get(details[0])) is not None:
            peering.penalise(link, details[1], "a test", ends.now)
    elif what == "wait":
        ends.now += details[0]
        peering.tick(ends.now)
    else:
        peering.goodbye(ends.now)


@settings(max_examples=200, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_a_link_is_only_ever_in_legal_states(steps: list[tuple[Any, ...]]) -> None:
    ends = FarEnds()
    for each in steps:
        step(ends, *each)
        check(ends)
    for number in list(ends.peering.links):
        ends.peering.link_closed(number, ends.now)
    check(ends)
    assert not ends.peering.by_key


def test_every_state_is_reached() -> None:
    """The property above would hold of a peer that accepts nobody, too."""
    ends = FarEnds()
    ends.open(0, 0, boot=1, outbound=True)
    assert ends.known[0].state is LinkState.HANDSHAKING
    ends.settle(lambda number: True, close=False)
    assert ends.known[0].state is LinkState.READY
    ends.open(1, 0, boot=2, outbound=False)
    ends.settle(lambda number: False, close=False)
    assert ends.known[0].state is LinkState.CONTESTED
    assert ends.known[1].state is LinkState.READY
    ends.now += 6.0
    ends.peering.tick(ends.now)
    assert ends.known[0].state is LinkState.CLOSING
    check(ends)


def test_nothing_leads_out_of_closing() -> None:
    assert reachable(LinkState.CLOSING) == {LinkState.CLOSING}
    assert all(LinkState.CLOSING in reachable(state) for state in LinkState)


def table(strict: bool) -> tuple[LinkTable, Outgoing, PeerLink]:
    outgoing, nothing = Outgoing(), None
    links = LinkTable(outgoing, strict)
    link = PeerLink(1, True, "b:1", NOW, nothing, nothing, key="k")  # type: ignore[arg-type]
    links.links[1] = link
    return links, outgoing, link


def test_an_illegal_transition_raises_in_tests() -> None:
    links, _, link = table(strict=True)
    with pytest.raises(LocalProtocolError, match="link: CONTEST cannot happen in state HAND"):
        links.contest(link, NOW)


def test_an_illegal_transition_is_counted_in_a_daemon_and_ends_that_one_link() -> None:
    links, outgoing, link = table(strict=False)
    gone: list[PeerLink] = []
    links.on_gone.append(lambda link, now: gone.append(link))
    assert links.accept(link, NOW)
    assert not links.accept(link, NOW)
    assert (links.illegal, link.state, links.by_key) == (1, LinkState.CLOSING, {})
    assert gone == [link]
    [closed] = outgoing.drain(())
    assert isinstance(closed, CloseLink) and closed.reason.startswith("a bug of this peer: link:")
    assert not links.contest(link, NOW), "closing already: nothing more is closed"
    assert (links.illegal, outgoing.drain(())) == (2, [])


def test_a_closing_link_takes_no_more_lines() -> None:
    links, outgoing, link = table(strict=True)
    outgoing.send_later(link, lambda: line_of({"first": 1}))
    links.close(link, "enough", NOW)
    links.close(link, "twice", NOW)
    outgoing.notify(link, "peer.goodbye", {})
    first, closed = outgoing.drain([(7, b"entries")])[1:]
    assert first == Send(1, b'{"first":1}\n')
    assert closed == CloseLink(1, "enough")
