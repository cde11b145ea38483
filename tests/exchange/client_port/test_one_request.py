"""A bug in one request is that request's error: the node, the links and the others go on."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from msgspec.structs import fields
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from grenache_py.exchange.client_port.methods import METHODS
from grenache_py.exchange.client_port.methods.registry import AtSeal
from grenache_py.exchange.daemon.connections.dialler import Dialler
from grenache_py.exchange.daemon.loop.loop_states import NodeState
from grenache_py.exchange.errors import BUSY, StoreError
from grenache_py.exchange.node import ExchangeNode
from tests.support.peer import Connection, Peer

PING = {"jsonrpc": "2.0", "id": "p", "method": "ping"}
#: Texts that some library below has been seen to stumble over.
NASTY = ["", "\0", "a\0b", "a\0b:5", "x", ":", "a:b", "a:99999", "a: 7", "..", "/", "é", "\ud7ff",
         "/proc/self/mem", "%n", "{x}", "x" * 64 + ":7", "-1", "\x1b[2J", "\n"]  # fmt: skip


def still_there(peer: Peer, node: object, transport: Any) -> bool:
    guarded = peer.commit_loop.guarded
    gone = transport.disconnected or transport.disconnecting
    return guarded.node is node and guarded.state is NodeState.SERVING and not gone


def ask(client: Connection, *requests: dict[str, Any]) -> Any:
    return client.ask(json.dumps(list(requests) if len(requests) > 1 else requests[0]))


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"shutdown"}))
@pytest.mark.parametrize("text", NASTY)
def test_no_text_in_a_parameter_is_more_than_that_requests_error(name: str, text: str) -> None:
    peer = Peer()
    peer.store.backup = lambda path: succeed(None)
    peer.commit_loop._dial = _no_dial(peer)
    client, other = peer.connect(), peer.connect()
    _, link = peer.link()
    node = peer.commit_loop.node
    method = METHODS[name]
    params = {each.encode_name: text for each in fields(method.params)}
    needed = {each.encode_name: text for each in fields(method.params) if each.required}
    for given in (params, needed, *({**needed, key: value} for key, value in params.items())):
        client.send(
            json.dumps({"jsonrpc": "2.0", "id": 1, "method": name, "params": given}).encode()
            + b"\n"
        )
        answers = [each for each in client.received() if "id" in each]
        assert len(answers) == 1
        assert answers[0].get("error", {}).get("code") != -32603, answers
    assert other.ask("ping")["result"]
    assert still_there(peer, node, link) and not peer.bugs


def _no_dial(peer: Peer) -> Any:
    dialler = Dialler(peer.clock, lambda address: None, lambda address, reason: None)  # type: ignore[arg-type, return-value]

    def dial(address: str) -> None:
        dialler.refuse()
        dialler.dial(address)

    return dial


def test_a_method_that_waits_and_fails_is_answered_and_costs_nobody_else_anything(
    logged_failures: Any,
) -> None:
    peer = Peer()
    peer.store.backup = lambda path: fail(ValueError("embedded null byte"))
    client = peer.connect()
    _, link = peer.link()
    node = peer.commit_loop.node
    backup = {"jsonrpc": "2.0", "id": 5, "method": "backup", "params": {"path": "/tmp/a"}}
    assert ask(client, backup)["error"]["code"] == -32603
    place = {"market": "BTC-USD", "side": "buy", "quantity": "1", "price": "100"}
    first, failed, last = ask(
        client, {"jsonrpc": "2.0", "id": 1, "method": "order.place", "params": place}, backup, PING
    )
    assert first["result"]["status"] == "new" and last["result"]["time"]
    assert (failed["id"], failed["error"]["code"]) == (5, -32603)
    assert still_there(peer, node, link)
    assert len(logged_failures.flush(ValueError)) == 2


def test_an_answer_that_cannot_be_made_is_an_error_for_its_request_only(
    monkeypatch: pytest.MonkeyPatch, logged_failures: Any
) -> None:
    peer = Peer()
    client = peer.connect()
    node = peer.commit_loop.node

    def broken() -> Any:
        raise ZeroDivisionError("a bug")

    method = attrs.evolve(METHODS["book.get"], function=lambda *_: AtSeal(broken, begins="x"))
    monkeypatch.setitem(METHODS, "book.get", method)
    book = {"jsonrpc": "2.0", "id": 2, "method": "book.get", "params": {"market": "BTC-USD"}}
    pong, failed = ask(client, PING, book)
    assert pong["result"] and failed["error"]["code"] == -32603
    assert peer.commit_loop.node is node
    assert len(logged_failures.flush(ZeroDivisionError)) == 1


@pytest.mark.parametrize("name", ["order.place", "order.cancel_all", "peers.connect", "peers.ban"])
def test_a_step_that_may_be_half_done_has_the_node_made_again(
    name: str, monkeypatch: pytest.MonkeyPatch, logged_failures: Any
) -> None:
    def half(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    params: dict[str, dict[str, Any]] = {
        "order.place": {"market": "BTC-USD", "side": "buy", "quantity": "1", "price": "1"},
        "order.cancel_all": {"account": ""},
        "peers.connect": {"address": "127.0.0.1:1"},
        "peers.ban": {"peer": "0" * 64},
    }
    peer = Peer()
    client = peer.connect()
    node = peer.commit_loop.node
    with monkeypatch.context() as patched:
        for step in ("place", "cancel_all", "connect", "ban"):
            patched.setattr(node, step, half)
        assert client.call(name, **params[name])["code"] == -32603
    peer.clock.advance(1)
    peer.turn()
    assert peer.commit_loop.node not in (None, node)
    assert len(logged_failures.flush(ZeroDivisionError)) == 1


def test_an_order_whose_client_id_has_to_be_looked_up_is_a_step_too(
    monkeypatch: pytest.MonkeyPatch, logged_failures: Any
) -> None:
    peer = Peer()
    client = peer.connect()
    found: Deferred[None] = Deferred()
    peer.store.may_have_used = lambda *_: True
    peer.store.order_by_client_id = lambda *_: found
    node = peer.commit_loop.node

    def half(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(ExchangeNode, "place", half)
    client.send(b"buy BTC-USD 1 @ 100 id=a\n")
    found.callback(None)
    peer.turn()
    assert client.received()[0]["error"]["code"] == -32603
    peer.clock.advance(1)
    peer.turn()
    assert peer.commit_loop.node not in (None, node)
    assert len(logged_failures.flush(ZeroDivisionError)) == 1


def test_an_order_that_waited_for_a_read_is_not_placed_in_a_node_that_is_gone() -> None:
    """Nobody would write it, and its answer would say that it is there."""
    peer = Peer()
    waits, other = peer.connect(), peer.connect()
    found: Deferred[None] = Deferred()
    peer.store.may_have_used = lambda *_: True
    peer.store.order_by_client_id = lambda *_: found
    waits.send(b"buy BTC-USD 1 @ 100 id=a\n")
    peer.store.broken = StoreError("full", "no space is left")
    assert other.place("buy", "1", "90")["code"] == BUSY
    found.callback(None)
    peer.turn()
    [answer] = waits.received()
    assert answer["error"]["code"] == BUSY
    peer.store.broken = None
    peer.clock.advance(1)
    peer.turn()
    assert other.call("order.list")["orders"] == []


def test_a_store_that_cannot_be_read_is_said_so() -> None:
    peer = Peer()
    peer.store.backup = lambda path: fail(StoreError("refused", "no"))
    answer = peer.connect().call("backup", path="x")
    assert answer["code"] == -32602 and "There is no copy: no" in answer["message"]


@pytest.mark.parametrize("address", ["", "x", ":", "a:b", "a:99999", "a:0", "a:-1"])
def test_an_address_that_is_none_fails_like_a_dial(address: str) -> None:
    reactor, failed = Clock(), []
    dialler = Dialler(reactor, lambda _: None, lambda *told: failed.append(told))  # type: ignore[arg-type, return-value, func-returns-value]
    dialler.dial(address)
    assert failed == []
    reactor.advance(0)
    assert failed[0][0] == address and "must" in failed[0][1]
