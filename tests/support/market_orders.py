"""Random orders and commands, and orders made by hand, for the tests of the market."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.market.local_market import Execution, LocalMarket
from grenache_py.exchange.market.order import LiveOrder, NewOrder, Order

MARKET = Market.parse("BTC-USD:tick=0.01,lot=0.0001,protection=3%")


def new_order(side: str = "buy", lots: int = 10, price: int | None = 100, **other: Any) -> NewOrder:
    """An order for ``LocalMarket.place``."""
    return NewOrder("BTC-USD", side, lots, price, **other)  # type: ignore[arg-type]


def live_order(
    number: int,
    side: str = "buy",
    lots: int = 10,
    price: int | None = 100,
    *,
    home: str = "local",
    account: str = "",
    time_ms: int | None = None,
    **other: Any,
) -> LiveOrder:
    """An order with an identity; ``number`` is its id and, unless given, its time."""
    order = Order(
        f"{number:032x}",
        home,
        "BTC-USD",
        side,  # type: ignore[arg-type]
        other.get("type", "limit" if price else "market"),
        other.get("time_in_force", "gtc"),
        price,
        None,
        lots,
        other.get("post_only", False),
        None,
        number if time_ms is None else time_ms,
        0,
    )
    live = LiveOrder.of(order, account)
    live.self_trade = other.get("self_trade", "newest")
    return live


def random_order(rng: random.Random, now: int) -> NewOrder:
    """A valid order of any type, near 100 ticks so that many meet."""
    kind = rng.choice(["limit"] * 8 + ["market", "stop", "stop_limit"])
    tif = rng.choice(["gtc"] * 5 + ["ioc", "fok", "gtd"])
    if kind == "market" and tif == "gtd":
        tif = "gtc"
    return NewOrder(
        "BTC-USD",
        rng.choice(["buy", "sell"]),  # type: ignore[arg-type]
        rng.randint(1, 12),
        rng.randint(94, 106) if kind in {"limit", "stop_limit"} else None,
        kind,  # type: ignore[arg-type]
        tif,  # type: ignore[arg-type]
        rng.randint(94, 106) if kind in {"stop", "stop_limit"} else None,
        kind == "limit" and tif in {"gtc", "gtd"} and rng.random() < 0.1,
        now + rng.randint(1, 8) if tif == "gtd" else None,
        rng.choice(["", "", "", "ann", "bob"]),
        "",
        rng.choice(["newest", "oldest", "both"]),  # type: ignore[arg-type]
    )


# A command does the same to a LocalMarket and to a NaiveMarket; the first's answer is returned.
Command = Callable[[Any], Any]


def random_command(rng: random.Random, now: int, placed: int) -> tuple[str, Command]:
    """One command for a market that has given out ``placed`` ids, and what it says."""
    choice = rng.random()
    order_id = f"{rng.randint(max(1, placed - 12), placed + 1):032x}"
    if choice < 0.68:
        new = random_order(rng, now)
        return f"place {new}", lambda market: market.place(new, now)
    if choice < 0.80:
        return f"cancel {order_id}", lambda market: market.cancel(order_id)
    if choice < 0.96:
        lots = rng.choice([None, rng.randint(1, 14)])
        price = rng.choice([None, rng.randint(94, 106)])
        return (
            f"replace {order_id} {lots} @ {price}",
            lambda market: market.replace(order_id, now, lots, price),
        )
    return f"expire {now}", lambda market: market.expire(now)


def fills_of(execution: Execution) -> list[tuple[str, str, int, int]]:
    """(maker, taker, price, lots) of everything that was traded, in turn."""
    return [
        (fill.maker.order_id, taker.order_id, fill.maker.price_ticks, fill.lots)
        for taker, outcome in execution.outcomes
        for fill in outcome.fills
    ]


def assert_sound(market: LocalMarket, everything: dict[str, LiveOrder]) -> None:
    """What holds after every command, whatever it was."""
    for live in everything.values():
        assert min(live.open, live.reserved, live.filled, live.closed) >= 0, live
        assert live.quantity == live.open + live.reserved + live.filled + live.closed
        assert live.standing == (live.open if live.triggered else 0), live
        assert (live.order_id in market.live) == (live.open > 0)
    book = market.book
    bid, ask = book.best_bid(), book.best_ask()
    assert bid is None or ask is None or bid < ask, "crossed at rest"
    for side in ("buy", "sell"):
        standing = [live for live in everything.values() if live.side == side and live.standing]
        for level in book.levels(side):  # type: ignore[arg-type]
            at = [live.open for live in standing if live.price_ticks == level.price_ticks]
            assert (level.lots, level.orders) == (sum(at), len(at))
        assert len({live.price_ticks for live in standing}) == len(book.ladder(side).levels)  # type: ignore[arg-type]
