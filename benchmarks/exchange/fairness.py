"""
How fair is view-fair? Real nodes on a virtual clock, beside an observer who sees all homes at once.

    python -m benchmarks.exchange.fairness [--seed N] [--seconds 20]

Peers place crossing limit orders at random, so many a second in the whole network. At the moment
of each, the observer looks into every home's own record and notes whom strict price-time order
over all homes would have matched; what the order really traded is compared with that.

*there*: of the quantity a taker's home asked another home for, at the price it saw, how much was
still there. *right price*: of the quantity that could trade at once, how much traded at the prices
the observer's match would have had. *right order*: and with the very orders it would have chosen;
what lies between the two is time priority lost between homes. *late*: what did not trade within
``LATE_S`` although it could have.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter, defaultdict

import attrs

from benchmarks.exchange.joining import NoDisk
from grenache_py.exchange.effects.rows import Row, TradeRow
from grenache_py.exchange.market.order import NewOrder
from grenache_py.exchange.node import NodeConfig
from grenache_py.exchange.peers.peering import PeeringConfig
from tests.sim.exchange.network import Network, Peer, identity
from tests.sim.exchange.world import MARKETS
from tests.support.virtual_clock import Scheduler

PEERS = 5
#: Median seconds from peer to peer, and orders a second in the whole network.
DELAYS_S = (0.001, 0.040)
RATES = (2, 20, 200)
COMMIT_S = 0.003
LATE_S = 2.0
BTC = MARKETS[0].symbol

Lots = Counter[tuple[int, str]]  # lots by (price in ticks, maker's order)


@attrs.define
class Fairness:
    """Shares, 0 to 1, of quantity."""

    delay_s: float
    rate: int
    orders: int
    there: float
    right_price: float
    right_order: float
    late: float


class Market:
    """Some linked peers, what they trade, and what the observer would have them trade."""

    def __init__(self, delay_s: float, seed: int) -> None:
        self.rng = random.Random(seed)
        self.clock = Scheduler()
        self.network = Network(self.clock, random.Random(seed))
        self.network.faults.split = False
        delays = random.Random(seed)
        self.network.latency = lambda source, target: delays.uniform(0.5, 1.5) * delay_s
        self.network.tap = self._sent
        self.asked = self.got = 0
        self.wanted: dict[str, Lots] = {}
        self.traded: dict[str, Lots] = defaultdict(Counter)
        self.placed_at: dict[str, float] = {}
        self._seen: set[str] = set()
        addresses = [f"p{n}:7071" for n in range(PEERS)]
        self.peers = [self._peer(n, addresses) for n in range(PEERS)]
        for peer in self.peers:
            peer.start()
        self.clock.run_until(15.0)

    def _peer(self, number: int, addresses: list[str]) -> Peer:
        mine = addresses[number]
        others = tuple(address for address in addresses if address != mine)
        config = NodeConfig(PeeringConfig("sim", listen=mine, connect=others), MARKETS[:1])
        rng = self.rng
        disk = NoDisk(lambda: COMMIT_S)
        peer = Peer(
            f"p{number}",
            self.network,
            config,
            identity(rng, False),
            disk,
            random.Random(rng.getrandbits(64)),
        )
        peer.on_commit = self._committed
        return peer

    def _sent(self, source: Peer, target: Peer, line: bytes) -> None:
        if b'"fill.request"' in line:
            fill = json.loads(json.loads(line)["params"]["fill"]["payload"])
            self.asked += sum(MARKETS[0].quantity_lots(quantity) for _, quantity, _ in fill["legs"])

    def _committed(self, peer: Peer, rows: list[Row]) -> None:
        home = peer.identity.key
        for row in rows:
            if type(row) is not TradeRow or row.maker_home != home or row.trade_id in self._seen:
                continue
            self._seen.add(row.trade_id)
            if row.taker_home != home:
                self.got += row.quantity_lots
            if self.clock.now <= self.placed_at.get(row.taker_order, 0.0) + LATE_S:
                self.traded[row.taker_order][row.price_ticks, row.maker_order] += row.quantity_lots

    def _strict(self, order: NewOrder) -> Lots:
        """Whom price-time order over all homes matches with ``order`` now."""
        sign = 1 if order.side == "buy" else -1
        assert order.price_ticks is not None
        makers = [
            (sign * live.price_ticks, live.key, live)
            for peer in self.peers
            if peer.node is not None
            for live in peer.node.books[BTC].orders()
            if live.home == peer.identity.key
            and live.side != order.side
            and sign * live.price_ticks <= sign * order.price_ticks
        ]
        makers.sort(key=lambda maker: maker[:2])
        wanted: Lots = Counter()
        left = order.quantity_lots
        for _, _, live in makers:
            lots = min(left, live.open)
            if lots:
                wanted[live.price_ticks, live.order_id] = lots
                left -= lots
        return wanted

    def place(self) -> None:
        """One order, somewhere."""
        rng = self.rng
        side = rng.choice(("buy", "sell"))
        price = 1000 + rng.randrange(-6, 7)
        order = NewOrder(BTC, side, rng.randrange(1, 20), price)  # type: ignore[arg-type]
        wanted = self._strict(order)
        live = rng.choice(self.peers).do(lambda node, now: node.place(order, now))
        self.placed_at[live.order_id] = self.clock.now
        self.wanted[live.order_id] = wanted


def by_price(lots: Lots) -> Counter[int]:
    """Lots at each price."""
    total: Counter[int] = Counter()
    for (price, _), count in lots.items():
        total[price] += count
    return total


def measure(delay_s: float, rate: int, seconds: float, seed: int) -> Fairness:
    """Trade for a while, then compare."""
    market = Market(delay_s, seed)
    clock = market.clock
    end = clock.now + seconds
    while clock.now < end:
        market.place()
        clock.run_until(clock.now + market.rng.expovariate(rate))
    clock.run_until(clock.now + 10.0)
    wanted = priced = chosen = traded = 0
    for order_id, lots in market.wanted.items():
        really = market.traded[order_id]
        total = lots.total()
        wanted += total
        traded += min(total, really.total())
        chosen += (lots & really).total()
        priced += (by_price(lots) & by_price(really)).total()
    return Fairness(
        delay_s,
        rate,
        len(market.wanted),
        market.got / market.asked,
        priced / wanted,
        chosen / wanted,
        1 - traded / wanted,
    )


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[1])
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--seconds", type=float, default=20.0)
    chosen = options.parse_args()
    print(f"{PEERS} homes, commits of {COMMIT_S * 1000:.0f} ms, seed {chosen.seed}")
    print("  delay  orders/s   orders   there  right price  right order   late")
    for delay_s in DELAYS_S:
        for rate in RATES:
            f = measure(delay_s, rate, max(chosen.seconds, 200 / rate), chosen.seed)
            print(
                f"{delay_s * 1000:>4.0f} ms {rate:>9} {f.orders:>8} {f.there:>7.1%}"
                f" {f.right_price:>12.1%} {f.right_order:>12.1%} {f.late:>6.1%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
