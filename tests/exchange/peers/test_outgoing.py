"""No line is too long for the other side, whatever strangers made this peer repeat."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest

from grenache_py.errors import LocalProtocolError, RemoteProtocolError
from grenache_py.exchange.effects.batch import CloseLink, Send
from grenache_py.exchange.peers.address_book import ADDRESSES_MAX, AddressBook, AddressRecord
from grenache_py.exchange.peers.link import LinkState, PeerLink
from grenache_py.exchange.peers.mesh import HEADS_PER_MESSAGE_MAX
from grenache_py.exchange.peers.outgoing import Outgoing
from grenache_py.exchange.replication.messages import read_heads
from grenache_py.exchange.replication.origin import Origin
from grenache_py.exchange.signed_log.keys import Ed25519, Identity
from grenache_py.exchange.signed_log.merkle import PAYLOAD_BYTES_MAX, Sealer, Signed, Verifier
from grenache_py.wire.jsonlines import LINE_BYTES_MAX
from tests.support.peers import Network

NOW = 1_790_000_000.0


def a_link() -> PeerLink:
    nothing: Any = None
    return PeerLink(7, True, "", 0.0, nothing, nothing, key="k", state=LinkState.READY)


def record(number: int, pad: bool) -> Signed:
    who = Identity.from_seed(number.to_bytes(32, "big"))
    host = f"{number:03}." * 62 + "example"
    text = msgspec.json.encode(AddressRecord(who.key, f"{host}:65535", int(NOW * 1000))).decode()
    sealer = Sealer(who, "test")
    draft = sealer.add(text + " " * (PAYLOAD_BYTES_MAX - len(text)) if pad else text)
    sealer.seal()
    return draft.proof


def test_a_line_that_is_too_long_is_a_bug_here_and_never_leaves() -> None:
    strict, daemon, link = Outgoing(True), Outgoing(), a_link()
    for outgoing in (strict, daemon):
        outgoing.send(link, b"short\n")
        outgoing.send_later(link, lambda: b"x" * LINE_BYTES_MAX + b"\n")
        outgoing.close(7, "done")
    with pytest.raises(LocalProtocolError, match="a line of 65537 bytes"):
        strict.drain([])
    assert daemon.drain([]) == [Send(7, b"short\n"), CloseLink(7, "done")]
    assert daemon.too_long == 1


def test_padded_records_are_refused_and_many_long_ones_travel_in_several_lines() -> None:
    book = AddressBook("", Verifier(Ed25519(), "test"), random.Random(1))
    with pytest.raises(RemoteProtocolError, match="canonical"):
        book.learn(record(1, pad=True), NOW)
    for number in range(1, 200):
        assert book.learn(record(number, pad=False), NOW) is not None
    outgoing = Outgoing(True)
    outgoing.notify_list(a_link(), "peer.addresses", "records", book.sample(ADDRESSES_MAX, NOW))
    sends = outgoing.drain([])
    assert len(sends) > 1
    told = [json.loads(send.line)["params"]["records"] for send in sends if isinstance(send, Send)]
    assert sum(map(len, told)) == 199


@pytest.mark.parametrize("host", ["a\\u0000", "é", 'a"b', "a b"])
def test_an_address_has_no_characters_that_grow_when_they_are_written(host: str) -> None:
    text = f'{{"peer":"{"0" * 64}","address":"{host}:1","time":1}}'
    with pytest.raises(RemoteProtocolError, match="address record"):
        AddressBook("", Verifier(Ed25519(), "test"), random.Random(1)).learn(
            Signed(text, b"", 0, 1, bytes(64)), NOW
        )


def test_heads_of_sixteen_digits_fit_their_lines() -> None:
    """An epoch and a sequence number up to 2**53 are allowed to every home."""
    net = Network(2)
    for number in range(3 * HEADS_PER_MESSAGE_MAX):
        key = f"{number:064x}"
        origin = Origin(key, 2**53 - 1, 2**53 - 1, "f" * 64, visible=True)
        net[0].replica.origins[key] = origin
        net[0].replica.sets.note(origin)
    net.link(0, 1)
    assert net.counts["sync.heads"] >= 3


@pytest.mark.parametrize("name", ["é" * 64, "\0" * 64, "A" * 64])
def test_a_head_is_of_hexadecimal_digits(name: str) -> None:
    for head in ([name, 1, 1, "0" * 64], ["0" * 64, 1, 1, name]):
        with pytest.raises(RemoteProtocolError, match="a head must be"):
            read_heads({"heads": [head]})


def test_the_id_of_a_question_does_not_make_its_answer_too_long() -> None:
    net = Network(2)
    net.link(0, 1)
    link = next(iter(net[0].peering.links))
    message = {"jsonrpc": "2.0", "id": "\0" * 12_000, "method": "peer.ping", "params": {}}
    net[0].link_message(link, message, net.now)
    net.settle()
    assert net[0].peering.ready()
