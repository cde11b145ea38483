"""
What must hold whatever happens, checked from outside.

The codes, I1 to I15 and L1 to L7, are those of docs/design/distributed-core.rst#invariants; O1 to
O10 are those of docs/simulator.rst#order-rules.
The checker sees what each home commits and what each home lets out, keeps its own books of
both, and never asks the code under test whether it is right.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

import attrs
import msgspec

from grenache_py.exchange.effects.batch import Batch, Send
from grenache_py.exchange.effects.rows import (
    AnswerGone,
    AnswerRow,
    IntentRow,
    LogRow,
    OrderRow,
    Row,
    TradeRow,
)
from grenache_py.exchange.fills import taker as takers
from grenache_py.exchange.home import ledger
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.node import ExchangeNode
from grenache_py.exchange.peers import link as peer_link
from grenache_py.exchange.replication import origin_table, remote_orders, replica
from grenache_py.exchange.replication.origin_state import OriginState
from grenache_py.exchange.replication.record_rows import signed_pair
from grenache_py.exchange.signed_log.entries import GENESIS, Entry
from tests.sim.exchange.network import Peer
from tests.sim.exchange.order_rules import OrderRules
from tests.sim.exchange.reference import Broken, LocalBooks
from tests.sim.exchange.units import Units, in_units

__all__ = ["Checker", "Violation"]

#: What a neighbour reads; a longer line ends the link.
LINE_BYTES_MAX = 65_536
#: In peace a fill is in doubt for this long at most (L3).
DOUBT_S = 30.0
#: After so many seconds without an answer a home is asked for nothing more (O9).
PATIENCE_S = 5.0


def leaf_hash(payload: str) -> bytes:
    """What chains a log; written down again here, for the code under test is not asked."""
    return sha256(b"\0" + payload.encode()).digest()


class Violation(AssertionError):
    """An invariant does not hold. The message begins with its number."""


@attrs.define
class _Log:
    epoch: int = 1
    seq: int = 0
    hash: str = GENESIS
    time: tuple[int, int] = (0, 0)


class Checker:
    """
    Books kept beside the homes' own.

    Args:
        markets: for I15 and the rules of orders, which are left out without them.

    Attributes:
        orders: the newest committed row of each order.
        trades: committed trade rows by (home, trade id), of homes that took part.
        sometimes: what happened at all; a simulation in which nothing happens proves nothing.
        amnesia: homes whose disk lost commits: what they say afterwards contradicts their past.
        honest: keys of all peers that run the code under test.
        evil: keys of peers that lie, some of those too; nothing is asked of them, only of those
            they meet.
        hostage: evil homes never answer a fill: there is to be an end to what they are asked (O9).
    """

    def __init__(self, markets: Sequence[Market] = ()) -> None:
        self._markets = {market.symbol: in_units(market.symbol) for market in markets}
        self._matched: dict[str, LocalBooks] = {}
        self._units: dict[str, Units] = {}
        self._writers: dict[tuple[str, int], str] = {}
        self.process_of: Callable[[Peer], str] = lambda peer: peer.name  # of several that may write
        self._held: dict[tuple[str, int, str], dict[str, int]] = defaultdict(dict)
        self.orders: dict[str, OrderRow] = {}
        self.home_of: dict[str, str] = {}
        self.trades: dict[tuple[str, str], TradeRow] = {}
        self.traded: dict[str, dict[str, int]] = defaultdict(dict)
        self.answers: dict[tuple[str, str], str] = {}
        self.answers_gone: set[tuple[str, str]] = set()
        self.logs: dict[str, _Log] = defaultdict(_Log)
        self.published: set[tuple[str, int]] = set()  # (order id, version)
        self.durable: set[bytes] = set()  # hashes of committed log entries
        self.sometimes: dict[str, int] = defaultdict(int)
        self.order_rules = OrderRules(self.sometimes) if markets else None
        self.amnesia: set[str] = set()
        self.evil: set[str] = set()
        self.honest: set[str] = set()
        self.check_sends = True
        self.hostage = False
        self._fills_seen: dict[tuple[str, str], float] = {}
        self._first_asked: dict[tuple[str, int, str], tuple[float, int]] = {}
        self._in_doubt: dict[tuple[str, str], float] = {}
        self._synced: set[str] = set()
        #: By way: entries, each with its home.
        self._passed_on: dict[tuple[str, int, int], dict[bytes, str]] = defaultdict(dict)
        self._wanted: Counter[tuple[str, int, int]] = Counter()
        self.trace = sha256()

    # What is durable.

    def committed(self, peer: Peer, rows: list[Row]) -> None:
        home = peer.identity.key
        named = [peer.name, *((type(row).__name__, *row) for row in rows)]
        self.trace.update(msgspec.msgpack.encode(named))
        units = self._units.get(home)
        if units is None or units.config is not peer.config:
            units = self._units[home] = Units.of(peer.config, units)
        rows = [units.row(row) for row in rows]
        for row in rows:
            if type(row) is OrderRow:
                self._order(home, row)
        if self.order_rules is not None and home not in self.amnesia:
            try:
                self.order_rules.committed(home, rows, peer.was_silent)
            except Broken as error:
                raise Violation(f"{error} at {peer.name}") from None
        for row in rows:
            if type(row) is TradeRow:
                self._trade(home, row)
            elif type(row) is AnswerRow:
                self._answer(home, row)
            elif self.hostage and type(row) is IntentRow and row.maker_home in self.evil:
                self._held_hostage(peer, row)
            elif type(row) is AnswerGone:
                self.answers_gone.add((home, row.fill_id))
            elif type(row) is LogRow:
                self._log(peer, row)

    def _order(self, home: str, row: OrderRow) -> None:
        closed = row.quantity_lots - row.open - row.reserved - row.filled
        if min(row.open, row.reserved, row.filled, closed) < 0:
            raise Violation(f"I1: order {row.order_id} at {home[:8]}: {row}")
        if (
            row.open
            and row.triggered
            and (row.time_in_force in ("ioc", "fok") or not row.price_ticks)
        ):
            raise Violation(f"I7: an order that only takes was left standing: {row}")
        before = self.orders.get(row.order_id)
        if before is not None and home not in self.amnesia:
            if row.filled < before.filled or row.version < before.version:
                raise Violation(f"I5: order {row.order_id} went back: {before} -> {row}")
            changed = (row.open, row.reserved, row.filled) != (
                before.open,
                before.reserved,
                before.filled,
            )
            if changed and row.version == before.version:
                raise Violation(f"I5: two states of {row.order_id} share version {row.version}")
            if not before.live and changed:
                raise Violation(f"I8: closed order {row.order_id} changed: {before} -> {row}")
        self.orders[row.order_id] = row
        self.home_of[row.order_id] = home

    def _trade(self, home: str, row: TradeRow) -> None:
        if home not in (row.maker_home, row.taker_home):
            return
        first = (home, row.trade_id) not in self.trades
        self.trades[home, row.trade_id] = row
        if not first:
            return
        for order_id in (row.maker_order, row.taker_order):
            lots = self.traded[order_id]
            lots[row.trade_id] = max(lots.get(row.trade_id, 0), row.quantity_lots)
            known = self.orders.get(order_id)
            if known is not None and sum(lots.values()) > known.quantity_lots:
                raise Violation(f"I2: order {order_id} of {known.quantity_lots} lots traded {lots}")
        if home == row.taker_home != row.maker_home:
            theirs = self.trades.get((row.maker_home, row.trade_id))
            if theirs is None:
                raise Violation(f"I3: {row.trade_id} at the taker, never committed by its maker")
            if theirs[:9] != row[:9]:
                raise Violation(f"I3: the two sides differ: {theirs} / {row}")
            maker, taker = (self._units[key].of_market[row.market] for key in theirs[7:9])
            if maker != taker:
                raise Violation(f"O8: {row.trade_id} joins {maker} and {taker}, steps of {row}")
            self.sometimes["trade between homes"] += 1
        elif home == row.taker_home:
            self.sometimes["trade at one home"] += 1
        self._limits(row)

    def _held_hostage(self, peer: Peer, row: IntentRow) -> None:
        """
        O9: who never gave a signed answer is asked for no more, once the first is overdue.

        By two clocks: the commit may be late, by seconds on a slow disk, and the home's clock jump.
        """
        now = peer.network.clock.now
        self._fills_seen.setdefault((peer.name, row.fill_id), now)
        who = (peer.name, peer.life, row.maker_home)
        first, deadline_ms = self._first_asked.setdefault(who, (now, row.deadline_ms))
        late = min(now - first, (row.deadline_ms - deadline_ms) / 1000)
        if self._fills_seen[peer.name, row.fill_id] == now and late > PATIENCE_S:
            raise Violation(f"O9: {peer.name} asks {row.maker_home[:8]} again: {row}")

    def _limits(self, row: TradeRow) -> None:
        maker, taker = self.orders.get(row.maker_order), self.orders.get(row.taker_order)
        if row.taker_home in self.evil and maker is not None:
            self.sometimes["trade with an evil taker"] += 1
            if maker.price_ticks != row.price_ticks or maker.side == row.side:
                raise Violation(f"I7: {row.trade_id} is not what its maker wants: {maker} {row}")
            return
        if maker is None or taker is None:
            raise Violation(f"I14: a trade of orders nobody committed: {row}")
        if maker.price_ticks != row.price_ticks or row.price_ticks <= 0:
            raise Violation(f"I7: {row.trade_id} is not at the maker's price: {maker} {row}")
        sign = 1 if taker.side == "buy" else -1
        if taker.price_ticks and sign * (taker.price_ticks - row.price_ticks) < 0:
            raise Violation(f"I7: {row.trade_id} is beyond the taker's limit: {taker} {row}")
        if maker.side == taker.side or maker.market != taker.market or row.side != taker.side:
            raise Violation(f"I7: {row.trade_id} joins {maker} and {taker}")
        if row.maker_home == row.taker_home and maker.account and maker.account == taker.account:
            raise Violation(f"I7: {maker.account} traded with itself: {row}")
        if maker.expires_ms and row.time_ms > maker.expires_ms:
            raise Violation(f"I8: the maker of {row.trade_id} had expired: {maker} {row}")
        if row.maker_home != row.taker_home and _key(taker) <= _key(maker):
            raise Violation(f"I10: the older order of {row.trade_id} was the taker")

    def _answer(self, home: str, row: AnswerRow) -> None:
        known = self.answers.setdefault((home, row.fill_id), row.payload)
        if known != row.payload:
            raise Violation(f"I4: two answers to fill {row.fill_id}: {known} / {row.payload}")

    def _log(self, peer: Peer, row: LogRow) -> None:
        home = peer.identity.key
        entry = Entry.decode(row.payload)
        digest = leaf_hash(row.payload)
        if row.hash != digest.hex() or (row.epoch, row.seq) != (entry.epoch, entry.seq):
            raise Violation(f"I5: entry {row.seq} of {home[:8]} is not what its row says: {row}")
        self.durable.add(digest)
        log = self.logs[home]
        if home in self.amnesia:
            return
        process = self.process_of(peer)
        if self._writers.setdefault((home, entry.epoch), process) != process:
            raise Violation(f"I11: two processes wrote epoch {entry.epoch} of {home[:8]}")
        if entry.epoch < log.epoch:
            raise Violation(f"I11: {home[:8]} wrote in epoch {entry.epoch} after {log.epoch}")
        if entry.epoch > log.epoch:  # by its operator's word: a new log, its orders are closed
            log.epoch, log.seq, log.hash = entry.epoch, 0, GENESIS
            self._matched.pop(home, None)
        if (entry.seq, entry.prev) != (log.seq + 1, log.hash) or entry.time <= log.time:
            raise Violation(f"I5: the log of {home[:8]} breaks at {entry.seq}")
        log.seq, log.hash, log.time = entry.seq, row.hash, entry.time
        for state in entry.states:
            self.published.add((state.order_id, state.version))
        if not self._markets:
            return
        matched = self._matched.get(home)
        if matched is None:
            matched = self._matched[home] = LocalBooks(self._markets, self.sometimes)
        try:
            self.sometimes["local match replayed"] += matched.follow(entry, self.orders)
        except Broken as error:
            text = str(error)
            code = "" if text.startswith("O") else "I15: "
            raise Violation(f"{code}{text} at {home[:8]}") from None

    # What leaves.

    def released(self, peer: Peer, batch: Batch) -> None:
        """I4, I6: whatever a home says of itself must be durable when it says it."""
        if not self.check_sends or peer.identity.key in self.amnesia:
            return
        home = peer.identity.key
        seen: dict[bytes, list[tuple[bytes, str]]] = {}  # links often get the same line
        for item in batch.sends:
            if not isinstance(item, Send):
                continue
            if len(item.line) > LINE_BYTES_MAX:
                raise Violation(f"I13: {peer.name} sends {len(item.line)} bytes in a line")
            if b'"answer"' in item.line:
                self._answer_left(home, msgspec.json.decode(item.line))
            elif b"gossip.publish" in item.line:
                hashes = seen.get(item.line)
                if hashes is None:
                    entries = msgspec.json.decode(item.line)["params"]["entries"]
                    hashes = seen[item.line] = [
                        (self._entry_left(home, signed["payload"]), signed["payload"][9:73])
                        for signed in entries
                    ]
                if self.evil and self._is_evil(peer, item.link):
                    continue  # it may ask for the same again and again, or be gone
                self._once((peer.name, peer.life, item.link), hashes)

    def wanted(self, peer: Peer, link: int) -> None:
        """What came late over a link may be asked for there: ``peer`` sends that line again."""
        self._wanted[peer.name, peer.life, link] += 1

    def _is_evil(self, peer: Peer, link: int) -> bool:
        known = peer.ends.get(link)
        return known is None or known[0].other(known[1]).peer.identity.key in self.evil

    def _answer_left(self, home: str, message: dict[str, Any]) -> None:
        signed = message.get("result", {}).get("answer") if "result" in message else None
        if signed is None:
            return
        payload = signed["payload"]
        answer = msgspec.json.decode(payload)
        fill = answer["fill"]
        stored = self.answers.get((home, fill))
        if stored is None:
            if answer["why"] != "late":
                raise Violation(f"I6: answer to {fill} left before it was durable: {payload}")
            self.answers[home, fill] = payload
        elif stored != payload and not self._forgotten(home, stored, answer):
            raise Violation(f"I4: fill {fill} got two answers: {stored} / {payload}")

    def _forgotten(self, home: str, stored: str, late: dict[str, Any]) -> bool:
        """
        An answer may be forgotten long after its fill's deadline; "late" follows it then.

        Only where that is true: a fill that traded must never be called late.
        """
        before = msgspec.json.decode(stored)
        return (
            late["why"] == "late"
            and (home, before["fill"]) in self.answers_gone
            and not before["trades"]
        )

    def _entry_left(self, home: str, payload: str) -> bytes:
        digest = leaf_hash(payload)
        if f'"home":"{home}"' in payload[:90] and digest not in self.durable:
            entry = Entry.decode(payload)
            raise Violation(f"I6: entry {entry.seq} of {home[:8]} left before it was durable")
        return digest

    def _once(self, way: tuple[str, int, int], hashes: list[tuple[bytes, str]]) -> None:
        passed_on = self._passed_on[way]
        before = len(passed_on)
        passed_on.update(hashes)
        if len(passed_on) != before + len(hashes):
            if self._wanted[way]:
                self._wanted[way] -= 1
                return
            raise Violation(f"I12: {way[0]} passed an entry on twice over one link")

    def blamed(self, who: str, whom: str, points: float, reason: str) -> None:
        """What no honest peer sends is not held against one, whoever made it up."""
        if points <= -10.0 and who not in self.evil and whom in self.honest - self.evil:
            raise Violation(f"3.5: {who[:8]} blames an honest neighbour for {reason!r}")

    # What replicas believe.

    def forgotten(self, peer: Peer, home: str) -> None:
        """``peer`` knows nothing of ``home`` any more, and may learn of it from anybody."""
        self._held.pop((peer.name, peer.life, home), None)
        for (name, life, _), passed_on in self._passed_on.items():
            if (name, life) == (peer.name, peer.life):
                for digest in [each for each, of in passed_on.items() if of == home]:
                    del passed_on[digest]

    def replicas(self, peers: list[Peer]) -> None:
        """I1, I9, I13, I14 and O8, of every node as it stands."""
        for peer in peers:
            node = peer.node
            if node is None:
                continue
            self._bounded(peer.name, node)
            if node.sync.intake.illegal_transitions:
                raise Violation(f"{peer.name}: an event that its state does not allow")
            for own in node.ledger.own.values():
                live = own.live
                if min(live.open, live.reserved, live.filled, live.closed) < 0:
                    raise Violation(f"I1: {live}")
            for origin in node.replica.origins.values():
                if origin.home in self.amnesia or origin.home in self.evil:
                    continue
                held = self._held[peer.name, peer.life, origin.home]
                for record in origin.records.values():
                    if record.live is not None:
                        self._same_steps(peer, origin.home, record.live.order.market)
                    if record.version < held.setdefault(record.order_id, record.version):
                        raise Violation(
                            f"I9: {peer.name} went back to version {record.version} of"
                            f" {record.order_id}, it held {held[record.order_id]}"
                        )
                    held[record.order_id] = record.version
                    if (record.order_id, record.version) not in self.published:
                        raise Violation(
                            f"I9: {peer.name} holds {record.order_id} version {record.version},"
                            " which its home never published"
                        )

    def _same_steps(self, peer: Peer, home: str, market: str) -> None:
        # Who has written nothing yet has no units that are remembered.
        own = self._units.get(peer.identity.key) or Units.of(peer.config, None)
        theirs, mine = self._units[home].of_market[market], own.of_market[market]
        if theirs != mine:
            raise Violation(f"O8: {peer.name} shows orders in steps {theirs}, its own are {mine}")

    def _bounded(self, name: str, node: ExchangeNode) -> None:
        """I13: what a peer keeps for others, and waits for, has its named limit."""
        fills = Counter(intent.fill.maker_home for intent in node.taker.intents.values())
        for what, size, limit in (
            (
                "fills in doubt at one home",
                max(fills.values(), default=0),
                takers.FILLS_PER_HOME_MAX,
            ),
            ("answers", len(node.maker._answers), node.maker.answers_max),
            ("own orders", len(node.ledger.own), node.config.live_orders_max),
            ("closed orders", len(node.ledger.closed), ledger.CLOSED_KEPT_MAX),
            ("origins", len(node.replica.origins), origin_table.ORIGINS_MAX),
            *(
                ("early entries", len(origin.waiting), replica.WAITING_MAX)
                for origin in node.replica.origins.values()
            ),
            *(
                ("orders of an origin", len(origin.records), remote_orders.LIVE_PER_ORIGIN_MAX)
                for origin in node.replica.origins.values()
            ),
            *(
                ("requests under way on a link", len(link.pending), peer_link.PENDING_MAX)
                for link in node.peering.links.values()
            ),
        ):
            if size > limit:
                raise Violation(f"I13: {name} keeps {size} {what}, the limit is {limit}")
        origins, kept = node.replica.origins, node.replica.sets
        for members, belongs in (
            (kept.visible, lambda origin: origin.visible),
            (kept.unsure, lambda origin: origin.state is OriginState.UNSURE),
            (kept.incomplete, lambda origin: origin.visible and not origin.complete),
            (kept.frozen, lambda origin: bool(origin.frozen)),
            (kept.waiting, lambda origin: bool(origin.waiting)),
        ):
            if members.keys() != {home for home, each in origins.items() if belongs(each)}:
                raise Violation(
                    f"I13: {name} keeps {kept}, and not as its {len(origins)} origins are"
                )

    def signatures(self, peers: list[Peer]) -> None:
        """I14: what replicas hold is signed by those it names."""
        for peer in peers:
            if peer.node is None:
                continue
            for origin in peer.node.replica.origins.values():
                rows = peer.stored(list(origin.records))
                if len(rows) < len(origin.records):
                    raise Violation(f"I14: {peer.name} holds orders whose entries it did not store")
                for row in rows:
                    for signed in signed_pair(row):
                        peer.node.verifier.check(signed, origin.home)

    # When all is quiet.

    def quiet(self, peers: list[Peer]) -> None:
        """
        L2, L3, L4, and that both sides of every trade know it.

        L6 holds for a peer that was synced at this look or at an earlier one since `rests`: some
        heartbeat of some home is on its way at nearly all times.
        """
        nodes = [(peer, peer.node) for peer in peers]
        self._synced.update(p.name for p, node in nodes if node is not None and node.sync.synced)
        digests: dict[bytes, list[str]] = defaultdict(list)
        for peer, node in nodes:
            if node is None:
                raise Violation(f"L: {peer.name} is down")
            digests[self._digest(node)].append(peer.name)
            if peer.name not in self._synced:
                incomplete = [
                    o.home for o in node.replica.origins.values() if o.visible and not o.complete
                ]
                raise Violation(
                    f"L6: {peer.name} is not synced: behind {node.sync.behind()},"
                    f" links {len(node.peering.by_key)}, incomplete {incomplete}"
                )
            hostage: Counter[str] = Counter()  # what evil homes owe an answer for
            for intent in node.taker.intents.values():
                if intent.fill.maker_home not in self.evil:
                    doubt = node.in_doubt()
                    raise Violation(f"L3: {peer.name} has {len(doubt)} fills in doubt: {doubt[0]}")
                hostage[intent.fill.order] += intent.open_lots
                self.sometimes["fill an evil maker never answers"] += 1
            for own in node.ledger.own.values():
                if own.live.reserved != hostage[own.live.order_id]:
                    raise Violation(f"L3: {peer.name} still reserves {own.live}")
            if node.peering.scores.bans.keys() - self.evil:
                raise Violation(f"3.5: {peer.name} banned an honest peer")
            if node.alarms():
                raise Violation(f"L: {peer.name} alarms {node.alarms()}")
        if len(digests) > 1:
            raise Violation(f"L2: live sets differ: {sorted(digests.values())}")
        for peer, node in nodes:
            assert node is not None
            for symbol, book in node.books.items():
                bid, ask = book.best_bid(), book.best_ask()
                if bid is not None and ask is not None and bid >= ask:
                    if not self._only_self_trades(node, symbol):
                        raise Violation(f"L4: {symbol} stays crossed at {peer.name}: {bid}/{ask}")
        for (home, trade_id), row in self.trades.items():
            if home in self.amnesia:
                continue
            for side in (row.maker_home, row.taker_home):
                if (side, trade_id) not in self.trades and side not in self.amnesia | self.evil:
                    raise Violation(f"I3: {trade_id} is unknown at {side[:8]}")
        for order_id, row in self.orders.items():
            if self.home_of[order_id] in self.amnesia:
                continue
            lots = sum(self.traded[order_id].values())
            if lots != row.filled:
                raise Violation(f"I2: {order_id} filled {row.filled}, its trades say {lots}")

    def rests(self) -> None:
        """From now on nothing happens but heartbeats, or there is more trade and it begins anew."""
        self._synced.clear()

    def doubts_end(self, peers: list[Peer]) -> None:
        """L3: in peace, no fill stays in doubt for long, however many there are."""
        for peer in peers:
            if peer.node is None:
                continue
            now = peer.network.clock.now
            for fill_id, intent in peer.node.taker.intents.items():
                since = self._in_doubt.setdefault((peer.name, fill_id), now)
                if now - since > DOUBT_S and intent.fill.maker_home not in self.evil:
                    raise Violation(f"L3: {peer.name} has fill {fill_id} in doubt since {since}")

    def _digest(self, node: ExchangeNode) -> bytes:
        """
        What is live, as ``node`` sees it.

        Evil homes left out: where their log breaks off, or two of them begin, is chance, and as
        they have no lease or are frozen, nobody trades with what is held of them.
        """
        if not self.evil:
            return node.live.set.fingerprint(0, len(node.live.set))
        live = {
            (order_id, own.live.version)
            for order_id, own in node.ledger.own.items()
            if own.order_entry is not None
        }
        for origin in node.replica.origins.values():
            if origin.home not in self.evil:
                live.update((r.order_id, r.version) for r in origin.records.values())
            elif origin.visible:
                raise Violation(f"L5: orders of an evil home outlive their lease: {origin.home}")
        return sha256(repr(sorted(live)).encode()).digest()

    def _only_self_trades(self, node: Any, symbol: str) -> bool:
        """Crossed orders of one account at one home stay: nobody trades with himself."""
        standing = node.books[symbol].orders()
        lives = [live for live in standing if live.open and live.home not in self.evil]
        for buy in (live for live in lives if live.side == "buy"):
            for sell in (live for live in lives if live.side == "sell"):
                if buy.price_ticks >= sell.price_ticks and (
                    buy.home != sell.home or buy.account != sell.account
                ):
                    return False
        return True


def _key(row: OrderRow) -> tuple[int, int, str]:
    return row.key_ms, row.key_counter, row.order_id
