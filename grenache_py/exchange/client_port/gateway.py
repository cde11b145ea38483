"""
What the methods of the client port work with: the gateway, a principal, and what lies behind it.

Pure. Three protocols say what the gateway asks of others: `GatewayNode` answers at once and from
memory, `History` is read from the store, and `Admin` is the daemon itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any, Protocol, TypeAlias, TypeVar

import attrs

from grenache_py.exchange.client_port.access import ALL_SCOPES, Grant
from grenache_py.exchange.client_port.feed import Feed
from grenache_py.exchange.client_port.reports import execution_report, trades_until
from grenache_py.exchange.client_port.send_queue import SendQueue
from grenache_py.exchange.client_port.token_guesses import TokenGuesses
from grenache_py.exchange.effects.rows import ExecutionRow, TradedSum
from grenache_py.exchange.errors import NOT_AUTHORISED, UNKNOWN_MARKET, OrderError
from grenache_py.exchange.market.book import Book
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.market.order import LiveOrder, NewOrder, Trade

__all__ = [
    "Admin",
    "Facts",
    "Found",
    "Gateway",
    "GatewayNode",
    "History",
    "Principal",
    "StepFailed",
    "trades_behind",
]


class StepFailed(Exception):
    """A step of the node raised what it must not, so it may be half done; the cause says what."""


class GatewayNode(Protocol):
    """The part of ``ExchangeNode`` that clients reach."""

    @property
    def markets(self) -> Mapping[str, Market]: ...
    @property
    def known_markets(self) -> Mapping[str, Market]: ...
    @property
    def books(self) -> Mapping[str, Book]: ...
    @property
    def last_trades(self) -> Mapping[str, Trade]: ...
    def place(self, new: NewOrder, now: float) -> LiveOrder: ...
    def cancel(self, order_id: str, now: float, account: str | None = None) -> LiveOrder: ...
    def cancel_all(
        self, now: float, market: str | None = None, account: str | None = None
    ) -> list[LiveOrder]: ...
    def cancel_after(self, account: str, market: str | None, ms: int, now: float) -> int | None: ...
    def tie(self, order_id: str, connection: int) -> None: ...
    def untie(self, connection: int) -> None: ...
    def replace(
        self,
        order_id: str,
        now: float,
        quantity_lots: int | None = None,
        price_ticks: int | None = None,
        account: str | None = None,
    ) -> LiveOrder: ...
    def order(self, order_id: str) -> LiveOrder | None: ...
    def by_client_id(self, account: str, client_order_id: str) -> LiveOrder | None: ...
    def trades_of(self, order_id: str) -> Iterable[Trade]: ...
    def open_orders(
        self, market: str | None = None, account: str | None = None
    ) -> Iterable[LiveOrder]: ...
    def order_seq(self, account: str) -> int: ...
    def execution_seq(self, account: str) -> int: ...
    def tape(self, symbol: str) -> Iterable[Trade]: ...
    def status(self, now: float) -> dict[str, Any]: ...
    def peers(self, now: float) -> list[dict[str, Any]]: ...
    def connect(self, address: str, now: float) -> None: ...
    def ban(self, peer: str, seconds: float, now: float) -> None: ...
    def unban(self, peer: str, now: float) -> None: ...
    def in_doubt(self) -> list[dict[str, Any]]: ...
    def decide(self, fill_id: str, now: float) -> None: ...


#: An own order read from the store, and its newest trades, oldest first.
Found: TypeAlias = tuple[LiveOrder, list[Trade]]


class History(Protocol):
    """What is read from the store. All that is awaited may fail with ``StoreError``."""

    def order(self, order_id: str) -> Awaitable[Found | None]:
        """An own order, however old, and its newest trades."""

    def may_have_used(self, account: str, client_order_id: str) -> bool:
        """False when no closed order of this account can have had that client id."""

    def order_by_client_id(self, account: str, client_order_id: str) -> Awaitable[Found | None]:
        """The newest order of ``account`` with that client id."""

    def orders(
        self, market: str | None, account: str | None, status: str, after: str | None, limit: int
    ) -> Awaitable[list[Found] | None]:
        """Own orders, newest first, older than ``after``; None when that is not known."""

    def trades(self, market: str, after: str | None, limit: int) -> Awaitable[list[Trade] | None]:
        """
        Oldest first: the newest ``limit``, or the first ``limit`` after ``after``.

        None when ``after`` is not known.
        """

    def order_events(
        self, account: str, after_seq: int, limit: int
    ) -> Awaitable[list[tuple[int, LiveOrder, list[Trade]]]]:
        """An account's updates after ``after_seq``: seq, the order as it then was, its trades."""

    def executions(
        self, account: str, after: int | None, limit: int, market: str | None = None
    ) -> Awaitable[tuple[list[ExecutionRow], int, int] | None]:
        """
        What an account's orders traded, oldest first: the newest, or those after ``after``.

        And the number up to which was looked, and the newest. None when what follows ``after`` is
        not kept, or it is a number from the future.
        """

    def traded(self, account: str) -> Awaitable[Sequence[TradedSum]]:
        """What an account bought and sold, by market, as far as its executions are kept."""

    def volume_lots(self, market: str, since_ms: int) -> Awaitable[int]:
        """How much was traded since then."""

    def candles(
        self, market: str, interval_ms: int, after_ms: int | None, limit: int
    ) -> Awaitable[list[tuple[int, int, int, int, int, int]]]:
        """(start ms, open, high, low, close in ticks, lots), oldest first, empty ones left out."""


class Admin(Protocol):
    """What an operator asks of the daemon. All that is awaited may fail with ``StoreError``."""

    def promote(self, new_epoch: bool) -> None:
        """
        Serve as soon as the daemon that serves has given its term up; see ``DaemonRole.promote``.

        Raises:
            OrderError: there is no other daemon, or not for a new epoch.
        """

    def demote(self) -> None:
        """
        Give the term up to another daemon of this home.

        Raises:
            OrderError: there is none.
        """

    def backup(self, path: str) -> Awaitable[dict[str, Any]]:
        """Write a consistent copy of the store to ``path``; the result of the method."""

    def status(self) -> dict[str, Any]:
        """What the daemon knows beyond the node: store, grapes, clients."""

    def log_level(self, level: str, namespace: str) -> None:
        """Change what is logged."""

    def shutdown(self) -> None:
        """Stop the daemon, soon."""


@attrs.frozen
class Facts:
    """What does not change while the daemon runs."""

    peer: str
    network: str
    version: str
    started: float
    tokens_wanted: bool
    features: tuple[str, ...] = (
        "batch",
        "inline",
        "subscriptions",
        "status_subscribe",
        "candles",
        "executions",
        "positions",
        "cancel_after",
        "cancel_on_disconnect",
        "wait_ms",
        "valid_until",
    )


@attrs.define(eq=False)
class Principal:
    """
    One connection to the client port, as methods see it.

    Attributes:
        grant: what it may do now.
        send_queue: where its notifications go.
        ceiling: the scopes that it never exceeds, whatever token it shows.
        leaving: set when it said ``quit``: closed once its answers are out.
        source: whose wrong tokens are counted together, see `token_guesses.guesser`.
        wrong_tokens: shown on this connection.
        token: the digest of the one its grant comes from; b"" for none.
        number: of this connection, when orders are tied to it.
        ties: whether those that it places from now on are.
    """

    grant: Grant
    send_queue: SendQueue
    ceiling: frozenset[str] = ALL_SCOPES
    name: str = ""
    leaving: bool = False
    source: str = ""
    wrong_tokens: int = 0
    token: bytes = b""
    number: int = 0
    ties: bool = False

    def account(self, wanted: str | None) -> str:
        """
        Return the account to act for: the one asked for, or the token's, or the nameless one.

        Raises:
            OrderError: -32006, the token is for another account.
        """
        own = self.grant.account
        if own is None:
            return wanted or ""
        if wanted not in (None, own):
            raise OrderError(
                NOT_AUTHORISED, f"This token acts for account {own!r} only.", field="account"
            )
        return own

    def filter(self, wanted: str | None) -> str | None:
        """Return the account to show: as `account`, but None (all) where that is allowed."""
        return wanted if wanted is None and self.grant.account is None else self.account(wanted)


T = TypeVar("T")


@attrs.define
class Gateway:
    """
    What serves clients: they all share it.

    Attributes:
        history, admin: what the methods that wait are answered by.
        node: replaced when the store failed and was opened again.
        check_token: the grant behind a token, or None.
        guesses: the wrong tokens that were shown.
        settled: waits, so many seconds at most, until nothing of an order is in doubt any more.
        came: when each order came that was placed since the last batch, in seconds.
        numbers: for connections that tie orders to themselves.
        closed: what everybody is told while the node cannot be asked.
        from_store: another daemon serves, and what the store holds is told all the same; ``node``
            knows the markets then, and no order.
        stored: while ``from_store``: reads the books and last trades, unless that was just done;
            what knows them, and how many seconds old that may be. May fail with ``StoreError``.
        unsure: returns what everybody is told while another daemon may have taken over, so that
            what is in memory may be old; None: nothing can be said against it.
    """

    feed: Feed
    history: History
    admin: Admin
    facts: Facts
    settled: Callable[[str, float], Awaitable[None]]
    node: GatewayNode = attrs.field(init=False)  # set when the store is open
    check_token: Callable[[str], Grant | None] = lambda token: None
    closed: OrderError | None = None
    from_store: bool = False
    stored: Callable[[], Awaitable[tuple[GatewayNode, float]]] = attrs.field(init=False)
    unsure: Callable[[], OrderError | None] = lambda: None
    guesses: TokenGuesses = attrs.Factory(TokenGuesses)
    came: list[float] = attrs.Factory(list)
    numbers: Iterator[int] = attrs.Factory(lambda: count(1))

    def step(self, change: Callable[[GatewayNode], T]) -> T:
        """
        Have the node changed, and the result made of that: all of it, or nothing.

        Raises:
            OrderError: it was refused, and nothing has changed.
            StepFailed: a bug of ours; what was done so far must not reach the disk.
        """
        if self.closed is not None:  # who waited for a read would change a node that is gone
            raise self.closed
        try:
            return change(self.node)
        except OrderError:
            raise
        except Exception as error:  # no await in here
            raise StepFailed from error

    def take_came(self) -> list[float]:
        """The ``came`` of the batch that is being made."""
        taken, self.came = self.came, []
        return taken

    def market(self, symbol: str) -> Market:
        """
        Return a market by name.

        Raises:
            OrderError: -32000.
        """
        market = self.node.markets.get(symbol)
        if market is None:
            known = ", ".join(self.node.markets)
            raise OrderError(
                UNKNOWN_MARKET, f"There is no market {symbol!r} here; there are: {known}."
            )
        return market

    def known_market(self, symbol: str) -> Market:
        """
        Return a market whose history is kept, also when it is no longer traded here.

        Raises:
            OrderError: -32000.
        """
        return self.node.known_markets.get(symbol) or self.market(symbol)

    def market_of(self, live: LiveOrder) -> Market:
        """Return an order's market; an old order's may be no longer traded here."""
        return self.known_market(live.order.market)

    def report(self, live: LiveOrder) -> dict[str, Any]:
        """The execution report of an own order in memory."""
        trades = self.node.trades_of(live.order_id) if live.filled else ()
        return execution_report(live, self.known_market(live.order.market), trades)

    def found_report(self, found: Found) -> dict[str, Any]:
        """The execution report of an order read from the store."""
        live, trades = found
        return execution_report(live, self.known_market(live.order.market), trades)


def trades_behind(node: GatewayNode | None, copy: LiveOrder) -> Iterable[Trade]:
    """The trades in memory behind a copy of an own order, as old as the copy; oldest first."""
    now = node.order(copy.order_id) if node is not None and copy.filled else None
    if node is None or now is None:
        return ()
    return trades_until(node.trades_of(copy.order_id), now.filled - copy.filled)
