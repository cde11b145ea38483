"""A trade as a document: what proves it, what does not, and what is said when history is gone."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from grenache_py.errors import GrenacheError, RemoteProtocolError
from grenache_py.exchange.audit.issuing import Issued, issue
from grenache_py.exchange.audit.receipt import (
    NOT_PROVEN,
    RECEIPT_BYTES_MAX,
    Receipt,
    prove_trade,
)
from grenache_py.exchange.cli.commands import exchange
from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.fills.messages import FillAnswer, FillRequest, encode, fill_id, trade_id
from grenache_py.exchange.signed_log.entries import Entry, OrderBody, TradeBody, order_id
from grenache_py.exchange.signed_log.keys import Identity
from grenache_py.exchange.signed_log.merkle import LEAVES_MAX, Sealer, Signed
from grenache_py.exchange.storage.copies import copy
from grenache_py.exchange.storage.retention import Retention, plan
from tests.support.peers import Network

ALICE, BOB, EVE = (Identity.from_seed(bytes([number]) * 32) for number in (1, 2, 3))
TIME = 1_790_000_000_000


# Real homes.


def traded(*lost: str, lots: int = 4) -> Network:
    """Peer 1 sells, peer 0 buys; messages of these kinds do not arrive meanwhile."""
    network = Network(2)
    network.mesh()
    network.place(1, "sell", 10, 100)
    network.run(1)
    network.lost = set(lost)
    network.place(0, "buy", lots, 100)
    network.run(3)
    return network


def stored(network: Network, number: int, folder: Path) -> str:
    path = str(folder / f"{number}-{len(list(folder.iterdir()))}.sqlite")
    copy(network.peers[number].database.connection, path)
    return path


def only_trade(network: Network, number: int) -> str:
    [(trade,)] = network.peers[number].database.connection.execute("SELECT trade_id FROM trades")
    return str(trade)


def issued(network: Network, number: int, folder: Path) -> Issued:
    made = issue(stored(network, number, folder), only_trade(network, number), "test")
    assert made is not None
    return made


def kinds(made: Issued) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for each in made.proven.signatures:
        found.setdefault(each.home, []).append(each.kind)
    return found


@pytest.mark.parametrize(
    ("lost", "makers"),
    [
        ((), "log entry"),
        (("result",), "log entry"),
        (("gossip.publish",), "answer"),
    ],
)
def test_either_home_proves_the_trade_by_what_both_signed(
    lost: tuple[str, ...], makers: str, tmp_path: Path
) -> None:
    network = traded(*lost)
    taker, maker = network[0].key, network[1].key
    bought, sold = issued(network, 0, tmp_path), issued(network, 1, tmp_path)
    assert kinds(bought) == {taker: ["log entry"], maker: [makers]}
    assert kinds(sold) == {maker: ["log entry"], taker: ["request", "order"]}
    for made in (bought, sold):
        proven = prove_trade(made.data)
        assert proven == made.proven and proven.holds
        assert (proven.seller, proven.buyer) == (maker, taker)
        assert (proven.maker, proven.taker) == (maker, taker)
        assert (proven.market, proven.quantity, proven.price) == ("BTC-USD", "0.0004", "1")
        assert (proven.trade, proven.network) == (only_trade(network, 0), "test")
        assert abs(proven.time - network.now * 1000) < 5_000


def test_a_taker_that_sells_is_the_seller(tmp_path: Path) -> None:
    network = Network(2)
    network.mesh()
    bid = network.place(1, "buy", 10, 100)
    network.run(1)
    ask = network.place(0, "sell", 4, 100)
    network.run(3)
    for number in (0, 1):
        proven = issued(network, number, tmp_path).proven
        assert (proven.seller, proven.sell_order) == (network[0].key, ask.order_id)
        assert (proven.buyer, proven.buy_order) == (network[1].key, bid.order_id)


def test_each_trade_of_one_fill_has_its_receipt(tmp_path: Path) -> None:
    network = Network(2)
    network.mesh()
    for price in (100, 101, 102):
        network.place(1, "sell", 2, price)
    network.run(1)
    network.place(0, "buy", 6, 102)
    network.run(3)
    for number in (0, 1):
        path = stored(network, number, tmp_path)
        connection = network.peers[number].database.connection
        trades = [trade for (trade,) in connection.execute("SELECT trade_id FROM trades")]
        made = [issue(path, trade, "test") for trade in trades]
        assert [each and each.proven.holds for each in made] == [True] * 3
        assert {each.proven.price for each in made if each} == {"1", "1.01", "1.02"}
        # They are proven by the same statements, kept once: request, order, answer or entry.
        assert connection.execute("SELECT count(*) FROM evidence").fetchone() == (3,)


def test_a_settled_trade_is_proven_after_a_restart(tmp_path: Path) -> None:
    network = traded()
    before = [issued(network, number, tmp_path).data for number in (0, 1)]
    network.restart(0)
    network.restart(1)
    network.run(120)
    assert [issued(network, number, tmp_path).data for number in (0, 1)] == before


def test_a_trade_within_one_home_has_one_signer_and_says_so(tmp_path: Path) -> None:
    network = Network(1)
    network.place(0, "sell", 10, 100)
    network.place(0, "buy", 4, 100)
    made = issued(network, 0, tmp_path)
    assert made.proven.holds and kinds(made) == {network[0].key: ["log entry"]}
    assert made.proven.seller == made.proven.buyer == network[0].key
    (tmp_path / "receipt.json").write_bytes(made.data)
    done = run("verify", str(tmp_path / "receipt.json"))
    assert done.exit_code == 0
    assert done.output.startswith("proven: its one home signed it\n")
    assert "the only signer, for both sides" in done.output


# History that is gone.


def pruned(network: Network, number: int, **keep: Any) -> None:
    database = network.peers[number].database
    now_ms = int(network.now * 1000)
    for _ in database.prune(plan(database.connection, Retention(**keep), now_ms)):
        pass


def test_a_log_that_is_gone_is_not_missed(tmp_path: Path) -> None:
    network = traded(lots=10)  # closed: no entry has to be kept for a live order
    network.run(60)
    for number, makers in ((0, "log entry"), (1, "answer")):
        pruned(network, number, log_entries_max=1)
        made = issued(network, number, tmp_path)
        assert made.proven.holds
        assert kinds(made) == {network[1].key: [makers], network[0].key: ["request", "order"]}


@pytest.mark.parametrize("number", [0, 1])
def test_what_is_forgotten_is_named_and_never_made_up(number: int, tmp_path: Path) -> None:
    network = traded(lots=10)
    network.run(60)
    me, other = network[number].key, network[1 - number].key
    pruned(network, number, evidence_age_ms=0)
    file = str(tmp_path / "out.json")
    path = stored(network, number, tmp_path)
    done = run("receipt", only_trade(network, number), path, "--network", "test", "-o", file)
    assert done.exit_code == 1 and f"home {other} signed nothing here" in str(done.exception)
    done = run("verify", file)
    assert done.exit_code == 1 and f"home {other} signed nothing here" in str(done.exception)
    assert f"signed by  {me}" in done.stdout and "NOTHING" in done.stdout
    assert done.stdout.startswith("NOT PROVEN: one of its two homes did not sign it\n")

    pruned(network, number, log_entries_max=1)
    path, trade = stored(network, number, tmp_path), only_trade(network, number)
    with pytest.raises(StoreError, match="nothing that a home signed about trade"):
        issue(path, trade, "test")
    pruned(network, number, trades_age_ms=0)  # the execution is still there: it is known
    with pytest.raises(StoreError, match="older than the log and the evidence"):
        issue(stored(network, number, tmp_path), trade[:8], "test")


def test_a_trade_of_two_others_and_an_unknown_one_have_no_receipt(tmp_path: Path) -> None:
    network = Network(3)
    network.mesh()
    network.place(1, "sell", 10, 100)
    network.run(1)
    network.place(0, "buy", 4, 100)
    network.run(3)
    path = stored(network, 2, tmp_path)
    with pytest.raises(StoreError, match="trade of two other homes"):
        issue(path, only_trade(network, 2), "test")
    for unknown in ("", "0", "%", "a' OR 1=1 --", "f" * 32):
        assert issue(path, unknown, "test") is None


def test_another_network_is_not_the_stores(tmp_path: Path) -> None:
    network = traded()
    with pytest.raises(RemoteProtocolError, match=r"in the network main .*: statement 1"):
        issue(stored(network, 0, tmp_path), only_trade(network, 0), "main")


# The commands.


def run(*argv: str, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(exchange, argv, input=stdin)


def test_the_commands_write_a_file_and_prove_it(tmp_path: Path) -> None:
    network = traded()
    path, trade = stored(network, 0, tmp_path), only_trade(network, 0)
    file = str(tmp_path / "receipt.json")
    options = (trade[:8], path, "--network", "test", "-o")
    done = run("--json", "receipt", *options, file)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["file"] == file
    assert run("receipt", *options, "-").stdout.encode() == Path(file).read_bytes()
    done = run("receipt", *options, file)
    assert done.exit_code == 2 and "File exists" in done.stderr

    done = run("verify", file)
    assert done.exit_code == 0
    assert done.stdout.startswith("proven: both homes signed it\n")
    for text in (trade, network[0].key, network[1].key, "0.0004 BTC-USD at 1", *NOT_PROVEN):
        assert text in done.stdout
    told = json.loads(run("--json", "verify", file).stdout)
    assert told["holds"] is True and told["not_proven"] == list(NOT_PROVEN)
    assert told["seller"] == network[1].key
    assert run("verify", "-", stdin=Path(file).read_bytes()).exit_code == 0

    changed = Path(file).read_bytes().replace(b"0.0004", b"0.0005")
    done = run("verify", "-", stdin=changed)
    assert done.exit_code == 1 and not done.stdout
    assert "statement 1: the signature is not that of the peer it names" in str(done.exception)

    done = run("receipt", "f" * 32, path, "--network", "test")
    assert done.exit_code == 3 and "knows no trade" in done.stderr


def test_the_page_says_first_what_this_is_not_and_then_what_verify_says() -> None:
    page = (Path(__file__).parents[3] / "docs" / "settlement.rst").read_text()
    assert page.startswith("Settlement is not this program's\n")
    for text in (*NOT_PROVEN, f"at most {RECEIPT_BYTES_MAX:,} bytes"):
        assert text in page
    keep = Retention()
    assert (
        f"{keep.evidence_max:,} statements,\nfor {keep.evidence_age_ms // 86_400_000} days" in page
    )
    assert f"{keep.log_entries_max:,} entries" in page


# Whatever is changed.


@pytest.fixture(scope="module")
def receipts(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Those of both homes: entries, answers, requests."""
    folder = tmp_path_factory.mktemp("stores")
    made = []
    for lost in ((), ("gossip.publish",)):
        network = traded(*lost)
        made += [issued(network, number, folder).data for number in (0, 1)]
    return made


@pytest.mark.parametrize("which", range(4))
def test_no_byte_can_be_changed_left_out_or_put_in(which: int, receipts: list[bytes]) -> None:
    data, rng = receipts[which], random.Random(which)
    for place in range(len(data)):
        before, after = data[:place], data[place + 1 :]
        for changed in (
            before + bytes([data[place] ^ 1]) + after,
            before + bytes([data[place] ^ rng.randrange(1, 256)]) + after,
            before + after,
            before + bytes([rng.randrange(256)]) + data[place:],
            before,
        ):
            with pytest.raises(RemoteProtocolError):
                prove_trade(changed)
    with pytest.raises(RemoteProtocolError):
        prove_trade(data + b"\n")
    with pytest.raises(RemoteProtocolError, match=f"at most {RECEIPT_BYTES_MAX}"):
        prove_trade(data.ljust(RECEIPT_BYTES_MAX + 1))


@pytest.mark.parametrize("leaves", [1, 2, 3, 5, 6, 7, 33, LEAVES_MAX])
def test_a_statement_has_one_place_in_its_tree(leaves: int) -> None:
    """A signature covers the root: in another tree the same path may lead to it too."""
    sealer = Sealer(ALICE, "test")
    own = trade()
    drafts = [sealer.add(an_entry(ALICE.key, own, seq=n + 1)) for n in range(leaves)]
    sealer.seal()
    for index in {0, 1, leaves // 2, leaves - 2, leaves - 1} & set(range(leaves)):
        receipt = Receipt.of("test", own.id, [drafts[index].proof])
        prove_trade(receipt.encode())
        [wire] = receipt.statements
        for size in range(1, LEAVES_MAX + 1):
            for other in range(size):
                if (other, size) != wire.leaf:
                    moved = msgspec.structs.replace(wire, leaf=(other, size))
                    data = msgspec.structs.replace(receipt, statements=(moved,)).encode()
                    with pytest.raises(RemoteProtocolError):
                        prove_trade(data)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_parts_of_several_receipts_never_prove_what_was_not_signed(
    receipts: list[bytes], data: st.DataObject
) -> None:
    """Any statements under any of the trades: what holds is one of the real trades, unaltered."""
    parts = [Receipt.decode(each) for each in (*receipts, *OTHERS)]
    pool = [statement for part in parts for statement in part.statements]
    real = {facts(part.encode()) for part in parts}
    mixed = Receipt(
        1,
        data.draw(st.sampled_from(["test", "main"])),
        data.draw(st.sampled_from([part.trade for part in parts])),
        tuple(data.draw(st.lists(st.sampled_from(pool), min_size=1, max_size=3))),
    ).encode()
    try:
        proven = prove_trade(mixed)
    except RemoteProtocolError:
        return
    assert facts(mixed) in real
    signers = {each.home for each in proven.signatures}
    assert proven.holds == ({proven.maker, proven.taker} <= signers)


def facts(data: bytes) -> tuple[object, ...]:
    proven = prove_trade(data)
    return tuple(getattr(proven, name) for name in FACTS)


FACTS = ("trade", "market", "quantity", "price", "seller", "buyer", "buy_order", "time")


# Statements made by hand: what two homes may sign, and what a liar would.


def an_order(**changed: Any) -> OrderBody:
    spec: dict[str, Any] = {
        "market": "BTC-USD", "side": "buy", "type": "limit", "quantity": "2", "time": (TIME, 1),
        "price": "100", "stop": None, "time_in_force": "gtc", "post_only": False, "expires": None,
    }  # fmt: skip
    spec |= changed
    return OrderBody(order_id(BOB.key, **spec), **spec)


def trade(order: OrderBody | None = None, fill_seq: int = 1, **changed: Any) -> TradeBody:
    """Alice's home makes, Bob's takes; 1 at 99."""
    taken = order or an_order()
    fill = fill_id(taken.id, ALICE.key, BOB.key, fill_seq)
    made = TradeBody(
        trade_id(fill, "1" * 32), "BTC-USD", "99", "1", "buy", "1" * 32, taken.id, ALICE.key,
        BOB.key, TIME + 10,
    )  # fmt: skip
    return msgspec.structs.replace(made, **changed)


def a_request(order: OrderBody | None = None, **changed: Any) -> FillRequest:
    taken = order or an_order()
    made = FillRequest(
        fill_id(taken.id, ALICE.key, BOB.key, 1), BOB.key, ALICE.key, "BTC-USD", taken.id, 1, "1",
        TIME + 10_000, 1, (("1" * 32, "1", "99"),), False,
    )  # fmt: skip
    return msgspec.structs.replace(made, **changed)


def an_entry(home: str, *trades: TradeBody, seq: int = 7, order: OrderBody | None = None) -> str:
    return Entry(home, 1, seq, "0" * 64, (TIME + 20, 0), order, trades).encode()


def signed(by: Identity, payload: str) -> Signed:
    sealer = Sealer(by, "test")
    draft = sealer.add(payload)
    sealer.seal()
    return draft.proof


def document(*statements: Signed, id: str = "") -> bytes:
    return Receipt.of("test", id or trade().id, list(statements)).encode()


OTHERS = tuple(
    document(
        signed(ALICE, an_entry(ALICE.key, trade(fill_seq=seq))),
        signed(BOB, an_entry(BOB.key, trade(fill_seq=seq))),
        id=trade(fill_seq=seq).id,
    )
    for seq in (2, 3)
)


def test_what_both_sign_by_hand_holds() -> None:
    for theirs in (
        [signed(BOB, an_entry(BOB.key, trade()))],
        [signed(BOB, encode(a_request())), signed(BOB, an_entry(BOB.key, order=an_order()))],
    ):
        for ours in (
            an_entry(ALICE.key, trade()),
            encode(FillAnswer(a_request().id, BOB.key, ALICE.key, "", (trade(),))),
        ):
            assert prove_trade(document(signed(ALICE, ours), *theirs)).holds


@pytest.mark.parametrize(
    "changed",
    [
        {"price": "98"},
        {"quantity": "2"},
        {"market": "ETH-USD"},
        {"side": "sell"},
        {"maker": "2" * 32},
        {"taker": "2" * 32},
        {"time": TIME + 11},
        {"taker_home": EVE.key},
    ],
)
def test_two_homes_that_differ_prove_nothing(changed: dict[str, Any]) -> None:
    other = trade(**changed)
    [name] = changed
    with pytest.raises(RemoteProtocolError, match=f"{name} is|no part in the trade"):
        prove_trade(
            document(
                signed(ALICE, an_entry(ALICE.key, trade())), signed(BOB, an_entry(BOB.key, other))
            )
        )


@pytest.mark.parametrize(
    ("request_", "order", "made", "what"),
    [
        ({"legs": (("1" * 32, "1", "98"),)}, {}, {}, "the price"),
        ({"legs": (("1" * 32, "0.5", "99"),)}, {}, {}, "the quantity"),
        ({"market": "ETH-USD"}, {}, {}, "the market"),
        ({"deadline": TIME + 9}, {}, {}, "the time"),
        ({}, {"side": "sell"}, {}, "the side"),
        ({}, {"side": "sell"}, {"side": "sell"}, "the price"),
        ({}, {"price": "98"}, {}, "the price"),
        ({}, {"market": "ETH-USD"}, {}, "the market"),
        ({}, {"quantity": "0.5"}, {}, "the quantity"),
        ({}, {}, {"taker": "2" * 32}, "the taker's order"),
        ({}, {}, {"taker_home": EVE.key}, "the taker's home"),
    ],
)
def test_a_trade_that_was_not_asked_for_is_not_proven(
    request_: dict[str, Any], order: dict[str, Any], made: dict[str, Any], what: str
) -> None:
    placed = an_order(**order)
    statements = (
        signed(ALICE, an_entry(ALICE.key, trade(placed, **made))),
        signed(BOB, encode(a_request(placed, **request_))),
        signed(BOB, an_entry(BOB.key, order=placed)),
    )
    with pytest.raises(RemoteProtocolError, match=f"not what was asked for: {what} differs"):
        prove_trade(document(*statements, id=trade(placed).id))


def test_strangers_and_halves_prove_nothing() -> None:
    own, asked = signed(ALICE, an_entry(ALICE.key, trade())), signed(BOB, encode(a_request()))
    order = signed(BOB, an_entry(BOB.key, order=an_order()))
    answer = FillAnswer(a_request().id, BOB.key, ALICE.key, "", (trade(),))
    for statements, why in (
        ([asked, order], "no statement says that the trade was made"),
        ([own, asked], "only together"),
        ([own, order], "only together"),
        ([own, own], "it repeats another statement"),
        ([signed(ALICE, an_entry(ALICE.key, trade(market="A at 1\nsold by B")))], "no market has"),
        ([signed(EVE, an_entry(ALICE.key, trade()))], "not that of the peer it names"),
        ([signed(EVE, an_entry(EVE.key, trade()))], "has no part in the trade"),
        ([own, signed(BOB, an_entry(BOB.key))], "says nothing of the trade"),
        ([signed(ALICE, encode(msgspec.structs.replace(answer, trades=())))], "says nothing"),
        (
            [signed(EVE, encode(msgspec.structs.replace(answer, maker_home=EVE.key)))],
            "another home",
        ),
        ([signed(ALICE, encode(msgspec.structs.replace(answer, fill="2" * 32)))], "not that of"),
        ([signed(ALICE, an_entry(ALICE.key, trade()).replace(":", ": ", 1))], "not canonical"),
        ([signed(ALICE, "{}")], "no log entry"),
        ([signed(ALICE, '{"kind":' + "[" * 13_000)], "no log entry"),
    ):
        with pytest.raises(RemoteProtocolError, match=why):
            prove_trade(document(*statements))


@settings(max_examples=300)
@given(st.binary(max_size=300))
def test_any_bytes_are_refused_with_a_word(data: bytes) -> None:
    with pytest.raises(GrenacheError):
        prove_trade(data)
