"""
Each of the ten rules of docs/design/standby.rst, switched off: the simulator must notice.

    python -m tests.sim.exchange.standby_ablations

tells how many seeds each takes, from five places, and what is found.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest import mock

import attrs

from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.peers.term_claims import TermClaims
from grenache_py.exchange.signed_log.hybrid_clock import HybridClock
from grenache_py.exchange.standby.role import STEP_S, DaemonRole
from grenache_py.exchange.standby.role_states import RoleEvent
from grenache_py.exchange.standby.term import Sight
from tests.sim.exchange.invariants import Violation
from tests.sim.exchange.standby import Member, StandbyWorld, run_standby

__all__ = ["STANDBY_ABLATIONS", "StandbyAblation", "seeds_until_noticed"]


@attrs.frozen
class StandbyAblation:
    """
    One rule off.

    Attributes:
        rule: its number.
        seeds: within so many a violation must be found.
        finds: with what it must begin.
        kinds: of trouble that show it.
        patches: what is replaced: (class, name, replacement).
        prepare: what to change of the world before it runs.
        faults: kinds of the other homes' world.
    """

    rule: int
    name: str
    seeds: int
    finds: tuple[str, ...]
    kinds: tuple[str, ...]
    patches: tuple[tuple[Any, str, Any], ...] = ()
    prepare: Callable[[StandbyWorld], None] | None = None
    faults: tuple[str, ...] = ()


def _members(world: StandbyWorld) -> list[Member]:
    return [member for group in world.groups for member in group]


def _of_members(**settings: Any) -> Callable[[StandbyWorld], None]:
    def prepare(world: StandbyWorld) -> None:
        for member in _members(world):
            for name, value in settings.items():
                setattr(member, name, value)

    return prepare


def _of_databases(**settings: Any) -> Callable[[StandbyWorld], None]:
    def prepare(world: StandbyWorld) -> None:
        for group in world.groups:
            for name, value in settings.items():
                setattr(group[0].database, name, value)

    return prepare


_ended = DaemonRole.ended


def _renewed_without_a_commit(self: DaemonRole, step: int, now: float) -> None:
    """What the database says is its own is taken up again as it is."""
    sight = self.sight
    if step != self._step or sight is None or not self._is_own(sight):
        _ended(self, step, now)
        return
    self._happened(RoleEvent.ENDED)
    self._looked_at = now
    self.raised(self._begin_step(STEP_S, now), sight.term.number, now)


def _woken_takes_it_back(self: DaemonRole, sight: Sight, now: float) -> None:
    self._take_over(RoleEvent.HELD, sight, now)


def _whoever_asks_is_own(self: DaemonRole, sight: Sight) -> bool:
    woken = self.state.value in {"fenced", "ending", "raising"}
    return bool(sight.term.holder) and (woken or sight.term.boot == self._boot)


_take = TermClaims.take


def _no_terms(self: TermClaims, value: Any, key: str, boot: str) -> int:
    _take(self, value, key, boot)
    self._newest.clear()
    return 0


STANDBY_ABLATIONS = (
    StandbyAblation(
        1,
        "a takeover begins a new epoch",
        5,
        ("S3",),
        ("daemon crash",),
        prepare=_of_members(loads_new_epoch=True),
    ),
    StandbyAblation(
        2,
        "transactions do not check the term",
        20,
        ("S2", "I5", "I11"),
        ("cut from database", "daemon pause"),
        prepare=_of_databases(checks_term=False, ends_sessions=False),
    ),
    StandbyAblation(
        3,
        "the sessions of the term before are not ended",
        5,
        ("S4",),
        ("stopped in commit",),
        prepare=_of_databases(ends_sessions=False),
    ),
    StandbyAblation(
        3,
        "the new term does not wait for its replica",
        20,
        ("I", "S", "L"),
        ("unreplicated", "daemon crash", "isolated primary"),
        prepare=_of_databases(waits_for_term=False),
    ),
    StandbyAblation(
        4,
        "a node is made again without a barrier",
        20,
        ("I", "S", "L"),
        ("unreplicated",),
        # And nobody waits while a commit does, which leaves this only the first second of it.
        ((DaemonRole, "ended", _renewed_without_a_commit), (Sight, "stalled", "")),
    ),
    StandbyAblation(
        5,
        "a warning is taken for success",
        20,
        ("I6", "I5"),
        ("wait cancelled", "standby gone", "failover"),
        prepare=_of_members(heeds_warnings=False),
    ),
    StandbyAblation(
        6,
        "commits that wait for nobody are good enough",
        20,
        ("I6", "I5"),
        ("asynchronous",),
        prepare=_of_members(heeds_settings=False),
    ),
    StandbyAblation(
        7,
        "a daemon that wakes takes the term back",
        20,
        ("S5",),
        ("daemon pause", "cut from database"),
        (
            (DaemonRole, "_seen_as_fenced", _woken_takes_it_back),
            (DaemonRole, "_is_own", _whoever_asks_is_own),
        ),
    ),
    StandbyAblation(
        8,
        "a forced failover goes on in the old epoch",
        20,
        ("L", "O10", "I", "S"),
        ("forced failover",),
        prepare=_of_members(heeds_epoch=False),
    ),
    StandbyAblation(
        9,
        "peers do not look at terms",
        20,
        ("3.5", "L", "O10"),
        ("cut from database", "isolated primary"),
        ((TermClaims, "take", _no_terms),),
    ),
    StandbyAblation(
        10,
        "the clock's floor is not in the database",
        20,
        ("I2", "I4", "I5"),
        ("daemon crash", "promoted", "daemon pause"),
        (
            (HybridClock, "raise_floor", lambda self: None),
            (HybridClock, "resume", lambda self, ms, counter: None),
        ),
        faults=("clock offset",),
    ),
)


def seeds_until_noticed(ablation: StandbyAblation, start: int = 0) -> tuple[int, str] | None:
    """
    Run seeds with the rule off until one breaks.

    Returns:
        how many that took and what was found, or None: ``ablation.seeds`` were not enough.
    """
    with ExitStack() as stack:
        for patch in ablation.patches:
            stack.enter_context(mock.patch.object(*patch))
        for count in range(1, ablation.seeds + 1):
            try:
                run_standby(
                    start + count - 1,
                    standby=ablation.kinds,
                    faults=ablation.faults,
                    prepare_standby=ablation.prepare,
                )
            except Violation as violation:
                return count, str(violation)
            except StoreError as error:
                return count, f"I5: the schema refuses what was written: {error}"
    return None


if __name__ == "__main__":
    for ablation in STANDBY_ABLATIONS:
        found = [seeds_until_noticed(ablation, start) for start in range(0, 5000, 1000)]
        print(
            f"{ablation.rule}. {ablation.name}: after"
            f" {', '.join(str(one[0]) if one else '-' for one in found)} seeds"
            f" ({', '.join(sorted({one[1].split(':')[0] for one in found if one}))})",
            flush=True,
        )
