"""The hybrid clock: always forward, over restarts too, and not misled far by others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from grenache_py.exchange.signed_log.hybrid_clock import AHEAD_MS_MAX, FLOOR_AHEAD_MS, HybridClock


@given(
    st.lists(
        st.tuples(
            st.floats(0, 100), st.one_of(st.none(), st.tuples(st.integers(0, 120_000), st.just(3)))
        )
    )
)
def test_stamps_rise_whatever_the_wall_and_others_say(steps) -> None:
    clock = HybridClock()
    last = (0, 0)
    for now, remote in steps:
        if remote is not None:
            clock.merge(*remote, now)
        stamp = clock.stamp(now)
        assert stamp > last
        last = stamp


def test_a_stamp_far_in_the_future_is_not_believed() -> None:
    clock = HybridClock()
    assert not clock.merge(10_000 + AHEAD_MS_MAX + 1, 0, 10.0)
    assert clock.stamp(10.0) == (10_000, 0)
    assert clock.merge(10_000 + AHEAD_MS_MAX, 7, 10.0)
    assert clock.stamp(10.0) == (10_000 + AHEAD_MS_MAX, 8)


def test_a_restarted_clock_is_never_behind_what_was_used_although_the_wall_is() -> None:
    clock = HybridClock()
    used = clock.read_ms(50.0)
    floor = clock.raise_floor()
    assert floor == used + FLOOR_AHEAD_MS
    assert clock.read_ms(51.0) < floor  # covered: nothing needs to be stored
    assert clock.raise_floor() is None
    assert HybridClock(floor).read_ms(12.0) >= used
    assert HybridClock(floor).stamp(12.0) > (used, 0)
