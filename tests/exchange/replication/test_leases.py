"""Who has shown that he lives, and that nobody can show it for another, or hide it."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.home.own_lease import OwnLease
from grenache_py.exchange.replication.leases import STEPS_MAX, Leases
from grenache_py.exchange.signed_log.hybrid_clock import HybridClock
from grenache_py.exchange.signed_log.merkle import Sealer, Verifier
from grenache_py.exchange.signed_log.statement import PULSES_MAX, LifeStatement, chain_of
from tests.sim.exchange.network import CheapScheme, identity

NOW = 1_790_000_000_000
SLOT_MS = 10_000


class Home:
    """A home that states at ``NOW``."""

    def __init__(self, seed: int, anchor: bytes | None = None, ms: int = NOW) -> None:
        self.who = identity(random.Random(seed), real=False)
        sealer = Sealer(self.who, "test")
        self.values = chain_of(sealer, ms)
        self.statement = LifeStatement(
            self.who.key, 1, 7, ms, PULSES_MAX, 10, 22, anchor or self.values[0], 1, 0
        )
        self.data = self.statement.signed(sealer)

    def tells(self, leases: Leases, number: int = 0, now: int | None = None, link: int = 1) -> int:
        """How many homes move on when a neighbour shows this one's statement and a pulse."""
        at = NOW + number * SLOT_MS if now is None else now
        value = self.values[number] if number else self.statement.anchor
        return len(leases.take(self.statement, self.data, number, value, at, link))

    def number(self, leases: Leases) -> int:
        return leases.homes[self.who.key].number


def fresh() -> Leases:
    return Leases(Verifier(CheapScheme(), "test"))


def test_a_pulse_is_found_up_to_six_steps_on_and_no_further() -> None:
    for steps in range(1, STEPS_MAX + 2):
        leases, home = fresh(), Home(1)
        home.tells(leases)
        moved = leases.pulse(home.values[steps], NOW + steps * SLOT_MS, 1)
        assert len(moved) == (steps <= STEPS_MAX)
        assert home.number(leases) == (steps if steps <= STEPS_MAX else 0)
    assert leases.homes[home.who.key].ends_ms == NOW + 22_000
    assert home.tells(leases, 7) == 1, "with its number any one is found"
    assert leases.homes[home.who.key].ends_ms == NOW + 7 * SLOT_MS + 22_000


def test_what_is_old_unknown_or_too_early_moves_nobody() -> None:
    leases, home = fresh(), Home(1)
    home.tells(leases, 4)
    leases.moved.clear()
    for value in (home.values[4], home.values[3], b"x" * 12):
        assert leases.pulse(value, NOW + 5 * SLOT_MS, 1) == []
    assert leases.pulse(home.values[5], NOW + 5 * SLOT_MS - 5_001, 1) == []
    assert not leases.moved
    assert len(leases.pulse(home.values[5], NOW + 5 * SLOT_MS - 5_000, 1)) == 1
    assert home.tells(leases, 6, now=NOW) == 0
    assert home.number(leases) == 5
    assert Home(2).tells(leases, now=NOW - 5_001) == 0, "nor a statement of tomorrow"


def test_there_are_no_more_pulses_than_were_stated() -> None:
    leases, home = fresh(), Home(1)
    home.statement = home.statement._replace(pulses=3)
    home.data = home.statement.signed(Sealer(home.who, "test"))
    home.tells(leases, 2)
    assert leases.pulse(home.values[4], NOW + 10 * SLOT_MS, 1) == []
    with pytest.raises(RemoteProtocolError, match="number"):
        home.tells(leases, 4)


def test_a_forged_statement_or_value_is_refused() -> None:
    leases, home, other = fresh(), Home(1), Home(2)
    forged = home.data[:-64] + other.data[-64:]
    with pytest.raises(RemoteProtocolError, match="signature"):
        leases.take(home.statement, forged, 0, home.values[0], NOW, 1)
    assert not leases.homes
    home.tells(leases)
    for known in (True, False):
        with pytest.raises(RemoteProtocolError, match="chain"):
            leases.take(home.statement, home.data, 3, other.values[3], NOW + 3 * SLOT_MS, 1)
        if known:
            leases.forget(home.who.key)
    with pytest.raises(RemoteProtocolError, match="length"):
        leases.take(home.statement, home.data, 0, b"", NOW, 1)


def test_the_newest_statement_counts_and_an_older_one_never_returns() -> None:
    leases, before, after = fresh(), Home(1), Home(1, ms=NOW + 300_000)
    before.tells(leases, 3)
    assert after.tells(leases, now=NOW + 300_000) == 1
    assert before.tells(leases, 30) == 0
    assert leases.pulse(before.values[4], NOW + 300_000, 1) == []
    assert leases.homes[after.who.key].statement.ms == NOW + 300_000


@pytest.mark.parametrize("behind", range(STEPS_MAX))
def test_who_signs_anothers_values_hides_nobody(behind: int) -> None:
    """The victim is held at pulse 1; a thief shows a later value of it as its own, and first."""
    leases, victim = fresh(), Home(1)
    victim.tells(leases, 1)
    stolen = 1 + behind
    thief = Home(2, anchor=victim.values[stolen], ms=NOW + stolen * SLOT_MS)
    thief.tells(leases, now=NOW + stolen * SLOT_MS)
    assert victim.number(leases) == stolen
    for number in range(stolen + 1, stolen + 4):
        moved = leases.pulse(victim.values[number], NOW + number * SLOT_MS, 1)
        assert len(moved) == 2, "the thief, too, seems to live: that is its loss"
    assert victim.number(leases) == stolen + 3


def test_what_a_thief_numbers_moves_its_victim_too() -> None:
    leases, victim = fresh(), Home(1)
    victim.tells(leases, 1)
    thief = Home(2, anchor=victim.values[2], ms=NOW + 2 * SLOT_MS)
    at = NOW + 4 * SLOT_MS
    leases.take(thief.statement, thief.data, 2, victim.values[4], at, 1)
    assert victim.number(leases) == 4
    assert leases.pulse(victim.values[4], at, 2) == []


def test_who_came_late_and_stands_behind_a_thief_is_found_again() -> None:
    leases, victim = fresh(), Home(1)
    thief = Home(2, anchor=victim.values[3], ms=NOW + 3 * SLOT_MS)
    at = NOW + 4 * SLOT_MS
    leases.take(thief.statement, thief.data, 1, victim.values[4], at, 1)
    victim.tells(leases, 2, now=at)
    for number in (5, 6):
        leases.pulse(victim.values[number], NOW + number * SLOT_MS, 1)
    assert victim.number(leases) == 6


def test_who_might_not_move_with_the_others_is_not_left_behind() -> None:
    """The victim's clock is five seconds ahead of the thief's, which is just not believed yet."""
    leases, victim = fresh(), Home(1)
    victim.tells(leases, 1)
    thief = Home(2, anchor=victim.values[1], ms=NOW)
    thief.tells(leases)
    moved = leases.pulse(victim.values[3], NOW + 20_000, 1)
    assert [lease.statement for lease in moved] == [thief.statement]
    for number in (4, 5, 6):
        leases.pulse(victim.values[number], NOW + number * SLOT_MS, 1)
    assert victim.number(leases) == 6


def test_a_crowd_that_stands_on_one_value_moves_at_once() -> None:
    leases, victim = fresh(), Home(1)
    victim.tells(leases)
    for seed in range(2, 300):
        Home(seed, anchor=victim.values[0]).tells(leases)
    assert len(leases.pulse(victim.values[2], NOW + 2 * SLOT_MS, 1)) == 299
    assert len(leases.news_for(2)[0]) == 299
    leases.pulse(victim.values[3], NOW + 3 * SLOT_MS, 1)
    stated, pulses = leases.news_for(2)
    assert (stated, list(pulses)) == ([], [victim.values[3]])


def test_a_link_is_told_what_it_does_not_hold_and_the_statement_once() -> None:
    leases, home = fresh(), Home(1)
    home.tells(leases, link=1)
    assert leases.news_for(1) == ([], {})
    [told], none = leases.news_for(2)
    assert (told.data, list(none)) == (home.data, [])
    leases.moved.clear()
    leases.pulse(home.values[1], NOW + SLOT_MS, 2)
    assert leases.news_for(2) == ([], {})
    assert list(leases.news_for(1)[1]) == [home.values[1]]
    leases.lost(1)
    assert [lease.data for lease in leases.news_for(1)[0]] == [home.data], "another link by now"


def test_a_known_pulse_shows_that_its_teller_has_it() -> None:
    leases, home = fresh(), Home(1)
    home.tells(leases, link=1)
    leases.pulse(home.values[1], NOW + SLOT_MS, 1)
    leases.pulse(home.values[1], NOW + SLOT_MS, 2)
    assert leases.news_for(2) == ([], {})


def test_it_is_as_one_who_knows_every_chain() -> None:
    """Random pulses and statements, thieves among them, against a table of who has what value."""
    rng, leases = random.Random(3), fresh()
    honest = [Home(seed) for seed in range(5)]
    homes = [*honest, *(Home(9 + n, anchor=honest[n].values[3]) for n in range(3))]
    at: dict[str, int] = {}
    for round_ in range(1, 60):
        now = NOW + round_ * SLOT_MS
        for _ in range(6):
            home = rng.choice(honest)
            number = max(0, round_ - rng.randrange(9))
            if rng.random() < 0.3:
                home.tells(leases, number, now)
                if number >= at.get(home.who.key, 0):
                    at[home.who.key] = number
            elif at.get(home.who.key, -1) >= 0:
                leases.pulse(home.values[number], now, 1)
                if 0 < number - at.get(home.who.key, 10**9) <= STEPS_MAX:
                    at[home.who.key] = number
        thief = rng.choice(homes[5:])
        if round_ > 3:
            leases.take(thief.statement, thief.data, 0, thief.statement.anchor, now, 1)
            victim = honest[homes.index(thief) - 5].who.key
            if 0 < 3 - at.get(victim, 10**9) <= STEPS_MAX:
                at[victim] = 3
        for home in honest:
            held = leases.homes.get(home.who.key)
            assert (held.number if held else None) == at.get(home.who.key)
        listed = [lease for same in leases._by_value.values() for lease in same]
        assert sorted(id(lease) for lease in listed) == sorted(map(id, leases.homes.values()))
        for home in rng.sample(honest[3:], rng.random() < 0.1):
            leases.forget(home.who.key)
            at.pop(home.who.key, None)


@pytest.mark.parametrize("floor", [True, False])
def test_a_restart_is_not_taken_for_a_second_machine(floor: bool) -> None:
    """Because its clock begins above all that it has shown, even if the wall clock was put back."""
    leases, who = fresh(), Home(1).who
    writer: Any = SimpleNamespace(
        log=SimpleNamespace(home=who.key, epoch=1, seq=7),
        live_set=SimpleNamespace(count=1, fingerprint=0),
        close=lambda: None,
    )

    def shown(statement: LifeStatement, data: bytes, number: int, value: bytes) -> None:
        leases.take(statement, data, number, value, int(now * 1000), 1)

    clock, now = HybridClock(), NOW / 1000
    own = OwnLease(Sealer(who, "test"), clock, writer, shown)
    own.state(now)
    now += 10.1
    own.pulse(now)
    stored = clock.raise_floor()
    now -= 8.0
    OwnLease(Sealer(who, "test"), HybridClock(stored or 0 if floor else 0), writer, shown).state(
        now
    )
    assert leases.homes[who.key].twofold is not floor
