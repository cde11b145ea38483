"""What happens to peers, grapes and the network between them, until all is mended."""

from __future__ import annotations

import heapq
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable

from tests.network.hosts import Host, Network
from tests.soak.daemons import Daemon
from tests.soak.grapes import Grape

__all__ = ["Trouble"]

#: Seconds between two troubles, at random.
EVERY_S = (0.5, 3.0)
#: Nothing lasts longer: lease (20 s) and the silence that ends a link (40 s) run out before.
LONGEST_S = 45.0


class Trouble:
    """
    Kills, freezes, restarts, cuts off and parts, several at a time, and mends each later.

    At most half of the peers are down or frozen at a time, so that the others go on trading.

    Args:
        network: None where there is none to cut.
        longest_s: how long something may last.

    Attributes:
        counts: of what was done.
        died: daemons and grapes that ended by themselves.
    """

    def __init__(
        self,
        daemons: list[Daemon],
        grapes: list[Grape],
        network: Network | None,
        rng: random.Random,
        longest_s: float,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.died: list[str] = []
        self._daemons = daemons
        self._grapes = grapes
        everything: list[Daemon | Grape] = [*daemons, *grapes]
        self._hosts = [each.host for each in everything if each.host is not None]
        self._network = network
        self._rng = rng
        self._longest_s = min(longest_s, LONGEST_S)
        self._afflicted: set[Daemon | Grape] = set()
        self._unplugged: set[Host] = set()
        self._parted = False
        self._deck: list[Callable[[], bool]] = []
        self._numbers = itertools.count()
        self._mends: list[tuple[float, int, Callable[[], None]]] = []

    def run(self, until: float) -> None:
        """Cause trouble until then, and mend everything."""
        next_at = time.monotonic()
        while next_at < until:
            while self._mends and self._mends[0][0] <= next_at:
                when, _, mend = heapq.heappop(self._mends)
                _sleep_until(when)
                mend()
            _sleep_until(next_at)
            self._cause()
            next_at = time.monotonic() + self._rng.uniform(*EVERY_S)
        self.heal()

    def heal(self) -> None:
        """Mend what is not mended yet."""
        while self._mends:
            heapq.heappop(self._mends)[2]()

    def _cause(self) -> None:
        """
        Deal from a shuffled deck, so that short runs see every kind, too.

        What cannot be done now goes below the others, until it can.
        """
        if not self._deck:
            self._deck = [self._kill, self._kill, self._freeze, self._stop, self._kill_grape]
            if self._network is not None:
                self._deck += [self._unplug, self._unplug, self._part]
            self._rng.shuffle(self._deck)
        card = self._deck.pop()
        if not card():
            self._deck.insert(0, card)

    def _later(self, seconds: float, mend: Callable[[], None]) -> None:
        heapq.heappush(self._mends, (time.monotonic() + seconds, next(self._numbers), mend))

    def _some_time(self, usual_s: float) -> float:
        return min(self._longest_s, 0.5 + self._rng.expovariate(1 / usual_s))

    # To processes.

    def _victim(self) -> Daemon | None:
        if len(self._afflicted & set(self._daemons)) >= max(1, len(self._daemons) // 2):
            return None
        return self._sound(self._rng.choice(self._daemons))

    def _sound(self, chosen: Daemon) -> Daemon | None:
        if chosen in self._afflicted:
            return None
        self._afflicted.add(chosen)
        if chosen.died:
            self.died.append(f"{chosen.directory.name} ended by itself; see its daemon.log")
        return chosen

    def _start_again(self, daemon: Daemon | Grape) -> None:
        daemon.start()
        self._afflicted.discard(daemon)

    def _kill(self) -> bool:
        daemon = self._victim()
        if daemon is None:
            return False
        self.counts["kill -9"] += 1
        daemon.kill()
        self._later(self._rng.uniform(0.0, 3.0), lambda: self._start_again(daemon))
        return True

    def _stop(self) -> bool:
        daemon = self._victim()
        if daemon is None:
            return False
        self.counts["restart"] += 1
        daemon.stop()
        self._later(self._rng.uniform(0.0, 3.0), lambda: self._start_again(daemon))
        return True

    def _freeze(self) -> bool:
        daemon = self._victim()
        if daemon is None:
            return False
        self.counts["SIGSTOP"] += 1
        daemon.freeze()

        def thaw() -> None:
            daemon.thaw()
            self._afflicted.discard(daemon)

        self._later(self._some_time(6.0), thaw)
        return True

    def _kill_grape(self) -> bool:
        grape = self._rng.choice(self._grapes)
        if grape in self._afflicted:
            return False
        self._afflicted.add(grape)
        if grape.died:
            self.died.append(f"the grape at {grape.url} ended by itself")
        self.counts["grape kill -9"] += 1
        grape.kill()
        self._later(self._some_time(6.0), lambda: self._start_again(grape))
        return True

    # To the network.

    def _unplug(self) -> bool:
        network = self._network
        host = self._rng.choice(self._hosts)
        if network is None or host in self._unplugged:
            return False
        self._unplugged.add(host)
        self.counts["cable out"] += 1
        network.unplug(host)

        def plug() -> None:
            network.plug(host)
            self._unplugged.discard(host)

        self._later(self._some_time(10.0), plug)
        return True

    def _part(self) -> bool:
        network = self._network
        if network is None or self._parted:
            return False
        side = self._rng.sample(self._hosts, self._rng.randrange(1, len(self._hosts)))
        self._parted = True
        self.counts["partition"] += 1
        network.part(side)

        def join() -> None:
            network.join(side)
            self._parted = False

        self._later(self._some_time(10.0), join)
        return True


def _sleep_until(when: float) -> None:
    time.sleep(max(0.0, when - time.monotonic()))
