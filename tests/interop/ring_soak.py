"""
A ring of Node grapes and ours whose members are killed and restarted at random.

    python -m tests.interop.ring_soak [--seconds 120] [--seed N]

Services are announced every few seconds, as their Link does, from members that are up.
Whatever was announced to a member that is still up has to be found from every other
member that is up, in less than the 2.5 s a Link waits. The seed is printed first.

Node's grapes spoil some of this for themselves: one that was restarted is a ghost to its
Node neighbours for minutes. So a lookup at a Node grape is counted, and only a lookup at
one of ours has to succeed.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from grenache_py.grape.service import GrapeService
from tests.interop.conftest import cache_folder, install
from tests.interop.node_programs import NodeGrape, Processes, free_port
from tests.support import rings

LINK_TIMEOUT_S = 2.5
ANNOUNCE_EVERY_S = 4.0


class Member:
    """One place in the ring: fixed ports, and a grape that comes and goes."""

    def __init__(self, number: int, kind: str, folder: Path) -> None:
        self.number, self.kind, self._folder = number, kind, folder
        self.dht_port, self.api_port = free_port(), free_port()
        self.grape: GrapeService | NodeGrape | None = None
        self.up_since = 0.0

    async def start(
        self, bootstrap: list[str], processes: Processes, keys: Path, now: float
    ) -> None:
        if self.kind == "ours":
            self.grape = rings.make_grape(
                (self.number, now),
                dht_port=self.dht_port,
                api_port=self.api_port,
                bootstrap=tuple(bootstrap),
                node_id_file=str(keys / f"{self.number}.key"),
            )
            self.grape.startService()
        else:
            grape = NodeGrape(
                self._folder, processes, bootstrap=bootstrap, dht_port=self.dht_port,
                api_port=self.api_port, dht_peer_maxAge=120_000,
            )  # fmt: skip
            self.grape = await grape.started()
        self.up_since = now

    async def kill(self) -> None:
        grape, self.grape = self.grape, None
        if isinstance(grape, GrapeService):
            await grape.stopService()
        elif grape is not None:
            grape.kill()


class Ring:
    """The members, what was announced through which, and how lookups went."""

    def __init__(self, seed: int, size: int, folder: Path, keys: Path) -> None:
        self.rng = random.Random(seed)
        self.members = [Member(i, ("ours", "node")[i % 2], folder) for i in range(size)]
        self.bootstrap = [f"127.0.0.1:{member.dht_port}" for member in self.members]
        self.processes: Processes = []
        self.keys = keys
        self.announced: dict[str, tuple[Member, int]] = {}
        self.counts = {"ours": [0, 0], "node": [0, 0], "announces": [0, 0], "kills": [0, 0]}
        self.slowest_s = 0.0
        self.faults: list[str] = []

    def up(self) -> list[Member]:
        return [member for member in self.members if member.grape is not None]

    async def start(self, member: Member) -> None:
        await member.start(self.bootstrap, self.processes, self.keys, time.monotonic())

    async def announce(self, name: str) -> None:
        """Announce ``name`` where it was, or elsewhere when that member is down."""
        member, port = self.announced.get(name, (None, self.rng.randrange(1024, 65536)))
        if member is None or member.grape is None:
            member = self.rng.choice([m for m in self.up() if m.kind == "ours"])
        try:
            answer = await rings.post(member.api_port, "announce", [name, port], LINK_TIMEOUT_S)
        except AssertionError:
            answer = "no answer in time"
        accepted = isinstance(answer, int) and answer > 0
        self.counts["announces"][accepted] += 1
        if accepted:
            self.announced[name] = (member, port)
        else:
            self.announced.pop(name, None)
            self.faults.append(f"announce at {member.kind} {member.number}: {answer}")

    async def look(self, name: str, member: Member) -> None:
        _, port = self.announced[name]
        started = time.monotonic()
        try:
            found = await rings.post(member.api_port, "lookup", name, LINK_TIMEOUT_S)
        except AssertionError:
            found = ["no answer in time"]
        took_s = time.monotonic() - started
        good = f"127.0.0.1:{port}" in found
        self.counts[member.kind][good] += 1
        if member.kind == "ours":
            self.slowest_s = max(self.slowest_s, took_s)
            if not good:
                self.faults.append(f"lookup of {name} at {member.number}: {found} without {port}")

    async def run(self, seconds: float, names: int) -> None:
        """Kill, restart, announce and look up for ``seconds``; faults are left in `faults`."""
        for member in self.members:
            await self.start(member)
        await rings.sleep(0.5)
        services = rings.names("soak", names)
        end = time.monotonic() + seconds
        next_announce = 0.0
        try:
            while time.monotonic() < end:
                if time.monotonic() >= next_announce:
                    for name in services:
                        await self.announce(name)
                    next_announce = time.monotonic() + ANNOUNCE_EVERY_S
                await self._look_everywhere(services)
                await self._trouble()
        finally:
            for member in self.up():
                await member.kill()
            for process in self.processes:
                process.kill()
                process.communicate()

    async def _look_everywhere(self, services: Sequence[str]) -> None:
        """Look up every service at all of ours, and one at a Node grape, which takes its time."""
        known = [
            name
            for name in services
            if name in self.announced and self.announced[name][0].grape is not None
        ]
        for member in self.up():
            if member.kind == "ours":
                for name in known:
                    await self.look(name, member)
        nodes = [member for member in self.up() if member.kind == "node"]
        if known and nodes:
            await self.look(self.rng.choice(known), self.rng.choice(nodes))

    async def _trouble(self) -> None:
        victim = self.rng.choice(self.members)
        if victim.grape is None:
            await self.start(victim)
        elif len(self.up()) > len(self.members) // 2 + 1:
            # One of ours stays, to announce through.
            if victim.kind == "node" or sum(m.kind == "ours" for m in self.up()) > 1:
                self.counts["kills"][1] += 1
                await victim.kill()
                # What was announced there alone is told again elsewhere, as a Link would.
                for name, (member, _) in list(self.announced.items()):
                    if member is victim:
                        await self.announce(name)
        await rings.sleep(0.05)

    def report(self) -> str:
        """One line of figures."""
        figures = ", ".join(
            f"{what} {good}/{good + bad}" for what, (bad, good) in self.counts.items()
        )
        return f"{figures}, slowest lookup at ours {self.slowest_s * 1000:.0f} ms"


async def soak(seed: int, seconds: float, keys: Path, size: int = 6, names: int = 10) -> Ring:
    """Run a ring and return it for its figures and faults."""
    folder = cache_folder()
    install(folder)
    ring = Ring(seed, size, folder, keys)
    await ring.run(seconds, names)
    return ring


def main(reactor: Any, *argv: str) -> Deferred[None]:
    """Read the command line and run."""
    import tempfile

    options = argparse.ArgumentParser(description="Kill and restart members of a mixed ring.")
    options.add_argument("--seconds", type=float, default=120)
    options.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    chosen = options.parse_args(argv)
    print(f"seed {chosen.seed}", flush=True)

    async def run() -> None:
        with tempfile.TemporaryDirectory() as keys:
            ring = await soak(chosen.seed, chosen.seconds, Path(keys))
        print(ring.report())
        for fault in ring.faults:
            print(fault)
        if ring.faults:
            raise SystemExit(1)

    return Deferred.fromCoroutine(run())


if __name__ == "__main__":
    react(main, sys.argv[1:])
