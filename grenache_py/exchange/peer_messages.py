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
from grenache_py.exchange.replication.intake import ENTRY_POINTS
from grenache_py.exchange.replication.lease_messages import read_on, read_shown, read_wanted
from grenache_py.exchange.replication.messages import (
    read_frame,
    read_heads,
    read_proof,
    read_published,
    read_range,
    read_records_wanted,
    read_want,
)

__all__ = ["PEER_MESSAGES", "table_rst"]

#: A neighbour that answers no question about logs for so long has stalled.
STALL_S = 3.0
#: Cost of heads: 30 points a hundred.
_HEADS = Cost(0, 30, 100, "heads")

#: All messages. Measured, with 20,000 orders held: ``peer.ping``, ``peer.addresses``, entries (a
#: known one costs KNOWN_POINTS), heads, ``sync.range``, ``sync.reconcile`` (500, and 2,000 with
#: 100,000 orders), ``sync.records``, and ``fill.request``. Estimated: ``peer.hello``,
#: ``peer.goodbye``, ``gossip.graft`` and ``gossip.prune`` as a ping; ``gossip.want`` as
#: ``sync.range``; ``gossip.proof`` and the other fill messages by what they store or pass on.
#: Signatures that have to be checked (``SIGNATURE_POINTS``) and decoding a line
#: (``LINE_POINT_BYTES``) cost on top.
PEER_MESSAGES = (
    PeerMessage("peer.hello", Cost(2), answered=True, proven=False),
    PeerMessage("peer.ping", Cost(2), answered=True),
    PeerMessage(
        "peer.addresses",
        Cost(0, 5, 1, "record"),
        answered=False,
        decode=read_records,
        count=len,
    ),
    PeerMessage("peer.goodbye", Cost(2), answered=False),
    # Entries are decoded one by one as they are taken: an entry that is malformed costs neither
    # those before it nor, where gossip of the link is not read any more, any work at all.
    PeerMessage(
        "gossip.publish",
        Cost(0, ENTRY_POINTS, 1, "entry"),
        answered=False,
        decode=read_published,
        counted_later=True,
    ),
    PeerMessage("gossip.graft", Cost(2), answered=False),
    PeerMessage("gossip.prune", Cost(2), answered=False, decode=read_backoff),
    PeerMessage("gossip.have", _HEADS, answered=False, decode=read_heads, count=len),
    PeerMessage("gossip.want", Cost(60), answered=False, decode=read_want),
    PeerMessage("gossip.proof", Cost(5), answered=False, decode=read_proof),
    # Statements are paid for as they are looked at.
    PeerMessage(
        "lease.show", Cost(2, 1, 2, "pulses"), answered=False, decode=read_shown, count=len
    ),
    PeerMessage(
        "lease.want", Cost(2, 1, 1, "home or value"), answered=False, decode=read_wanted, count=len
    ),
    PeerMessage("lease.link", Cost(2), answered=False, decode=read_on),
    PeerMessage("sync.heads", _HEADS, answered=False, decode=read_heads, count=len),
    PeerMessage("sync.range", Cost(60), answered=True, decode=read_range, stall_s=STALL_S),
    PeerMessage(
        "sync.reconcile",
        Cost(100, 1, 50, "orders held"),
        answered=True,
        decode=read_frame,
        stall_s=STALL_S,
    ),
    PeerMessage(
        "sync.records", Cost(70), answered=True, decode=read_records_wanted, stall_s=STALL_S
    ),
    PeerMessage("fill.request", Cost(15), answered=True, decode=read_request),
    PeerMessage("fill.query", Cost(15), answered=True, decode=read_query),
    PeerMessage("fill.relay", Cost(10), answered=False, decode=read_relay),
    PeerMessage("fill.settled", Cost(20), answered=False, decode=read_settled),
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
