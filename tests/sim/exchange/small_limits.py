"""
Named limits made so small that a seed reaches them.

What is at its limit must be refused with a word, wait, or give way; all the rest goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import attrs

from grenache_py.exchange.fills import maker, taker
from grenache_py.exchange.home import entry_writer, heartbeat, ledger, own_orders, tape
from grenache_py.exchange.market import matching
from grenache_py.exchange.node import ExchangeNode, NodeConfig
from grenache_py.exchange.peers import link as peer_link
from grenache_py.exchange.peers import mesh, undelivered
from grenache_py.exchange.replication import (
    catch_up,
    fetching,
    head_exchange,
    log_ring,
    origin,
    origin_table,
    remote_orders,
    replica,
    sync_responder,
)
from grenache_py.exchange.signed_log import entry_sizes, own_log
from grenache_py.exchange.storage import snapshot

__all__ = ["LIMITS", "Limit", "configured", "healed", "reached", "small", "started"]

#: A quiet seed asks a home for more fills than this in a minute.
ANSWERS_FEW = 5


@attrs.frozen
class Limit:
    """
    One limit.

    Attributes:
        reached: whether a node is at it.
        patches: what is replaced while a seed runs: (module, name, value).
        config: members of ``NodeConfig``, instead of their defaults.
        inbound_max: likewise of ``PeeringConfig``.
        start, heal: called with each new node, and when there are to be no limits any more.
    """

    reached: Callable[[ExchangeNode], bool]
    patches: tuple[tuple[Any, str, Any], ...] = ()
    config: dict[str, Any] = attrs.field(factory=dict)
    inbound_max: int | None = None
    start: Callable[[ExchangeNode], None] = lambda node: None
    heal: Callable[[ExchangeNode], None] = lambda node: None


def _few_answers(node: ExchangeNode) -> None:
    node.maker.answers_max = ANSWERS_FEW


def _many_answers(node: ExchangeNode) -> None:
    """Answers are kept for a minute: a backlog would outlast the checks."""
    node.maker.answers_max = maker.ANSWERS_MAX


def _inbound(node: ExchangeNode) -> int:
    return sum(link.ready and not link.outbound for link in node.peering.links.values())


def _outside_the_mesh(node: ExchangeNode) -> int:
    return sum(link.ready and not link.mesh for link in node.peering.links.values())


def _fills(node: ExchangeNode) -> int:
    homes = Counter(intent.fill.maker_home for intent in node.taker.intents.values())
    return max(homes.values(), default=0)


#: By name.
LIMITS = {
    "answers": Limit(
        lambda node: len(node.maker._answers) >= 20, start=_few_answers, heal=_many_answers
    ),
    "live orders": Limit(
        lambda node: len(node.ledger.own) >= 12,
        ((remote_orders, "LIVE_PER_ORIGIN_MAX", 12),),
        {"live_orders_max": 12},
    ),
    "closed orders": Limit(
        lambda node: len(node.ledger.closed) >= 10,
        ((ledger, "CLOSED_KEPT_MAX", 10), (snapshot, "CLOSED_ORDERS_MAX", 10)),
    ),
    "fills of a home": Limit(lambda node: _fills(node) >= 2, ((taker, "FILLS_PER_HOME_MAX", 2),)),
    "early entries": Limit(
        lambda node: any(len(o.waiting) >= 3 for o in node.replica.origins.values()),
        ((replica, "WAITING_MAX", 3),),
    ),
    "requests of a link": Limit(
        lambda node: any(len(link.pending) >= 3 for link in node.peering.links.values()),
        # As ever, fetches leave room for a catch-up, and all fills of a home may be asked at once.
        (
            (peer_link, "PENDING_MAX", 3),
            (fetching, "LINK_FETCHES_MAX", 2),
            (taker, "FILLS_PER_HOME_MAX", 2),
        ),
    ),
    "tail": Limit(
        lambda node: any(len(o.tail) >= 24 for o in node.replica.origins.values()),
        (
            (origin, "TAIL_MAX", 24),
            (log_ring, "TAIL_MAX", 24),
            (own_log, "TAIL_ENTRIES_MAX", 24),
            (snapshot, "LOG_TAIL_MAX", 24),
            (heartbeat, "BEAT_ENTRIES", 12),
        ),
    ),
    "origins": Limit(
        lambda node: len(node.replica.origins) >= 12, ((origin_table, "ORIGINS_MAX", 12),)
    ),
    "inbound links": Limit(lambda node: _inbound(node) >= 2, inbound_max=2),
    "mesh": Limit(
        lambda node: _outside_the_mesh(node) > 0,
        (
            (mesh, "FLOOD_PEERS_MAX", 0),
            *((mesh, name, 1) for name in ("D", "D_LOW", "D_HIGH", "D_LAZY")),
        ),
    ),
    "entries": Limit(
        lambda node: (
            node.ledger.writer.shared is not None and len(node.ledger.writer.shared.states) >= 3
        ),
        (
            (entry_writer, "TRADES_PER_ENTRY_MAX", 2),
            (entry_writer, "STATES_SHARED_MAX", 3),
            (entry_writer, "STATES_PER_ENTRY_MAX", 4),
            (entry_sizes, "STATES_PER_ENTRY_MAX", 4),
        ),
    ),
    "legs": Limit(
        lambda node: any(len(intent.legs) >= 2 for intent in node.taker.intents.values()),
        tuple((module, "LEGS_MAX", 2) for module in (matching, maker, taker)),
    ),
    "steps": Limit(
        lambda node: len(node.ledger.own) >= 2,
        ((own_orders, "CLOSED_PER_STEP_MAX", 1), (own_orders, "IDLE_MATCHES_MAX", 1)),
    ),
    "homes on hold": Limit(lambda node: len(node.taker.on_hold) >= 1, ((taker, "HOLDS_MAX", 1),)),
    "fetches": Limit(
        lambda node: len(node.sync._fetching._fetches) >= 1,
        (
            (fetching, "FETCHES_MAX", 1),
            (fetching, "LINK_FETCHES_MAX", 1),
            (fetching, "RANGE_MAX", 3),
        ),
    ),
    "catch-ups": Limit(
        lambda node: node.sync.catchup.sessions >= 1,
        (
            (catch_up, "SESSION_ORIGINS_MAX", 1),
            (sync_responder, "RECORDS_PER_REQUEST_MAX", 2),
        ),
    ),
    "heads": Limit(
        lambda node: len(node.replica.origins) >= 2, ((head_exchange, "HEADS_PER_MESSAGE_MAX", 1),)
    ),
    "few homes": Limit(
        lambda node: len(node.sync.leases.homes) >= 3, ((heartbeat, "BEATING_HOMES_MAX", 0),)
    ),
    "undelivered": Limit(
        lambda node: len(node.peering._undelivered._piles) >= 1,
        ((undelivered, "PEERS_MAX", 1), (undelivered, "MESSAGES_MAX", 1)),
    ),
    "trades": Limit(
        lambda node: any(len(trades) >= 6 for trades in node.ledger.tape.trades.values()),
        ((tape, "TAPE_MAX", 6), (snapshot, "TRADES_PER_MARKET_MAX", 6)),
    ),
}


@contextmanager
def small(names: Sequence[str]) -> Iterator[None]:
    """While this lasts, the limits called ``names`` are small."""
    with ExitStack() as stack:
        for name in names:
            for patch in LIMITS[name].patches:
                stack.enter_context(mock.patch.object(*patch))
        yield


def configured(names: Sequence[str], config: NodeConfig) -> NodeConfig:
    """``config`` with those of the limits that are options."""
    for name in names:
        config = attrs.evolve(config, **LIMITS[name].config)
        inbound_max = LIMITS[name].inbound_max
        if inbound_max is not None:
            peering = attrs.evolve(config.peering, inbound_max=inbound_max)
            config = attrs.evolve(config, peering=peering)
    return config


def started(names: Sequence[str], node: ExchangeNode) -> None:
    """Set those that are a node's own."""
    for name in names:
        LIMITS[name].start(node)


def healed(names: Sequence[str], node: ExchangeNode) -> None:
    """Lift those that would outlast a seed."""
    for name in names:
        LIMITS[name].heal(node)


def reached(names: Sequence[str], node: ExchangeNode) -> list[str]:
    """The limits that ``node`` is at."""
    return [name for name in names if LIMITS[name].reached(node)]
