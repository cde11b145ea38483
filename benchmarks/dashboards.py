"""
The Grafana dashboards as pictures: a real Prometheus watches real daemons under load.

    python -m benchmarks.dashboards [--seconds 60] [--write docs]

Three grapes, three peers that trade with each other, and two that something is wrong with: a grape
that finds no other, a peer of another network. Each panel's expressions are asked of Prometheus as
Grafana asks them. A panel that gets no answer ends it with exit code 1, so that a dashboard cannot
show "No data" for a metric that is misspelled. Needs ``prometheus`` on the path.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import shutil
import subprocess
import sysconfig
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from benchmarks.panels import Series, asked, drawn, named
from tests.soak.daemons import MARKET, Daemon, free_port, wait_for

ROOT = Path(__file__).parent.parent
DASHBOARDS = {"peers": ROOT / "etc/grafana/peers.json", "grapes": ROOT / "etc/grafana/grapes.json"}
SCRAPE_S = 1
#: What Grafana makes of ``$__rate_interval``: four scrapes, and one more.
RATE_INTERVAL = f"{5 * SCRAPE_S}s"
#: Points of a line.
POINTS = 60
#: Scraped for so long before the picture begins, so that each rate is known from there on.
WARM_S = 6.0


class Watched:
    """
    Daemons, and the Prometheus that reads them.

    Attributes:
        peers: those that trade with each other.
    """

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._stack = stack
        self._folder = folder
        self._targets: dict[str, dict[str, str]] = {"grape": {}, "exchange": {}}
        dht = [free_port() for _ in range(3)]
        urls = [self._grape(number, dht) for number in range(3)]
        self._grape(3, [*dht, free_port()], alone=True)
        self.peers: list[Daemon] = []
        for number in range(3):
            named = [word for url in urls for word in ("--grape", url)]
            if number:
                named += ["--connect", self.peers[0].address]
            self.peers.append(self._peer(number, *named))
        self._peer(3, "--network", "other", "--dht", "0", "--connect", self.peers[0].address)
        for peer in self.peers:
            wait_for("the peers are synced", 60, lambda peer=peer: peer.status()["synced"])
        self._prometheus()

    def _run(self, name: str, *command: str) -> None:
        with (self._folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder)
        self._stack.callback(process.wait)
        self._stack.callback(process.terminate)

    def _grape(self, number: int, dht: list[int], alone: bool = False) -> str:
        http, name = free_port(), f"grape-{number + 1}"
        others = ["127.0.0.1:9"] if alone else [f"127.0.0.1:{p}" for p in dht if p != dht[number]]
        self._run(
            name,
            *(f"{sysconfig.get_path('scripts')}/grape", "-b", "127.0.0.1", "--metrics"),
            *("--dp", str(dht[number]), "--aph", str(http), "--bn", ",".join(others)),
            *("--state", str(self._folder / name)),
        )
        self._targets["grape"][name] = f"127.0.0.1:{http}"
        return f"http://127.0.0.1:{http}"

    def _peer(self, number: int, *options: str) -> Daemon:
        http, name = free_port(), f"peer-{'abcd'[number]}"
        pages = ("--http", f"tcp:{http}:interface=127.0.0.1")
        peer = Daemon(self._folder / name, *pages, *options)
        self._stack.callback(peer.stop)
        peer.start()
        peer.wait()
        self._targets["exchange"][name] = f"127.0.0.1:{http}"
        return peer

    def _prometheus(self) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/api/v1/query_range"
        jobs = [
            {
                "job_name": job,
                "static_configs": [
                    {"targets": [target], "labels": {"instance": name}}
                    for name, target in targets.items()
                ],
            }
            for job, targets in self._targets.items()
        ]
        settings = {
            "global": {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": f"{SCRAPE_S}s"},
            "rule_files": [str(ROOT / "etc/prometheus/grenache.rules.yml")],
            "scrape_configs": jobs,
        }
        (self._folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
        self._run(
            "prometheus",
            *("prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=tsdb"),
            *(f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"),
        )

    def ask(self, expression: str, begin: float, end: float) -> list[dict[str, Any]]:
        """The series that Prometheus has for an expression."""
        step = max(1, round((end - begin) / POINTS))
        asked = {"query": expression, "start": begin, "end": end, "step": step}
        query = urllib.parse.urlencode(asked)
        with urllib.request.urlopen(f"{self.url}?{query}", timeout=30) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
            return found

    def shown(self, panel: dict[str, Any], begin: float, end: float) -> list[Series]:
        """The lines of a panel; points that are no numbers are left out, as Grafana does."""
        lines = []
        for expression, legend in asked(panel, RATE_INTERVAL):
            for found in self.ask(expression, begin, end):
                points = [(at - begin, float(value)) for at, value in found["values"]]
                points = [point for point in points if math.isfinite(point[1])]
                if points:
                    lines.append(Series(named(found["metric"], legend), points))
        return lines


@contextmanager
def watched() -> Iterator[Watched]:
    """Daemons and their Prometheus; all of it is gone in the end."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        yield Watched(Path(folder), stack)


def trade(peers: list[Daemon], seconds: float) -> None:
    """Have the peers trade with each other, about twenty times a second."""
    rng = random.Random(1)  # a flow that can be repeated
    until = time.monotonic() + seconds
    with ExitStack() as stack:
        clients = [stack.enter_context(peer.client()) for peer in peers]
        while time.monotonic() < until:
            maker, taker = rng.sample(clients, 2)
            price = f"{100 + rng.randrange(-50, 50) / 100:.2f}"
            order = {"market": MARKET, "type": "limit", "price": price, "quantity": "0.01"}
            maker.call("order.place", side="sell", **order)
            time.sleep(0.03)
            taker.call("order.place", side="buy", **order, time_in_force="ioc")
            time.sleep(0.02)
            if rng.random() < 0.01:
                maker.call("order.cancel_all", all_accounts=True)


def pictures(seconds: float) -> tuple[dict[str, str], list[str]]:
    """Each dashboard as SVG, by name, and the titles of panels that have no data."""
    empty = []
    with watched() as daemons:
        trade(daemons.peers, 2 * WARM_S)
        begin = time.time() - WARM_S
        trade(daemons.peers, seconds - WARM_S)
        end = time.time()

        def shown(panel: dict[str, Any]) -> list[Series]:
            lines = daemons.shown(panel, begin, end)
            if not lines:
                empty.append(panel["title"])
            return lines

        drawings = {
            name: drawn(json.loads(file.read_text()), shown) for name, file in DASHBOARDS.items()
        }
    return drawings, empty


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long they trade")
    parser.add_argument("--write", type=Path, help="a folder for dashboard-NAME.svg")
    options = parser.parse_args()
    if not shutil.which("prometheus"):
        raise SystemExit("needs prometheus (apt install prometheus)")
    drawings, empty = pictures(options.seconds)
    for name, drawing in drawings.items():
        if options.write:
            (options.write / f"dashboard-{name}.svg").write_text(drawing)
    if empty:
        raise SystemExit(f"no data for: {', '.join(empty)}")
    print(f"every panel of {', '.join(drawings)} has data")


if __name__ == "__main__":
    main()
