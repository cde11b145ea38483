"""
RPC requests a second over HTTP and WebSocket: ours beside Node's, in one run.

    python -m benchmarks.rpc [--requests 20000] [--rounds 3] [--profile http|ws] [--aio]

For each transport a client asks a server in another process, one request at a time and
then with 32 in flight, for the same small payload; both find each other through one
grape of ours. Ours and Node's take turns, so that both see the same machine. As client
and server share its cores, the CPU time both of them spent on one request is given too.
``--profile`` shows where ours goes, client and server in one process. ``--aio`` puts three
clients of ours beside each other, on the plain reactor, in asyncio and on uvloop (where it is
installed), which ask the same server: what asyncio's form costs is the ratio of their CPU times.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.figures import add_option, save
from tests.interop.conftest import cache_folder, install
from tests.interop.node_programs import free_port

IN_FLIGHT = (1, 32)
WARM_UP = 500
GRAPE = [sys.executable, "-c", "from grenache_py.cli import grape; grape()"]
GRAPE += ["-b", "127.0.0.1", "--log-level", "warn"]

PYTHON = """
import cProfile, json, pstats, sys, time
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from grenache_py.link import Link
from grenache_py.rpc import RPCClient, RPCServer

role, transport, grape, *numbers = sys.argv[1:]
link = Link(grape, reactor)

def answer(request):
    return {"msg": "world", "p": request.payload}

async def serve():
    server = RPCServer(link, "py_" + transport, answer, reactor,
                       endpoint="tcp:0:interface=127.0.0.1", transport=transport)
    await server.start()
    await server.when_announced()
    print("ready", flush=True)

async def ask(client, count, in_flight):
    left = count
    async def one_after_the_other():
        nonlocal left
        while left > 0:
            left -= 1
            await client.request("py_" + transport, {"hello": left}, timeout_s=10)
    await gatherResults([Deferred.fromCoroutine(one_after_the_other()) for _ in range(in_flight)])

async def measure(warm_up, count, in_flight):
    client = RPCClient(link, reactor, transport=transport)
    await ask(client, warm_up, in_flight)
    begun, cpu = time.perf_counter(), time.process_time()
    await ask(client, count, in_flight)
    took, cpu = time.perf_counter() - begun, time.process_time() - cpu
    print(json.dumps({"rate": count / took, "cpu_us": cpu / count * 1e6}), flush=True)

async def run():
    if role != "client":
        await serve()
    if role == "server":
        return
    profile = cProfile.Profile()
    if role == "profile":
        profile.enable()
    await measure(*map(int, numbers))
    if role == "profile":
        profile.disable()
        pstats.Stats(profile).sort_stats("tottime").print_stats(22)
    reactor.stop()

def begin():
    Deferred.fromCoroutine(run()).addErrback(lambda failure: failure.printTraceback())

reactor.callWhenRunning(begin)
reactor.run()
"""

AIO = """
import asyncio, json, sys, time
from grenache_py.aio import Link, RPCClient

kind, transport, grape, *numbers = sys.argv[1:]

async def ask(client, count, in_flight):
    left = count
    async def one_after_the_other():
        nonlocal left
        while left > 0:
            left -= 1
            await client.request("py_" + transport, {"hello": left}, timeout_s=10)
    await asyncio.gather(*(one_after_the_other() for _ in range(in_flight)))

async def measure(warm_up, count, in_flight):
    async with Link(grape) as link, RPCClient(link, transport=transport) as client:
        await ask(client, warm_up, in_flight)
        begun, cpu = time.perf_counter(), time.process_time()
        await ask(client, count, in_flight)
        took, cpu = time.perf_counter() - begun, time.process_time() - cpu
        print(json.dumps({"rate": count / took, "cpu_us": cpu / count * 1e6}), flush=True)

if kind == "uvloop":
    import uvloop
    loop = uvloop.new_event_loop()
else:
    loop = asyncio.new_event_loop()
loop.run_until_complete(measure(*map(int, numbers)))
loop.close()
"""

NODE = """
const [role, transport, grape, ...numbers] = process.argv.slice(1)
const Link = require('grenache-nodejs-link')
const { PeerRPCServer, PeerRPCClient } = require('grenache-nodejs-' + transport)
const link = new Link({ grape })
link.start()
const name = 'node_' + transport
if (role === 'server') {
  const port = +numbers[0]
  const peer = new PeerRPCServer(link, { timeout: 300000 })
  peer.init()
  const service = peer.transport('server')
  service.listen(port)
  service.on('request', (rid, key, payload, handler) => {
    handler.reply(null, { msg: 'world', p: payload })
  })
  link.startAnnouncing(name, port, { interval: 20000 }, () => console.log('ready'))
} else {
  const [warmUp, count, inFlight] = numbers.map(Number)
  const peer = new PeerRPCClient(link, {})
  peer.init()
  const ask = (count, done) => {
    let left = count
    let ended = 0
    const one = () => {
      if (left <= 0) { if (++ended === inFlight) done(); return }
      left--
      peer.request(name, { hello: left }, { timeout: 10000 }, (err) => {
        if (err) throw err
        one()
      })
    }
    for (let i = 0; i < inFlight; i++) one()
  }
  ask(warmUp, () => {
    const begun = process.hrtime.bigint()
    const before = process.cpuUsage()
    ask(count, () => {
      const took = Number(process.hrtime.bigint() - begun) / 1e9
      const used = process.cpuUsage(before)
      console.log(JSON.stringify({ rate: count / took, cpu_us: (used.user + used.system) / count }))
      process.exit(0)
    })
  })
}
"""


def argv(program: str, *rest: object) -> tuple[list[str], Path]:
    """The command line of a program, and the folder it runs in."""
    words = [str(word) for word in rest]
    if program == "ours":
        return [sys.executable, "-c", PYTHON, *words], Path.cwd()
    return ["node", "-e", NODE, *words], cache_folder()


def start(program: str, *rest: object) -> subprocess.Popen[str]:
    """Start a server and wait until it is announced."""
    command, folder = argv(program, "server", *rest)
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if process.stdout.readline().strip() != "ready":
        raise RuntimeError(f"the {program} server did not start")
    return process


def ask(program: str, *rest: object) -> dict[str, float]:
    """Run a client; its rate and its CPU time for one request."""
    command, folder = argv(program, "client", *rest)
    return run_client(command, folder)


def run_client(command: list[str], folder: Path) -> dict[str, float]:
    """Run a client and read the figures it prints."""
    done = subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, text=True, timeout=120, check=True
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def cpu_seconds(process: subprocess.Popen[Any]) -> float:
    """User and system time of a process so far (Linux)."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start_grapes() -> tuple[list[subprocess.Popen[bytes]], str]:
    """Two grapes of ours, and the URL of the first."""
    ports = [free_port(), free_port()]
    apis = [free_port(), free_port()]
    grapes = [
        subprocess.Popen(
            [*GRAPE, "--dp", str(port), "--aph", str(api), "--bn", f"127.0.0.1:{other}"]
        )
        for port, other, api in zip(ports, ports[::-1], apis, strict=True)
    ]
    time.sleep(2.0)  # both are up and have met
    return grapes, f"http://127.0.0.1:{apis[0]}"


def compare(programs: list[str], grape: str, requests: int, rounds: int) -> dict[str, float]:
    """Measure in turns, print the medians and their ratios; return these."""
    found: dict[str, float] = {}
    for transport in ("http", "ws"):
        servers = {program: start(program, transport, grape, free_port()) for program in programs}
        try:
            for in_flight in IN_FLIGHT:
                count = requests if in_flight > 1 else requests // 5
                rates: dict[str, list[float]] = {program: [] for program in programs}
                costs: dict[str, list[float]] = {program: [] for program in programs}
                for _ in range(rounds):
                    for program in programs:
                        before = cpu_seconds(servers[program])
                        figures = ask(program, transport, grape, WARM_UP, count, in_flight)
                        spent = cpu_seconds(servers[program]) - before
                        rates[program].append(figures["rate"])
                        costs[program].append(figures["cpu_us"] + spent / (WARM_UP + count) * 1e6)
                line = f"{transport:>4} {in_flight:>2} in flight"
                for program in programs:
                    rate = statistics.median(rates[program])
                    cost = statistics.median(costs[program])
                    print(f"{line} {program:>5}: {rate:>8,.0f} requests/s, {cost:5.0f} us CPU each")
                    found[f"{transport}_{in_flight}_{program}_per_s"] = rate
                if len(programs) == 2:
                    rate = statistics.median(rates["ours"]) / statistics.median(rates["node"])
                    cost = statistics.median(costs["ours"]) / statistics.median(costs["node"])
                    print(f"{line} ratio: {rate:.2f} times the rate, {cost:.2f} of the CPU")
                    found[f"ratio_{transport}_{in_flight}_rate"] = rate
                    found[f"ratio_{transport}_{in_flight}_cpu"] = cost
        finally:
            for server in servers.values():
                server.kill()
                server.wait()
    return found


def compare_loops(grape: str, requests: int, rounds: int) -> dict[str, float]:
    """Measure clients on the plain reactor and in asyncio in turns, print and return their CPU."""
    loops = ["twisted", "asyncio"] + ["uvloop"] * bool(find_spec("uvloop"))
    found: dict[str, float] = {}
    for transport in ("http", "ws"):
        server = start("ours", transport, grape)
        try:
            for in_flight in IN_FLIGHT:
                count = requests if in_flight > 1 else requests // 5
                costs: dict[str, list[float]] = {loop: [] for loop in loops}
                for _ in range(rounds):
                    for loop in loops:
                        rest = [transport, grape, *map(str, (WARM_UP, count, in_flight))]
                        command, folder = argv("ours", "client", *rest)
                        if loop != "twisted":
                            command = [sys.executable, "-c", AIO, loop, *rest]
                        costs[loop].append(run_client(command, folder)["cpu_us"])
                for loop in loops:
                    cost = statistics.median(costs[loop])
                    ratio = cost / statistics.median(costs["twisted"])
                    line = f"{transport:>4} {in_flight:>2} in flight {loop:>7}"
                    print(f"{line}: {cost:5.0f} us CPU of the client each, {ratio:.2f} times")
                    found[f"{transport}_{in_flight}_{loop}_client_cpu_us"] = cost
                    if loop != "twisted":
                        found[f"ratio_{transport}_{in_flight}_{loop}_client_cpu"] = ratio
        finally:
            server.kill()
            server.wait()
    return found


def main() -> None:
    """Read the options, start grapes, measure or profile."""
    options = argparse.ArgumentParser(description="RPC requests a second, beside Node's.")
    options.add_argument("--requests", type=int, default=20_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--profile", choices=["http", "ws"])
    options.add_argument("--aio", action="store_true", help="our clients beside each other")
    add_option(options)
    chosen = options.parse_args()
    grapes, grape = start_grapes()
    try:
        if chosen.profile:
            numbers = [str(WARM_UP), str(chosen.requests), "32"]
            command, folder = argv("ours", "profile", chosen.profile, grape, *numbers)
            subprocess.run(command, cwd=folder, check=True)
            return
        if chosen.aio:
            save(chosen.json, compare_loops(grape, chosen.requests, chosen.rounds))
            return
        programs = ["ours"]
        if shutil.which("npm"):
            install(cache_folder())
            programs.append("node")
        else:
            print("npm is not installed here: no Node programs to compare with")
        print(
            f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, ", end=""
        )
        print(f"Python {platform.python_version()}; {chosen.rounds} rounds, medians")
        save(chosen.json, compare(programs, grape, chosen.requests, chosen.rounds))
    finally:
        for process in grapes:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
