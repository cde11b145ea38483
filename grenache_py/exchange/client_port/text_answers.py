"""
What a client is sent, as text for people: tables and lines instead of JSON.

Pure. It is made of the JSON lines themselves, so it shows what they say and cannot know more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import Any

import msgspec

from grenache_py.plain_text import harmless

__all__ = ["as_text"]

_decode = msgspec.json.Decoder().decode
_NUMBER = re.compile(r"[0-9]{1,20}(\.[0-9]+)?|-")
_TIMES = frozenset({"time", "updated", "last_time", "expires"})
#: The end of the year 9999, in milliseconds since 1970: no time that is shown comes later.
_TIME_MS_MAX = 253_402_300_799_999
_ORDER = (
    *("time", "order_id", "side", "quantity", "market", "type", "price", "stop_price", "filled"),
    *("average_price", "remaining", "in_doubt", "status", "client_order_id", "account"),
)


def as_text(lines: bytes) -> bytes:
    """The same as ``lines``, each a JSON message or a batch of them, for people."""
    texts: list[str] = []
    for line in lines.splitlines():
        message = _decode(line)
        for each in message if isinstance(message, list) else [message]:
            texts += _message(each)
    return "".join(f"{text}\n" for text in texts).encode()


def _message(message: dict[str, Any]) -> Iterable[str]:
    if "error" in message:
        error = message["error"]
        return [f"error {error['code']}: {harmless(error['message'])}"]
    if "method" in message:
        return _told(message["method"], message["params"])
    return _result(message["result"])


def _told(method: str, params: dict[str, Any]) -> Iterable[str]:
    market = params.get("market", "")
    if method == "book.update":
        return [
            f"{market} {side} {price}: {quantity if quantity != '0' else 'nothing'}"
            for side, price, quantity, _ in params["changes"]
        ]
    if method == "trades.update":
        return [
            f"{market} traded: {each['side']} {each['quantity']} @ {each['price']}"
            for each in params["trades"]
        ]
    return [f"{method}: {', '.join(_flat(params))}"]


def _result(result: Any) -> list[str]:
    if not isinstance(result, dict):
        return [_cell("", result)]
    if "order_id" in result:
        return _orders([result])
    if _all_are(dict, result.get("orders")):
        more = [f"more: after {_cell('', result['next'])}"] if result.get("next") else []
        return _orders(result["orders"]) + more
    if _are_levels(result.get("bids")) and _are_levels(result.get("asks")):
        rows = [("sell", *level) for level in reversed(result["asks"])]
        rows += [("buy", *level) for level in result["bids"]]
        return _table(("side", "price", "quantity", "orders"), rows)
    lines: list[str] = []
    for name, value in result.items():
        if value and _all_are(dict, value):
            columns = [key for key in value[0] if not isinstance(value[0][key], dict | list)]
            cells = [[_cell(key, row.get(key)) for key in columns] for row in value]
            lines += _table([harmless(key) for key in columns], cells)
        elif isinstance(value, list) and name in ("commands", "methods"):
            lines += [f"{name}:", *(f"  {_cell('', each)}" for each in value)]
        else:
            lines += _flat({name: value})
    return lines


def _all_are(kind: type, values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(each, kind) for each in values)


def _are_levels(side: Any) -> bool:
    """Whether these are levels of a book: price, quantity, number of orders."""
    return _all_are(list, side) and all(len(level) == 3 for level in side)


def _orders(orders: Sequence[dict[str, Any]]) -> list[str]:
    used = [name for name in _ORDER if any(order.get(name) not in (None, "") for order in orders)]
    return _table(used, [[_cell(name, order.get(name)) for name in used] for order in orders])


def _flat(members: dict[str, Any], before: str = "") -> list[str]:
    """``name: value``, with the names of what is inside after those of what it is in."""
    lines: list[str] = []
    for name, value in members.items():
        if isinstance(value, dict) and value:
            lines += _flat(value, f"{before}{harmless(name)}.")
        else:
            lines.append(f"{before}{harmless(name)}: {_cell(name, value)}")
    return lines


def _cell(name: str, value: Any) -> str:
    if name in _TIMES and isinstance(value, int) and 0 <= value <= _TIME_MS_MAX:
        when = datetime.fromtimestamp(value / 1000, timezone.utc)
        return when.isoformat(" ", "milliseconds").removesuffix("+00:00")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | dict):
        return ", ".join(_cell(name, each) for each in value) or "none"
    return "-" if value is None or value == "" else harmless(str(value))


def _table(names: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Names above columns; numbers stand to the right, so that they are compared at a glance."""
    if not rows:
        return ["none"]
    columns = [
        [name.replace("_", " "), *(_cell("", each) for each in column)]
        for name, column in zip(names, zip(*rows, strict=True), strict=True)
    ]
    padded = []
    for column in columns:
        width = max(map(len, column))
        number = all(_NUMBER.fullmatch(text) for text in column[1:])
        padded.append([text.rjust(width) if number else text.ljust(width) for text in column])
    return ["  ".join(cells).rstrip() for cells in zip(*padded, strict=True)]
