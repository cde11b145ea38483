"""
The matching engine alone, beside other engines on the same flow in one run.

    make bench-market            (or: python benchmarks/market/engine.py --write FILE)

The flow: 100,000 operations, one in five a cancel of an order that is open at that moment, the
others limit orders, buys normally distributed below and sells above a mid price so that about
half of them trade. It meets an empty book, and then one in which 1,000,000 orders stand, most of
them away from the mid; the cancels draw from all of them. Every engine gets the same flow, in a
process of its own, several rounds in turns. The clock is the process's own, of processor time,
so that other work on the machine counts little. The traded quantity of all engines must agree, or
the run fails.

Two rows for an engine that takes order objects: with the objects made before the clock starts
(how such engines are usually measured) and with everything inside. Every engine hands its
trades to the caller, but for the row that says so.
"""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import json
import operator
import os
import platform
import random
import statistics
import subprocess
import sys
import sysconfig
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

from benchmarks.figures import add_option, save
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.market.local_market import LocalMarket
from grenache_py.exchange.market.order import LiveOrder, Order

OPERATIONS = 100_000
CANCEL_SHARE = 0.2
MID = 10_000
SPREAD = 4
DEVIATION = 10
SEED = 1
ROUNDS = 5
OPEN_ORDERS = 100_000
RESTING = 1_000_000

# ("buy" | "sell", id, price, quantity) or ("cancel", id, 0, 0)
Operation = tuple[str, int, int, int]


def resting(count: int) -> list[Operation]:
    """Orders that do not trade with each other, spread over prices about the mid."""
    rng = random.Random(SEED)
    operations: list[Operation] = []
    for number in range(1, count + 1):
        side = rng.choice(("buy", "sell"))
        away = SPREAD + abs(round(rng.gauss(0, DEVIATION * 100)))
        price = MID - away if side == "buy" else MID + away
        operations.append((side, number, price, rng.randint(1, 100)))
    return operations


def flow(standing: list[Operation]) -> list[Operation]:
    """The operations; cancels name orders that are open then, which LocalMarket tells."""
    rng = random.Random(SEED)
    market = _market()
    made: list[int] = []
    for side, number, price, quantity in standing:
        market.submit(_live(side, number, price, quantity))
        made.append(number)
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
        number = len(standing) + len(operations) + 1
        market.submit(_live(side, number, price, quantity))
        made.append(number)
        operations.append((side, number, price, quantity))
    return operations


def _market():
    return LocalMarket(Market.parse("BTC-USD:tick=0.01,lot=0.0001"))


def _live(side: str, number: int, price: int, quantity: int):
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


# Each engine has one book; it prepares operations for it, and then runs them and returns the
# quantity traded.
Run = Callable[[], int]
Engine = Callable[[list[Operation]], Run]


def ours(prepared: bool) -> Engine:
    market = _market()

    def prepare(operations: list[Operation]) -> Run:
        steps = [
            (f"{order[1]:032x}", None)
            if order[0] == "cancel"
            else ("", _live(*order) if prepared else order)
            for order in operations
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

    return prepare


def orderly_chaos(prepared: bool) -> Engine:
    from orderly_chaos import LimitOrderBook, Side

    trades: list[object] = []
    book = LimitOrderBook(on_trade=trades.append)
    sides = {"buy": Side.BUY, "sell": Side.SELL, "cancel": None}

    def prepare(operations: list[Operation]) -> Run:
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

    return prepare


def orderly_chaos_quiet(prepared: bool) -> Engine:
    from orderly_chaos import LimitOrderBook, Side

    book = LimitOrderBook()
    sides = {"buy": Side.BUY, "sell": Side.SELL, "cancel": None}

    def prepare(operations: list[Operation]) -> Run:
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

    return prepare


def pyorderbook(prepared: bool) -> Engine:
    from pyorderbook import Book, ask, bid

    book = Book()
    make = {"buy": bid, "sell": ask}

    def prepare(operations: list[Operation]) -> Run:
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

    return prepare


def lightmatchingengine(prepared: bool) -> Engine:
    from lightmatchingengine.lightmatchingengine import LightMatchingEngine, Side

    engine = LightMatchingEngine()
    sides = {"buy": Side.BUY, "sell": Side.SELL}

    def prepare(operations: list[Operation]) -> Run:
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

    return prepare


ENGINES = {
    "grenache-py, orders made before": ("grenache-py", ours, True),
    "grenache-py, all inside": ("grenache-py", ours, False),
    "orderly-chaos (C++), trades called back": ("orderly-chaos", orderly_chaos, False),
    "orderly-chaos (C++), no trades reported": ("orderly-chaos", orderly_chaos_quiet, False),
    "pyorderbook, orders made before": ("pyorderbook", pyorderbook, True),
    "pyorderbook, all inside": ("pyorderbook", pyorderbook, False),
    "lightmatchingengine": ("lightmatchingengine", lightmatchingengine, False),
}
OURS = "grenache-py, orders made before"
#: The engines that a book of RESTING orders is made for; the others take minutes to make one.
WITH_RESTING = [name for name in ENGINES if name.startswith(("grenache-py", "orderly-chaos"))]


def measure(name: str, count: int, operations: list[Operation]) -> dict[str, float]:
    """One round of one engine, in this process, in a book where ``count`` orders stand."""
    _, engine, prepared = ENGINES[name]
    prepare = engine(prepared)
    prepare(resting(count))()
    run = prepare(operations)
    gc.collect()
    begin = time.process_time()
    traded = run()
    return {"rate": len(operations) / (time.process_time() - begin), "traded": traded}


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
        timeout=300,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return json.loads(done.stdout)


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def turns(names: list[str], count: int, rounds: int) -> dict[str, list[float]]:
    """Rates of each engine, each round in a process of its own."""
    operations = flow(resting(count))
    given = json.dumps(operations)
    rates: dict[str, list[float]] = {}
    traded: dict[str, float] = {}
    for _ in range(rounds):
        for name in names:
            result = _child(["--round-of", name, "--resting", str(count)], given)
            rates.setdefault(name, []).append(result["rate"])
            traded[name] = result["traded"]
    if len(set(traded.values())) != 1:
        raise SystemExit(f"the engines traded different quantities: {traded}")
    return rates


def ratio(rates: dict[str, list[float]]) -> float:
    """Ours to the fastest of the others: the median of the ratios within a round."""
    others = [values for name, values in rates.items() if "grenache-py" not in name]
    if not others:
        return 1.0
    fastest = max(others, key=statistics.median)
    return statistics.median(map(operator.truediv, rates[OURS], fastest))


def installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--write", type=Path, help="write the table to this file, too")
    add_option(parser)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--round-of", help=argparse.SUPPRESS)
    parser.add_argument("--resting", type=int, default=RESTING, help="orders of the large book")
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.round_of:
        operations = [tuple(o) for o in json.load(sys.stdin)]
        print(json.dumps(measure(arguments.round_of, arguments.resting, operations)))
        return
    if arguments.memory:
        print(json.dumps(memory()))
        return

    names = [name for name, (package, *_) in ENGINES.items() if installed(package)]
    rates = turns(names, 0, arguments.rounds)
    large = turns(
        [name for name in names if name in WITH_RESTING], arguments.resting, arguments.rounds
    )
    text = page(rates, large, arguments.resting, _child(["--memory"], ""))
    print(text)
    if arguments.write:
        arguments.write.write_text(text)
    save(
        arguments.json,
        {
            "engine_per_s": statistics.median(rates[OURS]),
            "engine_all_inside_per_s": statistics.median(rates["grenache-py, all inside"]),
            "engine_ratio": ratio(rates),
            "engine_large_book_ratio": ratio(large),
        },
    )


def table(rates: dict[str, list[float]]) -> list[str]:
    """The rates as a table, and ours beside them."""
    lines = [
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
            f"     - {statistics.median(map(operator.truediv, values, rates[OURS])):.2f}",
        ]
    return [*lines, ""]


def page(
    rates: dict[str, list[float]],
    large: dict[str, list[float]],
    count: int,
    memory_taken: dict[str, float],
) -> str:
    """The results as reStructuredText."""
    packages = {
        package: package in {ENGINES[name][0] for name in rates} for package, *_ in ENGINES.values()
    }
    known = [
        f"{each} {importlib.metadata.version(each)}" for each in sorted(packages) if packages[each]
    ]
    missing = [each for each in sorted(packages) if not packages[each]]
    return "\n".join(
        [
            "Matching engine",
            "===============",
            "",
            f"Written by ``benchmarks/market/engine.py`` on {time.strftime('%Y-%m-%d')}.",
            "",
            f"Machine: {_cpu()}, {os.cpu_count()} cores, {platform.system()} {platform.release()},",
            f"{platform.python_implementation()} {platform.python_version()}"
            f" ({'optimised' if optimised() else 'a plain build'}); {', '.join(known)}.",
            *([f"Not installed: {', '.join(missing)}."] if missing else []),
            "",
            f"Flow: {OPERATIONS:,} operations, one in five a cancel; seed {SEED};",
            f"{len(rates[OURS])} rounds in turns, a process each; processor time.",
            "The last column is the median of the ratios within a round.",
            "",
            "A book that is empty at first:",
            *table(rates),
            f"A book in which {count:,} orders stand at first:",
            *table(large),
            f"Memory: {OPEN_ORDERS:,} open orders on {memory_taken['levels']:,.0f} price levels"
            f" take {memory_taken['bytes'] / 1e6:.0f} MB,",
            f"{memory_taken['bytes'] / OPEN_ORDERS:.0f} bytes an order (the order as signed, its"
            " live state, its id and its place",
            "in the book), by ``tracemalloc``.",
            "",
        ]
    )


def optimised() -> bool:
    """Whether this Python was built with a profile; it speeds calls into C the most."""
    return "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")


if __name__ == "__main__":
    main()
