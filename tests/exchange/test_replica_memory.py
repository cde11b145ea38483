"""What an order of another home costs in memory, in bytes that Python allocated."""

from __future__ import annotations

import pytest

from benchmarks.exchange.replica_memory import keys, measure


@pytest.mark.parametrize(("per_level", "bytes_max"), [(25, 350), (1, 800)])
def test_an_order_of_another_home_takes_a_few_hundred_bytes(per_level: int, bytes_max: int) -> None:
    found = measure(4_000, per_level, trace=True)
    assert 100 < keys([found])[f"order_bytes_{per_level}_a_level"] < bytes_max
