"""Questions of one link: each is answered once, however it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from grenache_py.exchange.effects.batch import Send
from grenache_py.exchange.errors import BUSY, OrderError
from grenache_py.exchange.peer_messages import PEER_MESSAGES
from grenache_py.exchange.peers.link import LinkState, PeerLink
from grenache_py.exchange.peers.message_table import Later, MessageTable
from grenache_py.exchange.peers.outgoing import Outgoing
from grenache_py.exchange.peers.requests import REQUEST_TIMEOUT_S, PeerRequests


def test_giving_up_on_one_question_may_end_the_link_and_answers_the_rest_once() -> None:
    calls = PeerRequests(Outgoing(), lambda *args: None, MessageTable(PEER_MESSAGES))
    link = PeerLink(1, True, "b:1", 0.0, None, None, "k")  # type: ignore[arg-type]
    told: list[str] = []

    def ask(name: str, *, closes: bool = False) -> None:
        def answered(result: Any, error: Any, now: float) -> None:
            assert (result, error) == (None, None)
            told.append(name)
            if closes:
                calls.cancel(link, now)

        calls.request(link, "peer.ping", {}, answered, 0.0)

    ask("first")
    ask("second", closes=True)
    ask("third")
    calls.expire(link, REQUEST_TIMEOUT_S - 1.0)
    assert told == []
    calls.expire(link, REQUEST_TIMEOUT_S)
    assert told == ["first", "second", "third"]
    calls.expire(link, REQUEST_TIMEOUT_S)
    assert len(told) == 3


class Asked:
    """A request whose answer takes its time."""

    def __init__(self, **request: Any) -> None:
        self.outgoing = Outgoing()
        table = MessageTable(PEER_MESSAGES)
        self.take: list[Callable[[dict[str, Any] | OrderError], None]] = []
        table.method("peer.ping", lambda link, params, now: Later(self.take.append))
        self.link = PeerLink(1, True, "b:1", 0.0, None, None, "k")  # type: ignore[arg-type]
        calls = PeerRequests(self.outgoing, lambda *args: None, table)
        calls.called(self.link, {"method": "peer.ping", **request}, 0.0)

    def lines(self) -> list[Any]:
        sends = self.outgoing.drain(())
        return [msgspec.json.decode(send.line) for send in sends if isinstance(send, Send)]


def test_an_answer_that_comes_later_is_sent_when_it_comes() -> None:
    asked = Asked(id=7)
    assert asked.lines() == []
    asked.take[0]({"time": 1})
    (line,) = asked.lines()
    assert (line["id"], line["result"]) == (7, {"time": 1})
    assert asked.link.answer_bytes > 0, "it is paid for like any other"


def test_an_error_may_come_later_too() -> None:
    asked = Asked(id=7)
    asked.take[0](OrderError(BUSY, "not now"))
    (line,) = asked.lines()
    assert (line["id"], line["error"]["code"]) == (7, BUSY)


@pytest.mark.parametrize("came", [{"time": 1}, OrderError(BUSY, "not now")])
def test_a_link_that_is_gone_is_answered_nothing(came: dict[str, Any] | OrderError) -> None:
    asked = Asked(id=7)
    asked.link.state = LinkState.CLOSING
    asked.take[0](came)
    assert asked.lines() == []


def test_nothing_is_begun_for_what_wants_no_answer() -> None:
    assert Asked().take == []
