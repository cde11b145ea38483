"""
The one table of what peers say to each other: every message of the peer port has its row here.

Pure. A node is not made unless each row has a method that carries it out, and no other method can
be registered. ``docs/exchange-wire.rst`` shows the table as ``table_rst`` writes it.

A new message needs a row here, a method that is registered with ``Peering.method`` (for instance
in ``fills/port.py``), and its part of ``docs/exchange-wire.rst``.
"""

from __future__ import annotations

from collections.abc import Iterable

from grenache_py.exchange.fills.port import read_query, read_request, read_settled
from grenache_py.exchange.fills.relay import read_relay
from grenache_py.exchange.peers.grafting import read_backoff
from grenache_py.exchange.peers.message_table import Cost, PeerMessage
from grenache_py.exchange.peers.peer_exchange import read_records

__all__ = ["PEER_MESSAGES", "table_rst"]

#: Cost of heads: 30 points a hundred.
_HEADS = Cost(0, 30, 100, "heads")

#: All messages. Costs were measured with 20,000 orders held; those of
#: ``gossip.proof`` and of ``fill.request`` are sums of their signature checks (10 points each).
PEER_MESSAGES = (
    PeerMessage("peer.hello", Cost(2), answered=True, proven=False),
    PeerMessage("peer.ping", Cost(2), answered=True),
    PeerMessage("peer.addresses", Cost(0, 15, 1, "record"), answered=False, decode=read_records),
    PeerMessage("peer.goodbye", Cost(2), answered=False),
    PeerMessage("gossip.publish", Cost(0, 30, 1, "entry"), answered=False),
    PeerMessage("gossip.graft", Cost(2), answered=False),
    PeerMessage("gossip.prune", Cost(2), answered=False, decode=read_backoff),
    PeerMessage("gossip.have", _HEADS, answered=False),
    PeerMessage("gossip.want", Cost(60), answered=False),
    PeerMessage("gossip.proof", Cost(20), answered=False),
    PeerMessage("sync.heads", _HEADS, answered=False),
    PeerMessage("sync.range", Cost(60), answered=True),
    PeerMessage("sync.reconcile", Cost(100, 1, 50, "orders held"), answered=True),
    PeerMessage("sync.records", Cost(70), answered=True),
    PeerMessage("fill.request", Cost(40), answered=True, decode=read_request),
    PeerMessage("fill.query", Cost(25), answered=True, decode=read_query),
    PeerMessage("fill.relay", Cost(10), answered=False, decode=read_relay),
    PeerMessage("fill.settled", Cost(10, 4, 100, "fills"), answered=False, decode=read_settled),
)


def table_rst(rows: Iterable[PeerMessage] = PEER_MESSAGES) -> str:
    """The rows as a reStructuredText table, which ends with a newline."""
    cells = [("message", "kind", "sender", "cost")]
    for row in rows:
        kind = "request" if row.answered else "notification"
        sender = "proven" if row.proven else "anybody"
        cells.append((f"``{row.name}``", kind, sender, str(row.cost)))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule, ""])
