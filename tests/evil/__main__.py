"""
Real daemons under attack by somebody who has nothing but sockets (``make evil``).

    python -m tests.evil [--seconds 30] [--cpu] [ATTACK ...]

A victim with a client, an HTTP and a peer port, and an honest peer that is linked with it. An
honest client places orders at the victim, first in peace and then under each attack. A row holds if

- the 99th percentile of ``order.place`` is at most 3 times that in peace;
- every order was answered, and the link of the two honest peers stood all the time;
- under attacks on the peer port, an honest peer that comes meanwhile gets its link;
- the victim's memory grew by at most 100 MiB;
- what the attack was for did not happen: no order of a web page, few guesses a second.

Prints a table; ends with 1 when a row fails. ``--cpu`` counts the processor time that the victim
spends between an order and its answer instead of the time that passes: it means the same where
other programs are busy too.
"""

from __future__ import annotations

import argparse
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs

from grenache_py.trading import Refused
from tests.evil.attacks import ATTACKS, MARKER
from tests.soak.daemons import MARKET, ROOT, Daemon, wait_for
from tests.support.wire_client import AWAY, WireClient

RATIO_MAX = 3.0
#: Fewer orders say little of a 99th percentile.
ORDERS_MIN = 500
MEMORY_GROWTH_MIB_MAX = 100.0
#: Tokens that are looked at, all connections of one address together: at first, and each second.
GUESSES_BURST, GUESSES_PER_S = 70, 2.0
#: How long an honest newcomer may look for its link.
LINK_S = 25.0
TOKEN = "an honest client's token"


@attrs.frozen
class Row:
    """
    What one attack did.

    Attributes:
        faults: why the row does not hold, but for the time that orders took.
    """

    attack: str
    orders: int
    p99_ms: float
    ratio: float
    grown_mib: float
    faults: tuple[str, ...]

    @property
    def wrong(self) -> list[str]:
        """All that does not hold."""
        slow = self.ratio > RATIO_MAX
        return [*self.faults, *([f"p99 above {RATIO_MAX:g} times that in peace"] if slow else [])]

    def __str__(self) -> str:
        verdict = "FAILED: " + "; ".join(self.wrong) if self.wrong else "holds"
        return (
            f"{self.attack:<16}{self.orders:>8}{self.p99_ms:>10.1f}{self.ratio:>8.1f}"
            f"{self.grown_mib:>10.0f}  {verdict}"
        )


HEADING = f"{'attack':<16}{'orders':>8}{'p99 ms':>10}{'ratio':>8}{'MiB more':>10}"
#: Linux's name of the clock of another process: the bits of its id turned round, and which clock.
CPU_CLOCK = 2


def free_port() -> int:
    """A free port below those that the kernel gives to the attackers' own ends."""
    while True:
        port = random.randrange(15_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


class Victim(Daemon):
    """A daemon with all its ports, and the honest peer beside it."""

    def __init__(self, directory: Path, guarded: bool) -> None:
        self.client_port, self.http_port = free_port(), free_port()
        options = [
            *("--client", f"tcp:{self.client_port}:interface=127.0.0.1"),
            *("--http", f"tcp:{self.http_port}:interface=127.0.0.1"),
        ]
        if guarded:
            directory.mkdir(parents=True)
            tokens = directory / "tokens.toml"
            tokens.write_text(
                f'[[token]]\ntoken = "{TOKEN}"\nscopes = ["admin", "trade", "read"]\n'
            )
            tokens.chmod(0o600)
            options += ["--tokens", str(tokens)]
        super().__init__(directory, *options)
        self.address = f"127.0.0.1:{free_port()}"
        self._guarded = guarded

    def client(self) -> WireClient:
        return WireClient(self.socket, TOKEN if self._guarded else None)

    def attack(self, name: str) -> subprocess.Popen[str]:
        """Begin an attack; whoever calls ends the process."""
        command = [sys.executable, "-m", "tests.evil.attacks", name]
        for port, number in (
            ("client", self.client_port),
            ("http", self.http_port),
            ("peer", int(self.address.rpartition(":")[2])),
        ):
            command += [f"--{port}", str(number)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    def cpu(self) -> float:
        """The processor time of all its threads, in seconds."""
        assert self.process is not None
        return time.clock_gettime(~self.process.pid << 3 | CPU_CLOCK)

    def memory_mib(self) -> float:
        """The most memory it ever had."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024


class Newcomer(Daemon):
    """An honest peer that comes meanwhile. It has a machine of its own, so to speak."""

    def start(self) -> None:
        super().start()
        assert self.process is not None
        os.setpriority(os.PRIO_PROCESS, self.process.pid, 10)  # as the attackers


def p99(taken: list[float]) -> float:
    """In milliseconds; infinite when there is none."""
    if not taken:
        return float("inf")
    return 1000 * sorted(taken)[min(len(taken) - 1, int(len(taken) * 0.99))]


def linked(victim: Victim, other: Daemon) -> bool:
    """Whether the two have a link that both use."""
    try:
        return victim.status()["links"] >= 1 and other.status()["links"] >= 1
    except (*AWAY, Refused):
        return False


class Scene:
    """A victim, an honest peer that is linked with it, and an honest client; ended on exit."""

    def __init__(
        self, directory: Path, guarded: bool = False, cpu: bool = False, orders_min: int = 0
    ) -> None:
        self.directory = directory
        self._orders_min = orders_min
        self.victim = Victim(directory / "victim", guarded)
        self._clock = self.victim.cpu if cpu else time.monotonic
        self._honest = Daemon(directory / "honest", "--connect", self.victim.address)
        self._honest.address = f"127.0.0.1:{free_port()}"
        self._stack = ExitStack()

    def __enter__(self) -> Scene:
        with ExitStack() as stack:
            for daemon in (self.victim, self._honest):
                stack.callback(daemon.kill)
                daemon.start()
            self.victim.wait()
            self._honest.wait()
            wait_for("the honest peers have a link", 40, lambda: linked(self.victim, self._honest))
            self.client = stack.enter_context(self.victim.client())
            self.place(1.0, 0)  # the first orders make tables and caches
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def place(self, seconds: float, number: int) -> list[float]:
        """
        Place orders one after the other, a few levels deep; the seconds each took.

        Longer than ``seconds``, but not ten times, while there are few: of a hundred the 99th
        percentile is the slowest.
        """
        taken: list[float] = []
        first = time.monotonic()
        while (lasted := time.monotonic() - first) < seconds or (
            len(taken) < self._orders_min and lasted < 10 * seconds
        ):
            began = self._clock()
            price = str(50 + (number + len(taken)) % 40)
            self.client.call("order.place", market=MARKET, side="buy", quantity="1", price=price)
            taken.append(self._clock() - began)
        return taken

    def attacked(self, name: str, seconds: float, peace: list[float]) -> Row:
        """The honest client places orders under an attack; ``peace``: how long they took before."""
        victim, on_peers = self.victim, ATTACKS[name].port == "peer"
        # Those of the attack before, and of its newcomer, may take a moment to go.
        wait_for("no links but the honest one", LINK_S, lambda: len(_link_of(victim)) == 1)
        before, links = victim.memory_mib(), _link_of(victim)
        newcomer = Newcomer(self.directory / f"newcomer-{name}", "--connect", victim.address)
        newcomer.address = f"127.0.0.1:{free_port()}"
        faults: list[str] = []
        taken: list[float] = []
        evil = victim.attack(name)
        try:
            assert evil.stdout is not None
            evil.stdout.readline()  # it has begun
            began = time.monotonic()
            if on_peers:
                newcomer.start()
            taken = self.place(seconds, 2)
            if on_peers:
                newcomer.wait()
                wait_for("a link", LINK_S, lambda: newcomer.status()["links"] >= 1)
        except (*AWAY, Refused) as error:
            faults.append(f"an order was not placed: {error}")
        except SystemExit:
            faults.append("an honest newcomer gets no link")
        finally:
            lasted = time.monotonic() - began
            evil.kill()
            newcomer.kill()
            evil.wait()
        evil.stdout.close()
        faults += _state(victim, links, lasted)
        grown = 0.0 if victim.died else victim.memory_mib() - before
        if grown > MEMORY_GROWTH_MIB_MAX:
            faults.append(f"more than {MEMORY_GROWTH_MIB_MAX:.0f} MiB")
        now, was = p99(taken), p99(peace)
        return Row(name, len(taken), now, now / was, grown, tuple(faults))


def _link_of(victim: Victim) -> tuple[Any, ...]:
    """The ready links: who, and which connection."""
    with victim.client() as client:
        return tuple(
            (p["peer"], p["address"]) for p in client.call("peers.list")["peers"] if p["ready"]
        )


def _state(victim: Victim, links: tuple[Any, ...], lasted: float) -> list[str]:
    """What is wrong with the victim after an attack of ``lasted`` seconds."""
    if victim.died:
        return ["the daemon died"]
    faults = []
    try:
        if not set(links) <= set(_link_of(victim)):
            faults.append("the honest link broke")
        with victim.client() as client:
            try:
                client.call("order.get", client_order_id=MARKER)
                faults.append("a web page placed an order")
            except Refused:
                pass
        wrong = victim.status()["tokens"]["wrong"]
        if wrong > GUESSES_BURST + GUESSES_PER_S * lasted:
            faults.append(f"{wrong} guesses of tokens were looked at")
    except AWAY:
        faults.append("no new client is served")
    return faults


def main(arguments: list[str]) -> int:
    """Run the attacks that are named, or all."""
    options = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    options.add_argument("attack", nargs="*", choices=[[], *ATTACKS], metavar="ATTACK")
    options.add_argument("--seconds", type=float, default=30.0)
    options.add_argument("--cpu", action="store_true", help="count processor time")
    chosen = options.parse_args(arguments)
    print(HEADING, flush=True)
    failed = 0
    for name in chosen.attack or ATTACKS:
        guarded = name == "guesses"
        with (
            tempfile.TemporaryDirectory(prefix="evil-") as place_of,
            Scene(Path(place_of), guarded, chosen.cpu, ORDERS_MIN) as scene,
        ):
            peace = scene.place(chosen.seconds, 1)
            row = scene.attacked(name, chosen.seconds, peace)
        print(row, flush=True)
        failed += bool(row.wrong)
    print(f"{failed} rows failed" if failed else "all rows hold")
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
