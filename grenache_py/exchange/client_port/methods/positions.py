"""
What an account's executions add up to, by market.

Pure. See ``registry.py`` for what a method may return.
"""

from __future__ import annotations

from typing import Any

from grenache_py.exchange.client_port.gateway import Gateway, Principal
from grenache_py.exchange.client_port.methods import params as p
from grenache_py.exchange.client_port.methods.registry import METHODS


@METHODS.method("positions.list", p.OwnAccount)
async def positions_list(
    gateway: Gateway, client: Principal, params: p.OwnAccount, now: float
) -> dict[str, Any]:
    """Show what an account bought less what it sold, by market, and since when that is counted."""
    account = client.account(params.account)
    found = await gateway.history.traded(account)
    lots: dict[str, dict[str, int]] = {}
    for each in found:
        lots.setdefault(each.market, {})[each.side] = each.lots
    return {
        "account": account,
        "positions": [_position(gateway, market, sides) for market, sides in lots.items()],
        "executions": sum(each.executions for each in found),
        "since": min((each.first_ms for each in found), default=None),
        "complete": min((each.first_seq for each in found), default=1) == 1,
        "seq": max((each.last_seq for each in found), default=0),
    }


def _position(gateway: Gateway, symbol: str, lots: dict[str, int]) -> dict[str, str]:
    quantity = gateway.known_market(symbol).format_quantity
    bought, sold = lots.get("buy", 0), lots.get("sell", 0)
    net = quantity(abs(bought - sold))
    return {
        "market": symbol,
        "position": f"-{net}" if bought < sold else net,
        "bought": quantity(bought),
        "sold": quantity(sold),
    }
