"""One byte sequence for each value: what is kept or passed on cannot be padded."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.peers.mesh import LINE_BYTES, pack
from grenache_py.exchange.signed_log.entries import Entry
from grenache_py.exchange.signed_log.merkle import PAYLOAD_BYTES_MAX, Signed
from tests.exchange.replication.test_replica import ALICE, Author
from tests.support.peers import Network


def padded(payload: str) -> str:
    """The same value in more bytes."""
    return payload[:-1] + " " * (PAYLOAD_BYTES_MAX - len(payload)) + "}"


@pytest.mark.parametrize(
    "spelled",
    [
        padded,
        lambda text: text.replace('"epoch":1,', '"epoch": 1,'),
        lambda text: text.replace('"time":', '"trades":[],"time":', 1),
        lambda text: text.replace("BTC", "\\u0042TC"),
        lambda text: json.dumps(dict(sorted(json.loads(text).items())), separators=(",", ":")),
        lambda text: text.replace('"seq":1', '"seq":1,"seq":1', 1),
    ],
    ids=["padding", "space", "default", "escape", "order", "twice"],
)
def test_an_entry_has_one_spelling_and_every_other_is_refused(spelled: object) -> None:
    net = Network(1)
    author = Author(net.now)
    good = author.order()
    other = author.signed(spelled(good.payload))  # type: ignore[operator]
    replica = net[0].replica
    with pytest.raises(RemoteProtocolError, match="canonical"):
        replica.receive(other, net.now)
    with pytest.raises(RemoteProtocolError, match="canonical"):
        replica.adoption.adopt_record(other, other, net.now)
    with pytest.raises(RemoteProtocolError, match="canonical"):
        replica.forks.prove(good, other)
    assert ALICE.key not in replica.origins
    # Nor is it a second history, once the entry itself is known.
    replica.receive(good, net.now)
    with pytest.raises(RemoteProtocolError, match="canonical"):
        replica.receive(other, net.now)
    assert not replica.origins[ALICE.key].frozen


def test_a_heartbeat_to_adopt_is_canonical_too() -> None:
    net = Network(1)
    author = Author(net.now)
    beat = {"lease_ms": 20_000, "live": 0, "fingerprint": "0" * 64}
    good = author.entry(beat=beat).payload
    with pytest.raises(RemoteProtocolError, match="canonical"):
        net[0].replica.adoption.adopt_head(author.signed(padded(good)), [], net.now)


@pytest.mark.parametrize("amount", ["1.0", "0.0", "1.50", "0.500000000000000000"])
def test_an_amount_has_no_zeros_at_its_end(amount: str) -> None:
    """``0.0`` is not the ``0`` that ends an order: it would be live for ever."""
    net = Network(1)
    author = Author(net.now)
    with pytest.raises(RemoteProtocolError, match="decimal number"):
        net[0].replica.receive(author.order(quantity=amount), net.now)


@pytest.mark.parametrize("signature,path", [(63, 0), (65, 0), (9_000, 0), (64, 224), (64, 31)])
def test_a_signature_and_its_path_have_the_lengths_they_must_have(
    signature: int, path: int
) -> None:
    wire = {"payload": "{}", "signature": bytes(signature), "path": bytes(path), "leaf": [0, 64]}
    with pytest.raises(RemoteProtocolError, match="bad signed payload"):
        Signed.from_wire(msgspec.to_builtins(wire))


@given(st.text(alphabet='"\\\x00\x1f\x7fé€😀a', max_size=PAYLOAD_BYTES_MAX // 4))
def test_two_payloads_of_any_text_fit_a_line(text: str) -> None:
    """What a payload may hold is JSON: a control character is escaped in it already."""
    payload = msgspec.json.encode(text).decode()
    payload *= max(1, PAYLOAD_BYTES_MAX // len(payload.encode()))
    raw = msgspec.json.encode(Signed(payload, bytes(192), 63, 64, bytes(64)).wire())
    assert 2 * len(raw) <= LINE_BYTES
    assert len(pack([raw, raw])) == 1


def test_a_stored_order_that_cannot_be_read_costs_that_order_and_never_the_start() -> None:
    net = Network(1)
    author = Author(net.now)
    replica = net[0].replica
    kept, lost = author.order(price="1"), author.order(price="2")
    for signed in (kept, lost):
        replica.receive(signed, net.now)
    net.settle()
    database = net.peers[0].database
    database.connection.execute(
        "UPDATE records SET order_payload = order_payload || 'x' WHERE order_payload = ?",
        (lost.payload,),
    )
    database.connection.commit()
    net.restart(0)
    assert [price for price, _ in net.book(0)[1]] == [100]
    net.settle()
    assert database.connection.execute("SELECT count(*) FROM records").fetchone() == (1,)


def test_what_is_encoded_here_is_canonical() -> None:
    author = Author(1_790_000_000.0)
    for signed in (author.order(), author.state(2, "0", reason="cancelled")):
        assert Entry.decode(signed.payload).encode() == signed.payload
