"""
The matching engine alone, beside other engines on the same flow in one run.

    make bench-market            (or: python benchmarks/market/engine.py --write FILE)

The flow: 100,000 operations, one in five a cancel of an order that is open at that moment, the
others limit orders, buys normally distributed below and sells above a mid price so that about
half of them trade. Every engine gets the same flow, in a process of its own, several rounds
in turns; the best round counts, the slowest is shown beside it. The traded quantity of all
engines must agree, or the run fails.

Two rows for an engine that takes order objects: with the objects made before the clock starts
(how such engines are usually measured) and with everything inside. Every engine hands its
trades to the caller.
"""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

from benchmarks.figures import add_option, save

OPERATIONS = 100_000
CANCEL_SHARE = 0.2
MID = 10_000
SPREAD = 4
DEVIATION = 10
SEED = 1
ROUNDS = 5
OPEN_ORDERS = 100_000

# ("buy" | "sell", id, price, quantity) or ("cancel", id, 0, 0)
Operation = tuple[str, int, int, int]


def flow() -> list[Operation]:
    """The operations; cancels name orders that are open then, which LocalMarket tells."""
    rng = random.Random(SEED)
    market = _market()
    made: list[int] = []
    operations: list[Operation] = []
    while len(operations) < OPERATIONS:
        if market.live and rng.random() < CANCEL_SHARE:
            number = 0
            while f"{number:032x}" not in market.live:
                at = rng.randrange(len(made))
                made[at], made[-1] = made[-1], made[at]
                number = made.pop()
            market.cancel(f"{number:032x}")
            operations.append(("cancel", number, 0, 0))
            continue
        side = rng.choice(("buy", "sell"))
        centre = MID - SPREAD // 2 if side == "buy" else MID + SPREAD // 2
        price, quantity = round(rng.gauss(centre, DEVIATION)), rng.randint(1, 100)
        number = len(operations) + 1
        market.submit(_live(side, number, price, quantity))
        made.append(number)
        operations.append((side, number, price, quantity))
    return operations


def _market():
    from grenache_py.exchange.market.instrument import Market
    from grenache_py.exchange.market.local_market import LocalMarket

    return LocalMarket(Market.parse("BTC-USD:tick=0.01,lot=0.0001"))


def _live(side: str, number: int, price: int, quantity: int):
    from grenache_py.exchange.market.order import LiveOrder, Order

    return LiveOrder.of(
        Order(
            f"{number:032x}",
            "local",
            "BTC-USD",
            side,
            "limit",
            "gtc",
            price,
            None,
            quantity,
            False,
            None,
            1,
            number,
        )
    )


# Each engine: (prepare the operations, run them and return the traded quantity).
Run = Callable[[], int]


def ours(operations: list[Operation], prepared: bool) -> Run:
    market = _market()
    steps = [
        (f"{number:032x}", None)
        if side == "cancel"
        else (
            f"{number:032x}",
            _live(side, number, price, quantity) if prepared else (side, number, price, quantity),
        )
        for side, number, price, quantity in operations
    ]

    def run() -> int:
        submit, cancel = market.submit, market.cancel
        traded = 0
        for order_id, order in steps:
            if order is None:
                cancel(order_id)
            else:
                for fill in submit(order if prepared else _live(*order)).fills:
                    traded += fill.lots
        return traded

    return run


def orderly_chaos(operations: list[Operation], prepared: bool) -> Run:
    from orderly_chaos import LimitOrderBook, Side

    trades: list[object] = []
    book = LimitOrderBook(on_trade=trades.append)
    sides = {"buy": Side.BUY, "sell": Side.SELL, "cancel": None}
    steps = [(sides[side], *rest) for side, *rest in operations]

    def run() -> int:
        limit, cancel = book.limit, book.cancel
        for side, number, price, quantity in steps:
            if side is None:
                cancel(number)
            else:
                limit(side, number, quantity, price)
        return sum(trade.quantity for trade in trades)

    return run


def orderly_chaos_quiet(operations: list[Operation], prepared: bool) -> Run:
    from orderly_chaos import LimitOrderBook, Side

    book = LimitOrderBook()
    sides = {"buy": Side.BUY, "sell": Side.SELL, "cancel": None}
    steps = [(sides[side], *rest) for side, *rest in operations]

    def run() -> int:
        limit, cancel = book.limit, book.cancel
        traded = 0
        for side, number, price, quantity in steps:
            if side is None:
                cancel(number)
            else:
                traded += limit(side, number, quantity, price)
        return traded

    return run


def pyorderbook(operations: list[Operation], prepared: bool) -> Run:
    from pyorderbook import Book, ask, bid

    book = Book()
    make = {"buy": bid, "sell": ask}
    orders: dict[int, object] = {}
    if prepared:
        for side, number, price, quantity in operations:
            if side != "cancel":
                orders[number] = make[side]("BTC-USD", price, quantity)

    def run() -> int:
        match, cancel = book.match, book.cancel
        traded = 0
        for side, number, price, quantity in operations:
            if side == "cancel":
                cancel(orders[number])
            else:
                if prepared:
                    order = orders[number]
                else:
                    order = orders[number] = make[side]("BTC-USD", price, quantity)
                for trade in match(order).trades:
                    traded += trade.fill_quantity
        return traded

    return run


def lightmatchingengine(operations: list[Operation], prepared: bool) -> Run:
    from lightmatchingengine.lightmatchingengine import LightMatchingEngine, Side

    engine = LightMatchingEngine()
    sides = {"buy": Side.BUY, "sell": Side.SELL}

    def run() -> int:
        add, cancel = engine.add_order, engine.cancel_order
        ids: dict[int, int] = {}
        traded = 0
        for side, number, price, quantity in operations:
            if side == "cancel":
                cancel(ids[number], "BTC-USD")
            else:
                order, trades = add("BTC-USD", price, quantity, sides[side])
                ids[number] = order.order_id
                if trades:
                    traded += quantity - order.leaves_qty
        return traded

    return run


ENGINES = {
    "grenache-py, orders made before": ("grenache-py", ours, True),
    "grenache-py, all inside": ("grenache-py", ours, False),
    "orderly-chaos (C++), trades called back": ("orderly-chaos", orderly_chaos, False),
    "orderly-chaos (C++), no trades reported": ("orderly-chaos", orderly_chaos_quiet, False),
    "pyorderbook, orders made before": ("pyorderbook", pyorderbook, True),
    "pyorderbook, all inside": ("pyorderbook", pyorderbook, False),
    "lightmatchingengine": ("lightmatchingengine", lightmatchingengine, False),
}


def measure(name: str, operations: list[Operation]) -> dict[str, float]:
    """One round of one engine, in this process."""
    _, prepare, prepared = ENGINES[name]
    run = prepare(operations, prepared)
    gc.collect()
    begin = time.perf_counter()
    traded = run()
    return {"rate": len(operations) / (time.perf_counter() - begin), "traded": traded}


def memory() -> dict[str, float]:
    """What 100,000 open orders take, spread over prices as above."""
    rng = random.Random(SEED)
    market = _market()
    tracemalloc.start()
    for number in range(1, OPEN_ORDERS + 1):
        side = rng.choice(("buy", "sell"))
        away = SPREAD + abs(round(rng.gauss(0, DEVIATION * 100)))
        price = MID * 100 - away if side == "buy" else MID * 100 + away
        market.submit(_live(side, number, price, rng.randint(1, 100)))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    levels = len(market.book.bids.levels) + len(market.book.asks.levels)
    return {"bytes": size, "levels": levels}


def _child(arguments: list[str], given: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, __file__, *arguments],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return json.loads(done.stdout)


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--write", type=Path, help="write the table to this file, too")
    add_option(parser)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--round-of", help=argparse.SUPPRESS)
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.round_of:
        print(json.dumps(measure(arguments.round_of, [tuple(o) for o in json.load(sys.stdin)])))
        return
    if arguments.memory:
        print(json.dumps(memory()))
        return

    operations = flow()
    given = json.dumps(operations)
    rates: dict[str, list[float]] = {}
    traded: dict[str, float] = {}
    missing: list[str] = []
    for _ in range(arguments.rounds):
        for name, (package, _prepare, _prepared) in ENGINES.items():
            if name in missing:
                continue
            try:
                importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                missing.append(name)
                continue
            result = _child(["--round-of", name], given)
            rates.setdefault(name, []).append(result["rate"])
            traded[name] = result["traded"]
    if len(set(traded.values())) != 1:
        raise SystemExit(f"the engines traded different quantities: {traded}")
    text = table(rates, missing, operations, _child(["--memory"], ""))
    print(text)
    if arguments.write:
        arguments.write.write_text(text)
    own = statistics.median(rates["grenache-py, orders made before"])
    best_other = (
        max(
            statistics.median(values) for name, values in rates.items() if "grenache-py" not in name
        )
        if len(rates) > 2
        else own
    )
    save(
        arguments.json,
        {
            "engine_per_s": own,
            "engine_all_inside_per_s": statistics.median(rates["grenache-py, all inside"]),
            "engine_ratio": own / best_other,
        },
    )


def table(
    rates: dict[str, list[float]],
    missing: list[str],
    operations: list[Operation],
    memory_taken: dict[str, float],
) -> str:
    """The results as reStructuredText."""
    base = max(rates["grenache-py, orders made before"])
    versions = {package for package, _, _ in ENGINES.values()}
    known = sorted(
        f"{package} {importlib.metadata.version(package)}"
        for package in versions
        if not any(ENGINES[name][0] == package for name in missing)
    )
    cancels = sum(side == "cancel" for side, *_ in operations)
    lines = [
        "Matching engine",
        "===============",
        "",
        f"Written by ``benchmarks/market/engine.py`` on {time.strftime('%Y-%m-%d')}.",
        "",
        f"Machine: {_cpu()}, {os.cpu_count()} cores, {platform.system()} {platform.release()},",
        f"{platform.python_implementation()} {platform.python_version()}; {', '.join(known)}.",
        "",
        f"Flow: {len(operations):,} operations, {cancels:,} of them cancels; seed {SEED};",
        f"{len(next(iter(rates.values())))} rounds in turns, a process each.",
        "",
        ".. list-table::",
        "   :header-rows: 1",
        "",
        "   * - engine",
        "     - operations/s (best)",
        "     - median",
        "     - worst",
        "     - to ours",
    ]
    for name, values in rates.items():
        lines += [
            f"   * - {name}",
            f"     - {max(values):,.0f}",
            f"     - {statistics.median(values):,.0f}",
            f"     - {min(values):,.0f}",
            f"     - {max(values) / base:.2f}",
        ]
    if missing:
        lines += ["", f"Not installed: {', '.join(missing)}."]
    lines += [
        "",
        f"Memory: {OPEN_ORDERS:,} open orders on {memory_taken['levels']:,.0f} price levels take",
        f"{memory_taken['bytes'] / 1e6:.0f} MB, {memory_taken['bytes'] / OPEN_ORDERS:.0f} bytes an"
        " order (the order as signed, its",
        "live state, its id and its place in the book), by ``tracemalloc``.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
