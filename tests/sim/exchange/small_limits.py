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
from grenache_py.exchange.home import heartbeat, ledger
from grenache_py.exchange.node import ExchangeNode, NodeConfig
from grenache_py.exchange.peers import link as peer_link
from grenache_py.exchange.replication import origin, origin_table, replica
from grenache_py.exchange.signed_log import own_log
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


def _fills(node: ExchangeNode) -> int:
    homes = Counter(intent.fill.maker_home for intent in node.taker.intents.values())
    return max(homes.values(), default=0)


#: By name.
LIMITS = {
    "answers": Limit(
        lambda node: len(node.maker._answers) >= 20, start=_few_answers, heal=_many_answers
    ),
    "live orders": Limit(lambda node: len(node.ledger.own) >= 12, config={"live_orders_max": 12}),
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
        ((peer_link, "PENDING_MAX", 3),),
    ),
    "tail": Limit(
        lambda node: any(len(o.tail) >= 24 for o in node.replica.origins.values()),
        (
            (origin, "TAIL_MAX", 24),
            (own_log, "TAIL_ENTRIES_MAX", 24),
            (snapshot, "LOG_TAIL_MAX", 24),
            (heartbeat, "BEAT_ENTRIES", 12),
        ),
    ),
    "origins": Limit(
        lambda node: len(node.replica.origins) >= 12, ((origin_table, "ORIGINS_MAX", 12),)
    ),
    "inbound links": Limit(lambda node: _inbound(node) >= 2, inbound_max=2),
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
