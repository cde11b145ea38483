"""
The exchange's network at scale, on a virtual clock, and the document about it.

    python -m benchmarks.exchange.report [--write FILE.rst] [--svg FILE.svg] [--small]

Runs ``exchange_gossip`` (up to 1,000 peers, with the daemon's gossip in a stand-in node),
``exchange_full`` (whole peers) and ``exchange_join`` (one joiner, 10,000 and 100,000 open orders),
and writes what they found beside gossipsub's published figures. 15 minutes of one core.
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path

from benchmarks.charts import Chart, page
from benchmarks.exchange import gossip as exchange_gossip
from benchmarks.exchange import joining as exchange_join
from benchmarks.exchange import whole_peers as exchange_full
from benchmarks.exchange.gossip import Result
from benchmarks.exchange.joining import COMMIT_S, idle_daemon_bytes
from benchmarks.exchange.joining import Result as Joined
from benchmarks.exchange.whole_peers import Full

SEED = 1
FULL_PEERS = 200
SIZES = (20, 50, 100, 250, 1000)
LOSSES = (0.1, 0.3)
ORDERS = (10_000, 100_000)
#: vyzo, gist 68d4435: 377,370 sends for 60,000 deliveries; 98 % of them below 300 ms.
GOSSIPSUB_COPIES, GOSSIPSUB_98_MS = 6.3, 300.0
#: Orders a second, in the whole network, for which bandwidth is given.
RATES = (10, 100, 1000)


def table(head: list[str], rows: list[list[str]]) -> str:
    """A reStructuredText simple table."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    rule = "  ".join("=" * width for width in widths)

    def line(cells: list[str]) -> str:
        both = zip(cells, widths, strict=True)
        return "  ".join(cell.ljust(width) for cell, width in both).rstrip()

    return "\n".join([rule, line(head), rule, *map(line, rows), rule])


def gossip_table(results: list[tuple[float, Result]], full: Full) -> str:
    """All networks, and gossipsub's."""
    rows = [
        [
            f"{r.peers:,}", "gossip" + (f", {loss:.0%} of lines lost" if loss else ""),
            f"{r.copies:.2f}", f"{r.p50_ms:.0f}", f"{r.p98_ms:.0f}", f"{r.last_ms:.0f}",
            f"{r.coverage:.2%}",
        ]
        for loss, r in results
    ]  # fmt: skip
    rows.append([
        f"{full.peers:,}", "**whole peers**", f"{full.copies:.2f}", f"{full.p50_ms:.0f}",
        f"{full.p98_ms:.0f}", f"{full.last_ms:.0f}", f"{full.reached:.2%}",
    ])  # fmt: skip
    rows.append(["1,000", "gossipsub, published", "6.3", "", "< 300", "", ""])
    head = ["peers", "what", "copies", "half ms", "98 % ms", "last peer ms", "reached"]
    return table(head, rows)


def per_home(full: Full) -> float:
    """Bytes a second that one more idle home costs each peer."""
    return full.idle_bytes_per_s / full.peers


def homes(full: Full) -> tuple[int, ...]:
    """For how many bandwidth is given."""
    return (full.peers, 1000)


def bandwidth(full: Full, peers: int, rate: float) -> float:
    """Of each peer, each way, kB/s."""
    return (per_home(full) * peers + full.bytes_per_order * rate) / 1e3


DOCUMENT = """\
The exchange's network at scale
===============================

Made by ``make bench-gossip`` (seed {seed}, Python {python}, {machine}).

On a virtual clock: these figures say what the protocol does, not how fast this machine is; where
computing matters (joining) it is measured and counted. ``make bench-network`` measures real
processes.

.. image:: {svg}

What is real, and what a stand-in
---------------------------------

gossip, up to 1,000 peers
    Real: ``gossip.py``, that is the mesh, what is pushed to whom, and what is only announced.
    Stand-ins: all else of a peer; entries are numbers.

{peers} whole peers
    Real: everything a node is, with handshake, peer exchange, heartbeats, sync, books.
    Stand-ins: the disk, which keeps nothing; signatures, which are hashes.

joining
    Real: everything a node is, signatures included; what it computes takes the time it takes here.
    Stand-ins: the link, of a stated bandwidth and round trip; the disk, which takes {commit_ms} ms
    for a commit and keeps nothing.

Links delay by 41 ms (median; log-normal, 5 % above 110 ms), as in gossipsub's published simulation.
Between whole peers lines keep their order, as in TCP, and wait for one that is late; in the gossip
run each fares on its own.

An entry reaches everybody
--------------------------

{gossip}

*Copies*: how often an entry arrives at a peer. *Last peer*: mean over the entries. Up to 10 homes
everybody tells everybody; above, a mesh of about {mesh} links a peer pushes, and the others hear
once a second which logs moved, which is what reaches the last peer when lines are lost.

Bandwidth of a peer
-------------------

kB/s each way. Measured with {peers} whole peers: a heartbeat of each every five seconds, in
{copies} copies, is {idle} kB/s; each order in the network is {order_kb} kB more: copies of its
entry, {entry} bytes on the wire, and announcements outside the mesh. In proportion:

{rates}

Heartbeats grow with the number of homes: at 1,000 of them they are most of the traffic of a quiet
market.

Joining
-------

From nothing to ``synced``, everything verified, over one link:

{joins}

Most of it is the orders themselves, {record} bytes each with signature and path.

Memory
------

What a process grows by (resident set, garbage collected), MB; an idle daemon has {daemon}:

{memory}
"""


def document(results: list[tuple[float, Result]], full: Full, joins: list[Joined], svg: str) -> str:
    """``docs/benchmarks/exchange-scale.rst``."""
    join_rows = [
        [f"{j.orders:,}", one.link, f"{one.seconds:.1f}", f"{one.cpu_s:.1f}",
         f"{one.down_bytes / 1e6:.1f}", f"{one.up_bytes / 1e3:.0f}"]
        for j in joins for one in j.joins
    ]  # fmt: skip
    memory_rows = [
        [f"{j.orders:,}", f"{j.replica_bytes / 1e6:.0f}", f"{j.home_bytes / 1e6:.0f}",
         f"{j.replica_bytes / j.orders:,.0f}"]
        for j in joins
    ]  # fmt: skip
    rate_rows = [
        [f"{peers:,}", *(f"{bandwidth(full, peers, rate):,.0f}" for rate in (0, *RATES))]
        for peers in homes(full)
    ]
    join_head = ["open orders", "link", "seconds", "of it CPU", "received MB", "sent kB"]
    memory_head = ["open orders", "copies of another home's", "at their home", "bytes a copy"]
    return DOCUMENT.format(
        seed=SEED,
        python=platform.python_version(),
        machine=platform.machine(),
        svg=svg,
        peers=full.peers,
        commit_ms=f"{1000 * COMMIT_S:.0f}",
        gossip=gossip_table(results, full),
        mesh=f"{full.mesh:.0f}",
        copies=f"{full.copies:.1f}",
        idle=f"{full.idle_bytes_per_s / 1e3:.0f}",
        order_kb=f"{full.bytes_per_order / 1e3:.1f}",
        entry=f"{full.entry_bytes:.0f}",
        rates=table(["homes", "idle", *(f"{rate:,} orders/s" for rate in RATES)], rate_rows),
        joins=table(join_head, join_rows),
        record=f"{joins[-1].joins[0].down_bytes / joins[-1].orders:.0f}",
        daemon=f"{idle_daemon_bytes() / 1e6:.0f}",
        memory=table(memory_head, memory_rows),
    )


def charts(results: list[tuple[float, Result]], full: Full, joins: list[Joined]) -> str:
    """The picture."""
    plain = [r for loss, r in results if not loss]
    whole = f"{full.peers}\nwhole peers"
    delays = [(f"{r.peers:,}\ngossip", (r.p50_ms, r.p98_ms, r.last_ms)) for r in plain]
    copies = [(f"{r.peers:,}\ngossip", (r.copies,)) for r in plain]
    both = f"gossipsub, 1,000 nodes, published: {GOSSIPSUB_COPIES}"
    return page([
        Chart(
            "Milliseconds until an entry is there, by number of peers",
            ("half of the peers", "98 % of deliveries", "last peer"),
            [*delays, (whole, (full.p50_ms, full.p98_ms, full.last_ms))],
            (GOSSIPSUB_98_MS, "gossipsub, 1,000 nodes, published: 98 % below 300 ms"),
        ),
        Chart("Copies of an entry that a peer receives", ("copies",),
              [*copies, (whole, (full.copies,))], (GOSSIPSUB_COPIES, both)),
        Chart(
            "Bandwidth of a peer, kB/s each way, by orders a second in the network",
            [f"{peers:,} homes" for peers in homes(full)],
            [(f"{rate:,} orders/s" if rate else "idle",
              [bandwidth(full, peers, rate) for peers in homes(full)])
             for rate in (0, *RATES)],
        ),
        Chart("Seconds to join, everything verified", ("seconds",),
              [(f"{j.orders:,} orders\n{one.link}", (one.seconds,))
               for j in joins for one in j.joins]),
        Chart("Memory for open orders, MB", ("copies of another home's", "at their home"),
              [(f"{j.orders:,} orders", (j.replica_bytes / 1e6, j.home_bytes / 1e6))
               for j in joins]),
    ])  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[1])
    options.add_argument("--write", type=Path, help="the document")
    options.add_argument("--svg", type=Path, help="its picture")
    options.add_argument("--small", action="store_true", help="to try it out")
    chosen = options.parse_args()
    began = time.perf_counter()
    sizes: tuple[int, ...] = SIZES
    full_peers, orders = FULL_PEERS, ORDERS
    if chosen.small:
        sizes, full_peers, orders = (20, 60), 20, (500, 1000)
    joins = [exchange_join.measure(count) for count in orders]
    print("\n".join(map(exchange_join.table, joins)), flush=True)
    results = [(0.0, exchange_gossip.measure(size, 0.0, SEED)) for size in sizes]
    results += [(loss, exchange_gossip.measure(sizes[-1], loss, SEED)) for loss in LOSSES]
    print(exchange_gossip.table(results), flush=True)
    full = exchange_full.measure(full_peers, SEED)
    print(exchange_full.table(full))
    print(f"{time.perf_counter() - began:.0f} s")
    if chosen.svg is not None:
        chosen.svg.write_text(charts(results, full, joins))
    if chosen.write is not None:
        picture = chosen.svg.name if chosen.svg is not None else "exchange-scale.svg"
        chosen.write.write_text(document(results, full, joins, f"../{picture}"))


if __name__ == "__main__":
    main()
