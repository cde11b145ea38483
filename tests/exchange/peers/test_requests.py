"""Questions of one link: each is answered once, however it ends."""

from __future__ import annotations

from typing import Any

from grenache_py.exchange.peer_messages import PEER_MESSAGES
from grenache_py.exchange.peers.link import PeerLink
from grenache_py.exchange.peers.message_table import MessageTable
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
