"""Each thing is looked at when it is due, once; what is not looked at any more leaves no trace."""

from __future__ import annotations

import random

from grenache_py.exchange.replication.deadlines import Deadlines


def test_what_is_due_comes_once_and_the_earliest_first() -> None:
    deadlines = Deadlines()
    for key, ms in (("c", 30), ("a", 10), ("b", 20)):
        deadlines.add(key, ms)
    assert deadlines.due(9) == []
    assert deadlines.due(20) == ["a", "b"]
    assert deadlines.due(30) == ["c"]
    assert deadlines.due(10**15) == []
    assert len(deadlines) == 0


def test_the_earlier_of_two_moments_counts() -> None:
    deadlines = Deadlines()
    deadlines.add("a", 20)
    deadlines.add("a", 10)
    deadlines.add("a", 30)
    assert deadlines.due(10) == ["a"]
    assert deadlines.due(40) == []


def test_what_was_discarded_does_not_come_due_unless_it_is_added_again() -> None:
    deadlines = Deadlines()
    deadlines.add("a", 10)
    deadlines.discard("a")
    deadlines.discard("never there")
    assert deadlines.due(10) == []
    deadlines.add("a", 20)
    assert deadlines.due(20) == ["a"]


def test_it_is_as_a_dict_that_is_searched_and_does_not_grow_with_what_has_gone() -> None:
    rng, deadlines, naive = random.Random(1), Deadlines(), dict[str, int]()
    for now in range(5_000):
        key, ms = str(rng.randrange(40)), now + rng.randrange(10**6)
        if rng.random() < 0.3:
            deadlines.discard(key)
            naive.pop(key, None)
        else:
            deadlines.add(key, ms)
            naive[key] = min(ms, naive.get(key, ms))
        assert len(deadlines) == len(naive)
        assert len(deadlines._heap) <= 200
    for now in range(0, 10**6, 10_000):
        due = sorted((ms, key) for key, ms in naive.items() if ms <= now)
        assert [(naive.pop(key), key) for key in deadlines.due(now)] == due
