"""
What goes wrong, by name. Each fault is mended before it returns.

It returns for how many seconds nobody served, counted from the fault; or from its mending, where
nobody can serve before.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeAlias

from tests.failovers.scene import Scene, until
from tests.failovers.servers import NO_DISKS
from tests.support.roads import POINTS, Point, Road

__all__ = ["FAULTS", "NOT_HERE", "Fault"]

Fault: TypeAlias = Callable[[Scene, random.Random], float]

_POINTS: dict[Point, str] = {
    "before": "before a commit",
    "inside": "inside a commit",
    "sent": "with COMMIT sent",
    "answered": "with COMMIT answered",
    "after": "after a commit",
}


def _killed(point: Point, scene: Scene, rng: random.Random) -> float:
    holder, road = scene.caught(point)
    began = time.monotonic()
    holder.kill()
    road.release(lost=True)
    unserved = scene.unserved(began)
    holder.start()
    return unserved


def _stopped(point: Point, scene: Scene, rng: random.Random) -> float:
    """Frozen, and woken when the other one serves."""
    holder, road = scene.caught(point)
    began = time.monotonic()
    holder.freeze()
    unserved = scene.unserved(began)
    holder.thaw()
    road.release(lost=False)
    return unserved


def _both_killed(scene: Scene, rng: random.Random) -> float:
    """And started at once, so that both claim the term."""
    scene.caught("sent")
    for daemon in scene.daemons:
        daemon.kill()
    for road in scene.roads():
        road.release(lost=True)
    began = time.monotonic()
    for daemon in rng.sample(scene.daemons, 2):
        daemon.start()
    return scene.unserved(began)


def _both_stopped(scene: Scene, rng: random.Random) -> float:
    """And woken at once, when the holder has been silent for long enough, or nearly."""
    for daemon in scene.daemons:
        daemon.freeze()
    time.sleep(rng.uniform(0.5, 3))
    began = time.monotonic()
    for daemon in rng.sample(scene.daemons, 2):
        daemon.thaw()
    return scene.unserved(began)


def _way_gone(
    how: Callable[[Road], None], peers_too: bool, scene: Scene, rng: random.Random
) -> float:
    """The holder does not reach the database any more, until the other one serves."""
    roads = [*scene.database_roads(scene.holder()), *(scene.to_peers if peers_too else ())]
    began = time.monotonic()
    for road in roads:
        how(road)
    unserved = scene.unserved(began)
    _mend(roads)
    return unserved


def _peers_gone(scene: Scene, rng: random.Random) -> float:
    """No peer reaches another. The home goes on by itself."""
    began = time.monotonic()
    for road in scene.to_peers:
        road.block()
    unserved = scene.unserved(began)
    _mend(scene.to_peers)
    return unserved


def _replication_gone(scene: Scene, rng: random.Random) -> float:
    scene.pair.replication.block()
    return _without_standby(scene, time.monotonic(), rng, scene.pair.replication.mend)


def _standby_gone(scene: Scene, rng: random.Random) -> float:
    scene.pair.standby.stop()
    return _without_standby(scene, time.monotonic(), rng, scene.pair.standby.start)


def _without_standby(
    scene: Scene, since: float, rng: random.Random, mend: Callable[[], None]
) -> float:
    """It must stop, and not lie; a commit is given up after 10 s."""
    time.sleep(rng.choice((0.5, 2, 12)))
    scene.nothing_acknowledged(since)
    began = time.monotonic()
    mend()
    return scene.unserved(began)


def _primary_killed(scene: Scene, rng: random.Random) -> float:
    """With a commit in flight."""
    _, road = scene.caught(rng.choice(POINTS))
    return _failed_over(scene, time.monotonic(), [road])


def _wait_cancelled(scene: Scene, rng: random.Random) -> float:
    """A commit that only the primary has; then it is lost."""
    primary, road = scene.pair.primary, scene.pair.replication
    road.block()
    waiting = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    until("a commit waits", lambda: primary.ask(f"SELECT 1 {waiting}"))
    since = time.monotonic()
    primary.ask(
        f"SELECT {rng.choice(('pg_cancel_backend', 'pg_terminate_backend'))}(pid) {waiting}"
    )
    time.sleep(0.2)
    scene.nothing_acknowledged(since)
    return _failed_over(scene, time.monotonic(), [road])


def _two_primaries(scene: Scene, rng: random.Random) -> float:
    """The standby is promoted while the primary lives, and the daemons still reach that."""
    road = scene.pair.replication
    road.block()
    since = time.monotonic()
    time.sleep(rng.uniform(0.2, 2))
    scene.pair.standby.promote()
    time.sleep(rng.uniform(0.2, 2))
    scene.nothing_acknowledged(since)
    return _failed_over(scene, time.monotonic(), [road], promoted=True)


def _failed_over(
    scene: Scene, began: float, roads: Iterable[Road], promoted: bool = False
) -> float:
    pair = scene.pair
    pair.primary.kill()
    for road in roads:
        road.release(lost=False)
        road.mend()
    pair.fail_over(promoted)
    pair.renew()
    return scene.unserved(began)


def _disk_full(scene: Scene, rng: random.Random) -> float:
    scene.pair.fill()
    until("the disk is full", lambda: scene.silent_s() > 1)
    time.sleep(rng.uniform(0, 3))
    began = time.monotonic()
    scene.pair.make_room()
    return scene.unserved(began)


def _mend(roads: Iterable[Road]) -> None:
    for road in roads:
        road.mend()


#: By name.
FAULTS: dict[str, Fault] = {
    **{f"killed {_POINTS[point]}": partial(_killed, point) for point in POINTS},
    **{f"stopped {_POINTS[point]}": partial(_stopped, point) for point in POINTS},
    "both killed": _both_killed,
    "both stopped": _both_stopped,
    "cut from the database": partial(_way_gone, Road.cut, False),
    "database silent": partial(_way_gone, Road.block, False),
    "database and peers silent": partial(_way_gone, Road.block, True),
    "peers silent": _peers_gone,
    "replication silent": _replication_gone,
    "standby gone": _standby_gone,
    "primary killed": _primary_killed,
    "wait cancelled": _wait_cancelled,
    "two primaries": _two_primaries,
    "disk full": _disk_full,
}
#: Those that cannot be tried here, and why.
NOT_HERE: dict[str, str] = {"disk full": NO_DISKS} if NO_DISKS else {}
