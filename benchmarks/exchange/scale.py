"""
What a network may cost: idle homes, orders, joining and propagation, and the document about it.

    python -m benchmarks.exchange.scale [--json FILE] [--write FILE.rst] [--svg FILE.svg] [--small]

Runs ``idle_homes`` (1,000 and 10,000 homes over 48 links), ``joining`` (100,000 orders) and
``gossip`` (1,000 peers). Some 15 minutes of one core.
"""

from __future__ import annotations

import argparse
import platform
from pathlib import Path

from benchmarks import figures
from benchmarks.charts import Chart, page
from benchmarks.exchange import gossip, idle_homes, joining
from benchmarks.exchange.idle_homes import HOMES, LINKS, Figures
from benchmarks.exchange.report import SEED, table

ORDERS, PEERS = 100_000, 1_000

DOCUMENT = """\
What a home, an order and a quiet second cost
=============================================

Made by ``make bench-scale`` (Python {python}, {machine}), on a virtual clock.

.. image:: {svg}

Idle homes
----------

One peer with {links} links, among homes that live, have one order each and trade nothing. The
peer is the daemon's own node with real signatures. Homes show that they live by `pulses
<../design/leases.rst>`__; neighbours pass them on as this peer does. *Silent*: the same homes and
links, while nothing comes at all. A home that died is hidden so long after its last pulse.

{homes}

An order, and joining
---------------------

{orders}

*Joined* over a link of 1 Gbit/s and 1 ms, everything verified; `exchange-scale.rst
<exchange-scale.rst>`__ has slower links. *At 98 %*: of {peers} peers with the daemon's mesh, links
of 41 ms (median).
"""


def keys(homes: list[Figures], joined: joining.Result, spread: gossip.Result) -> dict[str, float]:
    """The figures of the largest network, by the names that are compared from run to run."""
    most, first = homes[-1], joined.joins[0]
    return {
        "idle_home_bytes": most.home_bytes,
        "idle_cpu_ms_per_s": most.idle_ms,
        "idle_bytes_per_s": most.idle_bytes,
        "silent_cpu_ms_per_s": most.quiet_ms,
        "dead_hidden_s": most.hidden_s,
        "order_bytes": joined.replica_bytes / joined.orders,
        "join_bytes_per_order": first.down_bytes / joined.orders,
        f"join_{joined.orders}_s": first.seconds,
        "propagation_98_ms": spread.p98_ms,
    }


def document(homes: list[Figures], joined: joining.Result, spread: gossip.Result, svg: str) -> str:
    """``docs/benchmarks/scale.rst``."""
    home_rows = [
        [f"{f.homes:,}", f"{f.home_bytes:,.0f}", f"{f.idle_ms:.1f}", f"{f.quiet_ms:.2f}",
         f"{f.idle_bytes / 1e3:.1f}", f"{f.hidden_s:.0f}"]
        for f in homes
    ]  # fmt: skip
    found = keys(homes, joined, spread)
    order_rows = [
        ["an order of another home in memory", f"{found['order_bytes']:,.0f} B"],
        ["an order to join", f"{found['join_bytes_per_order']:,.0f} B"],
        [f"joining {joined.orders:,} orders", f"{joined.joins[0].seconds:.1f} s"],
        ["an order at 98 % of the peers", f"{spread.p98_ms:.0f} ms"],
    ]
    head = ["homes", "bytes a home", "CPU ms/s", "silent ms/s", "sent kB/s", "dead hidden after s"]
    return DOCUMENT.format(
        python=platform.python_version(),
        machine=platform.machine(),
        svg=svg,
        links=homes[0].links,
        homes=table(head, home_rows),
        orders=table(["what", "cost"], order_rows),
        peers=f"{spread.peers:,}",
    )


def charts(homes: list[Figures]) -> str:
    """The picture."""
    groups = [f"{each.homes:,} homes" for each in homes]
    return page([
        Chart("CPU of an idle peer, ms a second", ("homes live", "homes are silent"),
              [(name, (f.idle_ms, f.quiet_ms)) for name, f in zip(groups, homes, strict=True)]),
        Chart("Sent by an idle peer, kB a second", ("kB/s",),
              [(name, (f.idle_bytes / 1e3,)) for name, f in zip(groups, homes, strict=True)]),
        Chart("Memory of an idle home, bytes", ("bytes",),
              [(name, (f.home_bytes,)) for name, f in zip(groups, homes, strict=True)]),
    ])  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[1])
    options.add_argument("--write", type=Path, help="the document")
    options.add_argument("--svg", type=Path, help="its picture")
    options.add_argument("--small", action="store_true", help="to try it out")
    figures.add_option(options)
    chosen = options.parse_args()
    sizes, links, orders, peers = HOMES, LINKS, ORDERS, PEERS
    if chosen.small:
        sizes, links, orders, peers = (100, 200), 8, 500, 60
    homes = []
    for size in sizes:
        homes.append(idle_homes.measure(size, links))
        print(idle_homes.table(homes[-1]), flush=True)
    joined = joining.measure(orders)
    print(joining.table(joined), flush=True)
    spread = gossip.measure(peers, 0.0, SEED)
    print(gossip.table([(0.0, spread)]))
    if chosen.svg is not None:
        chosen.svg.write_text(charts(homes))
    if chosen.write is not None:
        picture = chosen.svg.name if chosen.svg is not None else "scale.svg"
        chosen.write.write_text(document(homes, joined, spread, f"../{picture}"))
    figures.save(chosen.json, keys(homes, joined, spread))


if __name__ == "__main__":
    main()
