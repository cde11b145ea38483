"""
KRPC ``get_peers`` answers a second: our node beside the Node grape, in one run.

    python -m benchmarks.dht.krpc [--seconds 3] [--rounds 3] [--profile]

One UDP client keeps 64 queries in flight to a node in a process of its own, in turns to
each program, for a name with one peer and for one with none. As the client and whatever
else runs share the machine, the CPU time of the server process for one answer is given
too: it is what the server alone would be limited by. ``--profile`` shows where ours goes.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tests.interop.conftest import cache_folder, install
from tests.interop.node_programs import free_port

IN_FLIGHT = 64
ID = b"abcdefghij0123456789"
NAME = b"rest:util:net"

SERVER = """
import random, sys
from pathlib import Path
from twisted.internet import reactor
from grenache_py.dht.config import DHTConfig
from grenache_py.dht.service import DHTService
service = DHTService(reactor, random.SystemRandom(), config=DHTConfig(),
                     port=int(sys.argv[1]), interface="127.0.0.1")
reactor.callWhenRunning(service.startService)
if len(sys.argv) > 2:
    import cProfile, pstats
    reactor.callLater(float(sys.argv[2]), reactor.stop)
    profile = cProfile.Profile()
    profile.runcall(reactor.run)
    pstats.Stats(profile).sort_stats("tottime").print_stats(16)
else:
    reactor.run()
"""


def query(method: bytes, args: bytes, txid: bytes) -> bytes:
    """A KRPC query of ours to the server under test."""
    return b"d1:ad2:id20:%b%be1:q%d:%b1:t2:%b1:y1:qe" % (ID, args, len(method), method, txid)


class Client:
    """A UDP socket that asks one server as fast as it answers."""

    def __init__(self, port: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(("127.0.0.1", port))
        self.socket.settimeout(1.0)

    def ask(self, method: bytes, args: bytes, txid: bytes) -> bytes:
        """Ask one thing; its answer. Pings of the server are passed over."""
        self.socket.send(query(method, args, txid))
        while True:
            data = self.socket.recv(65535)
            if b"1:t2:%b1:y1:r" % txid in data:
                return data

    def announce(self) -> None:
        """Give the name a peer."""
        name = b"9:info_hash%d:%b" % (len(NAME), NAME)
        answer = self.ask(b"get_peers", name, b"aa")
        start = answer.index(b"5:token20:")
        rest = b"4:porti1337e" + answer[start : start + 30]
        self.ask(b"announce_peer", b"12:implied_porti0e" + name + rest, b"ab")

    def answers_a_second(self, name: bytes, seconds: float) -> tuple[int, float]:
        """Answers, and the seconds they took."""
        datagram = query(b"get_peers", b"9:info_hash%d:%b" % (len(name), name), b"zz")
        send, recv, answers = self.socket.send, self.socket.recv, 0
        for _ in range(IN_FLIGHT):
            send(datagram)
        started = time.perf_counter()
        while time.perf_counter() < started + seconds:
            for _ in range(500):
                try:
                    recv(2048)
                except TimeoutError:
                    for _ in range(IN_FLIGHT):
                        send(datagram)
                    continue
                send(datagram)
                answers += 1
        took = time.perf_counter() - started
        self.socket.settimeout(0.2)
        while True:  # what is still in flight
            try:
                recv(2048)
            except TimeoutError:
                break
        self.socket.settimeout(1.0)
        return answers, took


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    """User and system time of a process so far (Linux)."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(process: subprocess.Popen[bytes]) -> float:
    """Resident memory of a process (Linux)."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1000


def start(program: str, port: int) -> subprocess.Popen[bytes]:
    """Start a server and wait until it answers."""
    if program == "ours":
        process = subprocess.Popen([sys.executable, "-c", SERVER, str(port)])
    else:
        argv = ["node", "node_modules/grenache-grape/bin/grape.js", "--bn", ""]
        argv += ["--dp", str(port), "--aph", str(free_port()), "-b", "127.0.0.1"]
        process = subprocess.Popen(argv, cwd=cache_folder())
    client = Client(port)
    for _ in range(100):
        try:
            client.ask(b"ping", b"", b"pp")
        except OSError:
            time.sleep(0.1)
        else:
            return process
    raise RuntimeError(f"the {program} server does not answer")


def main() -> None:
    """Measure in turns, print the medians and their ratio."""
    options = argparse.ArgumentParser(description="KRPC answers a second, beside Node's.")
    options.add_argument("--seconds", type=float, default=3.0)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--profile", action="store_true")
    chosen = options.parse_args()
    if chosen.profile:
        port = free_port()
        process = subprocess.Popen([sys.executable, "-c", SERVER, str(port), str(chosen.seconds)])
        time.sleep(1.5)
        client = Client(port)
        client.announce()
        client.answers_a_second(NAME, max(chosen.seconds - 3.0, 1.0))
        process.wait()
        return
    programs = ["ours"]
    if shutil.which("npm"):
        install(cache_folder())
        programs.append("node")
    else:
        print("npm is not installed here: no Node grape to compare with")
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load", end=" ")
    print(f"{os.getloadavg()[0]:.1f}; Python {platform.python_version()}", end="")
    if "node" in programs:
        version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)
        print(f", Node {version.stdout.strip()}", end="")
    print(f"; {IN_FLIGHT} in flight, {chosen.rounds} rounds of {chosen.seconds:g} s, medians")
    ports = {program: free_port() for program in programs}
    servers = {program: start(program, ports[program]) for program in programs}
    try:
        rates: dict[tuple[str, str], list[float]] = {}
        costs: dict[tuple[str, str], list[float]] = {}
        for program in programs:
            Client(ports[program]).announce()
        for _ in range(chosen.rounds):
            for program in programs:
                for what, name in (("one peer", NAME), ("none", b"nobody")):
                    before = cpu_seconds(servers[program])
                    client = Client(ports[program])
                    answers, took = client.answers_a_second(name, chosen.seconds)
                    spent = cpu_seconds(servers[program]) - before
                    rates.setdefault((program, what), []).append(answers / took)
                    costs.setdefault((program, what), []).append(spent / answers * 1e6)
        for what in ("one peer", "none"):
            for program in programs:
                rate = statistics.median(rates[program, what])
                cost = statistics.median(costs[program, what])
                print(f"{what:>9} {program:>5}: {rate:>8,.0f} answers/s, {cost:5.1f} us CPU each")
            if "node" in programs:
                rate = statistics.median(rates["ours", what]) / statistics.median(
                    rates["node", what]
                )
                cost = statistics.median(costs["node", what]) / statistics.median(
                    costs["ours", what]
                )
                print(f"{what:>9} ratio: {rate:.2f} times the rate, 1/{cost:.2f} of the CPU")
        for program in programs:
            print(f"resident {program:>5}: {resident_mb(servers[program]):.0f} MB")
    finally:
        for server in servers.values():
            server.kill()
            server.wait()


if __name__ == "__main__":
    main()
