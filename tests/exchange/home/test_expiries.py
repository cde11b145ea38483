"""Expiries: each order once, when its time has come, the earliest first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from grenache_py.exchange.home.expiries import Expiries


@given(st.lists(st.integers(0, 50)), st.lists(st.integers(0, 60)).map(sorted))
def test_an_order_comes_due_once_and_not_before_its_time(
    times: list[int], looks: list[int]
) -> None:
    expiries = Expiries()
    for number, time_ms in enumerate(times):
        expiries.add(time_ms, f"{number:03}")
    waiting = sorted((time_ms, f"{number:03}") for number, time_ms in enumerate(times))
    for now_ms in looks:
        assert expiries.next_ms() == (waiting[0][0] if waiting else None)
        assert expiries.due(now_ms) == [order_id for at, order_id in waiting if at <= now_ms]
        waiting = [(at, order_id) for at, order_id in waiting if at > now_ms]
