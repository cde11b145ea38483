"""The newest entries of all homes: one bound for all, and what a joiner needs outlives it."""

from __future__ import annotations

import random

import pytest

from grenache_py.exchange.replication import log_ring
from grenache_py.exchange.replication.log_ring import LogRing
from grenache_py.exchange.replication.origin import Origin
from grenache_py.exchange.signed_log.merkle import Signed

SIZE = 100


class Rig:
    """A ring, and homes whose entries have ``SIZE`` bytes."""

    def __init__(self, *homes: str) -> None:
        self.origins = {home: Origin(home) for home in homes}
        self.ring = LogRing(self.origins)

    def add(self, home: str, beat: bool = False) -> None:
        origin = self.origins[home]
        origin.seq += 1
        signed = Signed(f"{home}{origin.seq}".ljust(SIZE), b"", 0, 1, b"")
        self.ring.keep(origin, origin.seq, "", signed, beat)

    def held(self, home: str) -> list[int]:
        return [seq for seq, _, _ in self.origins[home].tail]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_ring, "RING_BYTES_MAX", 10 * SIZE)
    monkeypatch.setattr(log_ring, "SINCE_BEAT_BYTES_MAX", 4 * SIZE)
    monkeypatch.setattr(log_ring, "SINCE_BEATS_BYTES_MAX", 6 * SIZE)


def test_the_oldest_goes_first_whoever_wrote_it() -> None:
    rig = Rig("a", "b")
    for _ in range(4):
        rig.add("a")
    rig.add("a", beat=True)
    for _ in range(9):
        rig.add("b")
    rig.add("b", beat=True)
    assert rig.held("a") == [5], "its heartbeat stays, though the ring has let go of it"
    assert rig.held("b") == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert (rig.ring.bytes, rig.ring.outlived) == (10 * SIZE, SIZE)


def test_what_follows_a_heartbeat_stays_until_the_next_one() -> None:
    rig = Rig("a", "b")
    rig.add("a", beat=True)
    rig.add("a")
    for _ in range(20):
        rig.add("b", beat=True)
    assert rig.held("a") == [1, 2]
    rig.add("a", beat=True)
    assert rig.held("a") == [3]
    assert rig.ring.outlived == 0


def test_a_home_that_signs_no_heartbeat_keeps_no_more_than_its_share() -> None:
    rig = Rig("a", "b", "c")
    for home in "ab":
        rig.add(home, beat=True)
        for _ in range(4 if home == "a" else 2):
            rig.add(home)
    for _ in range(20):
        rig.add("c", beat=True)
    assert rig.held("a") == [], "five entries are more than one may keep"
    assert rig.held("b") == [1, 2, 3]
    assert rig.ring.outlived == 3 * SIZE


def test_all_homes_together_have_a_bound() -> None:
    rig = Rig(*"abcdefghij", "z")
    for home in "abcdefghij":
        rig.add(home, beat=True)
    for _ in range(30):
        rig.add("z")
    kept = [home for home in "abcdefghij" if rig.held(home)]
    assert len(kept) == 6
    assert rig.ring.outlived == 6 * SIZE


def test_the_counts_are_right_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_ring, "TAIL_MAX", 6)
    rig, rng = Rig(*"abcd"), random.Random(1)
    for _ in range(3_000):
        home = rng.choice("abcd")
        origin = rig.origins[home]
        if rng.random() < 0.02:
            rig.ring.clear(origin)
            origin.jumps += 1
            origin.seq = rng.randrange(100)
        else:
            rig.add(home, beat=rng.random() < 0.2)
        assert rig.ring.bytes <= 10 * SIZE
        assert 0 <= rig.ring.outlived <= 6 * SIZE
        for each in rig.origins.values():
            seqs = [seq for seq, _, _ in each.tail]
            assert seqs == list(range(each.seq - len(seqs) + 1, each.seq + 1))[-6:]
            outlived = SIZE * sum(seq <= each.out_of_ring for seq in seqs)
            assert each.outlived_bytes == outlived <= 4 * SIZE
        assert rig.ring.outlived == sum(each.outlived_bytes for each in rig.origins.values())
