"""
Commands for people at telnet or nc, as the method calls they stand for.

Pure. A line that begins with a letter is a command: words separated by blanks. Its answer is
one line of JSON like any other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any, TypeAlias

import attrs

from grenache_py.exchange.client_port.as_typed import amount, market_name
from grenache_py.exchange.errors import INVALID_PARAMS, NO_SUCH_METHOD, OrderError

__all__ = ["COMMANDS", "FORMAT", "QUIT", "InlineCall", "did_you_mean", "parse", "usage_of"]

#: A method and its params.
InlineCall: TypeAlias = tuple[str, dict[str, Any]]

#: Not a method: the connection closes once its answers are out.
QUIT: InlineCall = ("quit", {})

#: Neither: what is sent from here on is JSON, or text for people.
FORMAT = "format"

WORDS_MAX = 32
_ORDER_ID = re.compile(r"[0-9a-f]{32}")
_FLAGS: dict[str, dict[str, Any]] = {
    "gtc": {"time_in_force": "gtc"},
    "ioc": {"time_in_force": "ioc"},
    "fok": {"time_in_force": "fok"},
    "post": {"post_only": True},
}
_OPTIONS = {"id": "client_order_id", "account": "account", "stop": "stop_price"}


class _Usage(Exception):
    """The words do not fit the command."""


@attrs.frozen
class Command:
    """A command: how it is written, and what its words mean."""

    usage: str
    calls: Callable[[list[str]], list[InlineCall]]


def _place(side: str) -> Callable[[list[str]], list[InlineCall]]:
    def calls(words: list[str]) -> list[InlineCall]:
        found = amount(" ".join(words[1:]))
        if found is None:
            raise _Usage
        quantity, price, rest = found
        params: dict[str, Any] = {
            "market": market_name(words[0]), "side": side, "quantity": quantity
        }  # fmt: skip
        params |= {"type": "market"} if price is None else {"price": price}
        for word in rest.split():
            name, equals, value = word.partition("=")
            if equals and name in _OPTIONS and value:
                given = {_OPTIONS[name]: value}
            elif word.lower() in _FLAGS:
                given = _FLAGS[word.lower()]
            else:
                raise _Usage
            if given.keys() & params.keys():
                raise _Usage
            params.update(given)
        if "stop_price" in params:
            params["type"] = "stop" if params.get("type") == "market" else "stop_limit"
        return [("order.place", params)]

    return calls


def _cancel(words: list[str]) -> list[InlineCall]:
    if words and words[0].lower() == "all":
        params: dict[str, Any] = {}
        for word in words[1:]:
            name, equals, value = word.partition("=")
            if word.lower() == "all-accounts":
                given: dict[str, Any] = {"all_accounts": True}
            elif equals and name == "account":
                given = {"account": value}
            else:
                given = {"market": market_name(word)}
            if given.keys() & params.keys():
                raise _Usage
            params |= given
        return [("order.cancel_all", params)]
    if len(words) != 1:
        raise _Usage
    by = "order_id" if _ORDER_ID.fullmatch(words[0]) else "client_order_id"
    return [("order.cancel", {by: words[0]})]


def _replace(words: list[str]) -> list[InlineCall]:
    """``ID [QUANTITY] [@ PRICE]``, at least one of the two."""
    if len(words) < 2:
        raise _Usage
    by = "order_id" if _ORDER_ID.fullmatch(words[0]) else "client_order_id"
    params = {by: words[0]}
    quantity, at, price = " ".join(words[1:]).partition("@")
    for name, value in (("quantity", quantity.strip()), ("price", price.strip())):
        if value:
            params[name] = value
    if len(params) == 1 or bool(at) != ("price" in params) or " " in "".join(params.values()):
        raise _Usage
    return [("order.replace", params)]


def _format(words: list[str]) -> list[InlineCall]:
    if [word.lower() for word in words] not in (["text"], ["json"]):
        raise _Usage
    return [(FORMAT, {"as": words[0].lower()})]


def _candles(words: list[str]) -> list[InlineCall]:
    """``MARKET [INTERVAL] [N]``."""
    interval = {"interval": words.pop(1)} if len(words) > 1 and not words[1].isdigit() else {}
    [(method, params)] = _of_market("candles.list", number="limit")(words)
    return [(method, params | interval)]


def _of_market(
    *methods: str, number: str = "", needed: bool = True
) -> Callable[[list[str]], list[InlineCall]]:
    """``MARKET [NUMBER]``."""

    def calls(words: list[str]) -> list[InlineCall]:
        if not (1 if needed else 0) <= len(words) <= (2 if number else 1):
            raise _Usage
        params: dict[str, Any] = {"market": market_name(words[0])} if words else {}
        if len(words) > 1:
            if not (words[1].isascii() and words[1].isdigit() and len(words[1]) < 10):
                raise _Usage
            params[number] = int(words[1])
        return [(method, dict(params)) for method in methods]

    return calls


def _optional(method: str, name: str) -> Callable[[list[str]], list[InlineCall]]:
    def calls(words: list[str]) -> list[InlineCall]:
        if len(words) > 1:
            raise _Usage
        return [(method, {name: words[0]} if words else {})]

    return calls


def _bare(method: str) -> Callable[[list[str]], list[InlineCall]]:
    def calls(words: list[str]) -> list[InlineCall]:
        if words:
            raise _Usage
        return [(method, {})]

    return calls


_ORDER = "MARKET QUANTITY @ PRICE | market [gtc|ioc|fok|post] [stop=PRICE] [id=ID] [account=NAME]"

COMMANDS: dict[str, Command] = {
    "buy": Command(f"buy {_ORDER}", _place("buy")),
    "sell": Command(f"sell {_ORDER}", _place("sell")),
    "cancel": Command("cancel ID | cancel all [MARKET] account=NAME | all-accounts", _cancel),
    "replace": Command("replace ID [QUANTITY] [@ PRICE]", _replace),
    "book": Command("book MARKET [DEPTH]", _of_market("book.get", number="depth")),
    "trades": Command("trades MARKET [N]", _of_market("trades.list", number="limit")),
    "ticker": Command("ticker MARKET", _of_market("ticker.get")),
    "candles": Command("candles MARKET [1m|5m|15m|1h|4h|1d] [N]", _candles),
    "orders": Command("orders [MARKET]", _of_market("order.list", needed=False)),
    "watch": Command("watch MARKET", _of_market("book.subscribe", "trades.subscribe")),
    "unwatch": Command("unwatch MARKET", _of_market("book.unsubscribe", "trades.unsubscribe")),
    "markets": Command("markets", _bare("markets.list")),
    "peers": Command("peers", _bare("peers.list")),
    "status": Command("status", _bare("status")),
    "ping": Command("ping", _bare("ping")),
    "hello": Command("hello [TOKEN]", _optional("hello", "token")),
    "format": Command("format text|json", _format),
    "help": Command("help [COMMAND]", _optional("help", "command")),
    "quit": Command("quit", _bare("quit")),
}


def parse(text: str) -> list[InlineCall]:
    """
    Return the calls a command line stands for; its answer is that of the first.

    Raises:
        OrderError: -32601 no such command, -32602 its words make no sense.
    """
    name, *words = text.split(maxsplit=WORDS_MAX)
    command = COMMANDS.get(name.lower())
    if command is None:
        raise OrderError(
            NO_SUCH_METHOD,
            f"There is no command {name[:32]!r}; {did_you_mean(name, COMMANDS)}"
            "type help to see what there is.",
        )
    try:
        return command.calls(words)
    except _Usage:
        raise OrderError(
            INVALID_PARAMS, f"Write it like this: {command.usage}", field="command"
        ) from None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``did you mean 'ticker'? `` when one of ``known`` is like ``name``, else nothing."""
    found = get_close_matches(name[:32].lower(), known, n=1)
    return f"did you mean {found[0]!r}? " if found else ""


def usage_of(name: str) -> str | None:
    """How a command is written, or None if there is none of that name."""
    command = COMMANDS.get(name.lower())
    return command.usage if command else None
