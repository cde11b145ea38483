"""
A stranger makes up homes: who is pushed out of the table of homes, and who comes in.

One peer's real table, on a virtual clock. Homes of yesterday live, each with an order; every minute
an honest newcomer comes; and over all links together a stranger's keys, each with an order or
without. What an entry does elsewhere is done here by hand.

    python -m tests.sim.exchange.flood [--keys 50000]
"""

from __future__ import annotations

import argparse
import random

import attrs

from grenache_py.exchange.replication.origin import Origin
from grenache_py.exchange.replication.origin_table import OriginTable
from grenache_py.exchange.replication.remote_orders import RemoteOrders
from grenache_py.exchange.replication.remote_rows import RemoteRows
from grenache_py.exchange.signed_log.hybrid_clock import HybridClock
from tests.sim.exchange.many_homes import OneOrder

__all__ = ["Seen", "flooded"]

START_MS = 1_700_000_000_000
#: Stranger's keys that come in a second, over all links, and networks that neighbours are of.
KEYS_PER_S, NETWORKS = 20, 8
#: Each home shows that it lives so often; who was pushed out is learned again by that.
BEAT_S = 10
#: A newcomer is to be held for this part of its time.
NEWCOMER_S = 60


@attrs.define
class Seen:
    """
    What became of the honest.

    Attributes:
        old_lost: homes of yesterday that were pushed out at any time.
        newcomers, late: how many came, and were not held within a minute.
        present: the part of their looks, one each ten seconds, in which newcomers were held.
        most: homes held at most.
    """

    old_lost: int = 0
    newcomers: int = 0
    late: int = 0
    present: float = 1.0
    most: int = 0


def flooded(keys: int, orders: bool, relayed: bool, old: int = 100, seed: int = 1) -> Seen:
    """
    A flood of so many keys.

    Args:
        orders: each of them has one.
        relayed: they come over honest neighbours, too; else over links of the stranger's only.
        old: homes of yesterday.
    """
    rng = random.Random(seed)
    clock = HybridClock()
    table = OriginTable(
        RemoteOrders({}, {}, RemoteRows({}), clock, lambda *order: None, lambda *change: None)
    )
    seen = Seen()
    lost: set[str] = set()
    table.on_forgotten.append(lost.add)

    def tell(home: str, order: bool, teller: str) -> None:
        origin = table.origins.get(home) or Origin(home)
        if table.put(origin, now_ms, teller):
            origin.time = now_ms, 0
            if order:
                origin.records = OneOrder()  # type: ignore[assignment]
            origin.visible = True

    now_ms = START_MS - 86_400_000
    honest = [f"h{number}" for number in range(old)]
    for home in honest:
        tell(home, True, f"n{rng.randrange(1, NETWORKS)}")
    table.tick(START_MS - 80_000_000, START_MS - 80_000_000)
    for home in honest:
        table.origins[home].visible = True
    newcomers: dict[str, int] = {}
    first: dict[str, int] = {}
    looks = held = second = 0
    while keys > 0 or second < 2 * NEWCOMER_S:
        second += 1
        now_ms = START_MS + 1_000 * second
        for _ in range(min(keys, KEYS_PER_S)):
            keys -= 1
            tell(f"x{keys}", orders, f"n{rng.randrange(NETWORKS)}" if relayed else "n0")
        if second % NEWCOMER_S == 1:
            newcomers[f"y{second}"] = second
        for number, home in enumerate((*honest, *newcomers)):
            if (number + second) % BEAT_S == 0:
                tell(home, True, f"n{number % (NETWORKS - 1) + 1}")
        for home in newcomers:
            if home in table.origins:
                first.setdefault(home, second)
            looks += 1
            held += home in table.origins
        clock.read_ms(now_ms / 1000)
        table.tick(now_ms, now_ms)
        seen.most = max(seen.most, len(table.origins))
    seen.old_lost = len(lost.intersection(honest))
    whole = {home: at for home, at in newcomers.items() if at + NEWCOMER_S <= second}
    seen.newcomers = len(whole)
    seen.late = sum(first.get(home, 10**9) > at + NEWCOMER_S for home, at in whole.items())
    seen.present = held / looks
    return seen


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[1])
    options.add_argument("--keys", type=int, default=50_000)
    chosen = options.parse_args()
    for orders in (False, True):
        for relayed in (False, True):
            print(f"{orders=} {relayed=}: {flooded(chosen.keys, orders, relayed)}", flush=True)


if __name__ == "__main__":
    main()
