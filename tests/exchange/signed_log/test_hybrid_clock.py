"""The hybrid clock: always forward, over restarts too, and not misled far by others."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.signed_log.entries import (
    EPOCHS_AHEAD_MAX,
    LEASE_MS_MAX,
    SEQ_MAX,
    Entry,
    epoch_of_time,
)
from grenache_py.exchange.signed_log.hybrid_clock import (
    AHEAD_MS_MAX,
    COUNTER_MAX,
    FLOOR_AHEAD_MS,
    LEAP_MS,
    HybridClock,
)
from grenache_py.exchange.storage.positions import log_position, order_position


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


def test_a_new_clock_is_where_its_wall_is_however_early() -> None:
    assert HybridClock().read_ms(0.0) == 0
    assert HybridClock().stamp(0.001) == (1, 0)


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


def _entry(**changed: object) -> dict[str, object]:
    return {
        "home": "a" * 64,
        "epoch": 1,
        "seq": 1,
        "prev": "0" * 64,
        "time": [NOW_MS, 0],
        **changed,
    }


NOW_MS = 1_790_000_000_000
numbers = st.one_of(
    st.integers(0, 3),
    st.sampled_from([2**k + d for k in (20, 27, 36, 40, 43, 52, 53, 63) for d in (-1, 0, 1)]),
    st.integers(NOW_MS - 10_000, NOW_MS + 10_000),
)


@given(
    st.lists(st.tuples(numbers, numbers, numbers, numbers, numbers, st.floats(0, 10)), max_size=30)
)
def test_whatever_is_accepted_says_stamps_go_on_and_times_stay_in_range(entries) -> None:
    """One stamp `[now + 4 s, 2^53]` took the next home all the stamps it could give out."""
    clock = HybridClock()
    clock.trust(NOW_MS / 1000)
    last, now = (0, 0), NOW_MS / 1000
    for ms, counter, epoch, seq, lease, later in entries:
        now = max(now, NOW_MS / 1000 + later)
        beat = {"lease_ms": lease, "live": 0, "fingerprint": "0" * 64}
        payload = msgspec.json.encode(
            _entry(time=[ms, counter], epoch=epoch, seq=seq, beat=beat)
        ).decode()
        try:
            entry = Entry.decode(payload)
        except RemoteProtocolError:
            pass
        else:
            clock.merge(*entry.time, now)
            assert entry.seq <= SEQ_MAX
            assert entry.epoch <= epoch_of_time(entry.time[0]) + EPOCHS_AHEAD_MAX
            assert entry.beat is not None
            assert entry.beat.lease_ms <= LEASE_MS_MAX
            assert log_position(entry.epoch, entry.seq) < 2**63
        stamp = clock.stamp(now)
        assert stamp > last
        assert stamp[0] <= now * 1000 + AHEAD_MS_MAX + len(entries)
        # What this home writes with it, others can read and the store can number.
        Entry.decode(msgspec.json.encode(_entry(time=stamp)).decode())
        assert order_position(*stamp) < 2**63
        last = stamp


def test_a_full_counter_carries_into_the_milliseconds() -> None:
    """A clock that was set back an hour gives out a million stamps of one millisecond."""
    clock = HybridClock(50_000)
    clock.merge(50_000, COUNTER_MAX - 1, 50.0)
    assert clock.stamp(10.0) == (50_000, COUNTER_MAX)
    assert clock.stamp(10.0) == (50_001, 0)
    assert order_position(50_001, 0) > order_position(50_000, COUNTER_MAX)


def test_a_clock_that_leaps_rests_until_it_is_trusted_again() -> None:
    clock = HybridClock()
    clock.trust(1_000.0)
    assert clock.read_ms(1_001.0) == 1_001_000
    assert clock.read_ms(1_001.0 + 3_600) == 1_001_000, "an hour is not believed at once"
    assert clock.resting
    assert clock.stamp(1_002.0) == (1_001_000, 1)
    assert clock.merge(1_003_000, 5, 1_002.0), "others still raise it"
    assert clock.stamp(1_002.0) == (1_003_000, 6)
    clock.trust(4_600.0)
    assert not clock.resting
    assert clock.stamp(4_600.5) == (4_600_500, 0)


def test_the_limit_of_what_counts_as_a_leap_is_exact() -> None:
    clock = HybridClock()
    clock.trust(1_000.0)
    furthest = 1_000_000 + LEAP_MS
    assert [clock.leaps(furthest / 1000), clock.leaps((furthest + 1) / 1000)] == [False, True]
    assert clock.read_ms(furthest / 1000) == furthest
    assert not clock.resting
    assert clock.read_ms((furthest + LEAP_MS + 1) / 1000) == furthest
    assert clock.resting
