"""
Markets and orders as they are named on the command line, and how the shell completes them.

Edge: asks the daemon, reads and writes a file of the user's cache.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import Any

import click
import msgspec
from click.shell_completion import CompletionItem
from click.types import StringParamType

from grenache_py.errors import GrenacheError
from grenache_py.exchange.cli.tool import Tool
from grenache_py.exchange.client_port.as_typed import market_name

__all__ = ["MARKET", "ORDER"]

#: How long completion waits for the daemon, in seconds.
ANSWER_S = 0.5
#: How long the cached list of markets is used, in seconds.
MARKETS_FRESH_S = 60.0
#: Open orders that are shown.
ORDERS_MAX = 100


class _Market(StringParamType):
    """A market as people type it: ``btc/usd`` is ``BTC-USD``."""

    name = "market"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return market_name(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        begun = self.convert(incomplete, param, ctx)
        return [CompletionItem(name) for name in _markets(ctx) if name.startswith(begun)]


class _Order(StringParamType):
    """An order's id, or the client's own."""

    name = "id"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        answer = _asked(ctx, "order.list", status="open", limit=ORDERS_MAX)
        return [
            CompletionItem(order["order_id"], help=f"{order['side']} {order['quantity']}")
            for order in (answer or {}).get("orders", ())
            if order["order_id"].startswith(incomplete)
        ]


MARKET = _Market()
ORDER = _Order()


def _markets(ctx: click.Context) -> list[str]:
    """The daemon's markets, from the cache while they are fresh."""
    import hashlib
    from pathlib import Path

    folder = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    daemon = hashlib.sha256(ctx.ensure_object(Tool).daemon.encode()).hexdigest()[:16]
    cache = Path(folder, "grenache-py", f"markets-{daemon}.json")
    with suppress(OSError, msgspec.DecodeError):
        if 0 <= time.time() - cache.stat().st_mtime < MARKETS_FRESH_S:
            return msgspec.json.decode(cache.read_bytes(), type=list[str])
    answer = _asked(ctx, "markets.list")
    if answer is None:
        return []
    names = [market["market"] for market in answer["markets"]]
    with suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_bytes(msgspec.json.encode(names))
    return names


def _asked(ctx: click.Context, method: str, **params: Any) -> Any:
    """The answer of a daemon; None when there is none in time."""
    tool = ctx.ensure_object(Tool)
    tool.timeout_s = ANSWER_S
    try:
        return tool.call(method, **params)
    except (GrenacheError, click.ClickException):
        return None
