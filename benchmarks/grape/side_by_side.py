"""
Every figure of a grape beside the Node grape's, in one run.

    python -m benchmarks.grape.side_by_side [--rounds 5] [--seconds 2] [--write FILE]

Three grapes of each program run side by side on loopback; only one ring has work at a
time, and the programs take turns, so that whatever else the machine does hits both: the
ratio is taken turn by turn, and the median of those is shown beside the worst and the
best. A first turn, in which Node compiles, does not count. The load comes from ``wrk``
(one thread, 32 connections), or from a plain client in Python where there is none: slower,
but the same for both. Beside each rate stands the CPU time of the grape that is asked, per
request: on a busy machine that is the steadier figure.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import attrs

from benchmarks.dht.krpc import IN_FLIGHT, NAME, Client, cpu_seconds, query, resident_mb
from benchmarks.dht.krpc import start as start_alone
from benchmarks.figures import add_option, save
from benchmarks.udp_client import answers_a_second
from tests.interop.conftest import cache_folder, install
from tests.interop.node_programs import free_port

CONNECTIONS = 32
GRAPES = 3
RING_SIZE, RING_SERVICES = 100, 200
MAIN = "import sys; from grenache_py.grape.tap import main; sys.exit(main(sys.argv[1:]))"
WORK: dict[str, tuple[str, Callable[[int], object], str]] = {
    # what: path, data of request n, the same in Lua
    "hot lookup": ("/lookup", lambda n: "rpc_test", "'\"rpc_test\"'"),
    "distinct lookups": (
        "/lookup",
        lambda n: f"svc_{n % 1000}",
        "'\"svc_'..(n % 1000)..'\"'",
    ),
    "announces": (
        "/announce",
        lambda n: [f"svc_{n % 1000}", 2000 + n % 1000],
        "'[\"svc_'..(n % 1000)..'\",'..(2000 + n % 1000)..']'",
    ),
    "puts": ("/put", lambda n: {"v": f"value {n}"}, "'{\"v\":\"value '..n..'\"}'"),
}


@attrs.frozen
class Row:
    """One figure: ours, Node's, and how many times better ours was, turn by turn."""

    what: str
    ours: str
    node: str
    ratios: list[float]
    cpu_ratio: float | None = None


def turn_by_turn(what: str, rates: dict[str, list[float]], costs: dict[str, list[float]]) -> Row:
    """The row of a work, from what each turn gave: rates a second, CPU microseconds."""
    rate = {program: statistics.median(each) for program, each in rates.items()}
    cost = {program: statistics.median(each) for program, each in costs.items()}
    shown = {program: f"{rate[program]:,.0f}/s, {cost[program]:.0f} us" for program in rates}
    ratios = [ours / node for ours, node in zip(rates["ours"], rates["node"], strict=True)]
    return Row(what, shown["ours"], shown["node"], ratios, cost["node"] / cost["ours"])


class Ring:
    """Three grapes of one program; the first one is asked."""

    def __init__(self, program: str) -> None:
        self.program = program
        dht = [free_port() for _ in range(GRAPES)]
        self.ports = [free_port() for _ in range(GRAPES)]
        self.processes = []
        for index in range(GRAPES):
            others = ",".join(f"127.0.0.1:{port}" for port in dht if port != dht[index])
            options = ["--dp", str(dht[index]), "--aph", str(self.ports[index])]
            options += ["--bn", others, "-b", "127.0.0.1"]
            if program == "ours":
                argv, cwd = [sys.executable, "-c", MAIN, *options], None
            else:
                argv = ["node", "node_modules/grenache-grape/bin/grape.js", *options]
                cwd = cache_folder()
            self.processes.append(subprocess.Popen(argv, cwd=cwd, stderr=subprocess.DEVNULL))

    def post(self, grape: int, path: str, data: object) -> object:
        """Ask one grape one thing."""
        body = json.dumps({"rid": "r", "data": data}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.ports[grape]}{path}", body)
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.loads(answer.read())

    def settle(self) -> None:
        """Wait until an announce at the last is accepted by all others, and found at the first."""
        for _ in range(100):
            try:
                if self.post(GRAPES - 1, "/announce", ["rpc_test", 1337]) == GRAPES - 1:
                    break
            except OSError:
                pass
            time.sleep(0.2)
        assert self.post(0, "/lookup", "rpc_test") == ["127.0.0.1:1337"]

    def close(self) -> None:
        """End it."""
        for process in self.processes:
            process.kill()
            process.wait()


def wrk(port: int, what: str, seconds: int) -> tuple[float, int]:
    """Requests a second and requests, from ``wrk``."""
    path, _, data = WORK[what]
    script = f"""
local n = 0
request = function()
  n = n + 1
  return wrk.format("POST", "{path}", {{["Content-Type"] = "application/json"}},
    '{{"rid":"a","data":'..{data}..'}}')
end
"""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s"]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        done = subprocess.run(
            [*command, file.name, f"http://127.0.0.1:{port}{path}"],
            capture_output=True,
            text=True,
            check=True,
        )
    assert "Non-2xx" not in done.stdout, done.stdout
    rate = re.search(r"Requests/sec: +([\d.]+)", done.stdout)
    count = re.search(r"(\d+) requests in", done.stdout)
    assert rate is not None
    assert count is not None
    return float(rate[1]), int(count[1])


def plain_client(port: int, what: str, seconds: int) -> tuple[float, int]:
    """The same from a client in Python, for where there is no ``wrk``."""
    path, data, _ = WORK[what]
    selector = selectors.DefaultSelector()
    count = 0

    def send(connection: socket.socket) -> None:
        body = json.dumps({"rid": "a", "data": data(count)}).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)

    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
    started = time.perf_counter()
    for connection in connections:
        selector.register(connection, selectors.EVENT_READ)
        send(connection)
    while time.perf_counter() < started + seconds:
        for key, _ in selector.select(1.0):
            connection = key.fileobj  # type: ignore[assignment]
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
            count += 1
            send(connection)
    took = time.perf_counter() - started
    for connection in connections:
        connection.close()
    return count / took, count


def http_rows(rounds: int, seconds: int) -> list[Row]:
    """The four kinds of requests over HTTP, and the memory of an idle grape."""
    load = wrk if shutil.which("wrk") else plain_client
    rings = {program: Ring(program) for program in ("ours", "node")}
    rates: dict[tuple[str, str], list[float]] = {}
    costs: dict[tuple[str, str], list[float]] = {}
    try:
        for ring in rings.values():
            ring.settle()
        time.sleep(1.0)
        memory = {name: resident_mb(ring.processes[0]) for name, ring in rings.items()}  # type: ignore[arg-type]
        for turn in range(rounds + 1):
            for what in WORK:
                for program, ring in rings.items():
                    before = cpu_seconds(ring.processes[0])  # type: ignore[arg-type]
                    rate, count = load(ring.ports[0], what, seconds)
                    spent = cpu_seconds(ring.processes[0]) - before  # type: ignore[arg-type]
                    if turn == 0:
                        continue
                    rates.setdefault((what, program), []).append(rate)
                    costs.setdefault((what, program), []).append(spent / count * 1e6)
    finally:
        for ring in rings.values():
            ring.close()
    rows = [
        turn_by_turn(
            f"{what} over HTTP",
            {program: rates[what, program] for program in rings},
            {program: costs[what, program] for program in rings},
        )
        for what in WORK
    ]
    shown = {p: f"{memory[p]:.0f} MB" for p in rings}
    ratio = memory["node"] / memory["ours"]
    rows.append(Row("memory, idle", shown["ours"], shown["node"], [ratio]))
    return rows


def krpc_row(rounds: int, seconds: int) -> Row:
    """KRPC answers a second from one node."""
    ports = {program: free_port() for program in ("ours", "node")}
    servers = {program: start_alone(program, port) for program, port in ports.items()}
    rates: dict[str, list[float]] = {program: [] for program in ports}
    costs: dict[str, list[float]] = {program: [] for program in ports}
    question = query(b"get_peers", b"9:info_hash%d:%b" % (len(NAME), NAME), b"zz")
    try:
        for port in ports.values():
            Client(port).announce()
        for turn in range(rounds + 1):
            for program, port in ports.items():
                before = cpu_seconds(servers[program])
                answers, took = answers_a_second(port, question, IN_FLIGHT, seconds)
                if turn == 0:
                    continue
                rates[program].append(answers / took)
                costs[program].append((cpu_seconds(servers[program]) - before) / answers * 1e6)
    finally:
        for server in servers.values():
            server.kill()
            server.wait()
    return turn_by_turn("KRPC get_peers answers", rates, costs)


def ring_rows(rounds: int) -> list[Row]:
    """A hundred grapes in one process."""
    size = [str(RING_SIZE), str(RING_SERVICES)]
    commands = {
        "ours": ([sys.executable, "-m", "benchmarks.grape.ring", *size], None),
        "node": (["node", "ring.js", *size], cache_folder()),
    }
    runs: dict[str, list[dict[str, float]]] = {"ours": [], "node": []}
    for number in range(rounds):
        for program, (argv, cwd) in commands.items():
            # Node takes its ports in a row; these are below those the system gives away.
            more = [] if cwd is None else [str(10_000 + 300 * number)]
            done = subprocess.run(
                [*argv, *more], cwd=cwd, capture_output=True, text=True, check=True, timeout=120
            )
            runs[program].append(json.loads(done.stdout))
    rows = []
    for key, what, unit in (
        ("ready_ms", "all ready", "ms"),
        ("announce_ms", "announce", "ms"),
        ("lookup_p50_ms", "lookup p50", "ms"),
        ("lookup_p99_ms", "lookup p99", "ms"),
        ("rss_mb", "memory", "MB"),
    ):
        figure = {p: statistics.median(run[key] for run in runs[p]) for p in runs}
        shown = {p: f"{figure[p]:.1f} {unit}" for p in runs}
        ratios = [theirs[key] / ours[key] for ours, theirs in zip(*runs.values(), strict=True)]
        rows.append(Row(f"{RING_SIZE} grapes: {what}", shown["ours"], shown["node"], ratios))
    for key in ("announced", "found"):
        lost = {p: min(run[key] for run in runs[p]) for p in runs}
        assert lost["ours"] == RING_SERVICES, f"ours {key} {lost['ours']} of {RING_SERVICES}"
    return rows


def table(rows: list[Row]) -> str:
    """The rows as an RST table."""
    cells = [("", "ours", "Node", "times better", "worst to best", "by CPU time")]
    cells += [
        (
            row.what,
            row.ours,
            row.node,
            f"{statistics.median(row.ratios):.2f}",
            f"{min(row.ratios):.2f} to {max(row.ratios):.2f}" if len(row.ratios) > 1 else "",
            "" if row.cpu_ratio is None else f"{row.cpu_ratio:.2f}",
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    rule = "  ".join("=" * width for width in widths)
    lines = [
        "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in cells
    ]
    # An RST simple table needs something in the first column.
    lines[0] = "\\" + lines[0][1:]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])


def machine() -> str:
    """What the figures were taken on."""
    name = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            name = line.partition(": ")[2]
            break
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)
    return (
        f"{os.cpu_count()} cores of {name}, Linux {platform.release()}, load "
        f"{os.getloadavg()[0]:.1f} at the start; Python {platform.python_version()}, "
        f"Node {node.stdout.strip()}, grenache-grape 1.0.0; load from "
        f"{'wrk' if shutil.which('wrk') else 'a client in Python'}, {CONNECTIONS} connections"
    )


def main() -> None:
    """Measure everything and print it; write it into the document when asked to."""
    options = argparse.ArgumentParser(description="A grape's figures beside the Node grape's.")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=int, default=2)
    options.add_argument("--write", type=Path, help="put the table into this RST file")
    add_option(options)
    chosen = options.parse_args()
    if shutil.which("npm") is None:
        raise SystemExit("npm is not installed here, so there is no Node grape to compare with")
    install(cache_folder())
    if not shutil.which("wrk"):
        print("wrk is not installed (Debian package wrk): the load comes from Python")
    where = machine()
    print(where, flush=True)
    rows = http_rows(chosen.rounds, chosen.seconds)
    rows.append(krpc_row(chosen.rounds, chosen.seconds))
    rows += ring_rows(chosen.rounds)
    text = table(rows)
    print(text)
    save(
        chosen.json,
        {
            "ratio_" + re.sub(r"\W+", "_", row.what.lower()): statistics.median(row.ratios)
            for row in rows
        },
    )
    if chosen.write is not None:
        begin, end = ".. measured", ".. end of what was measured"
        before, _, rest = chosen.write.read_text().partition(begin)
        after = rest.partition(end)[2]
        date = time.strftime("%Y-%m-%d")
        chosen.write.write_text(
            f"{before}{begin}\n\nMeasured {date} on {where};\nmedians of {chosen.rounds} turns "
            f"of {chosen.seconds} s.\n\n{text}\n\n{end}{after}"
        )


if __name__ == "__main__":
    main()
