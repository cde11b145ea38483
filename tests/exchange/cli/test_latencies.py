"""Latencies are shown as a histogram of text."""

from __future__ import annotations

from grenache_py.exchange.cli.latencies import histogram_lines, percentile


def test_histograms_count_every_answer() -> None:
    lines = histogram_lines([0.0001, 0.001, 0.001, 0.1])
    assert sum(int(line.split()[3]) for line in lines[:-1]) == 4
    assert lines[-1].endswith("max 100.00 ms")
    assert histogram_lines([]) == ["no latencies were measured"]


def test_a_percentile_is_the_value_that_this_part_does_not_exceed() -> None:
    rising = [float(number) for number in range(100)]
    assert [percentile(rising, part) for part in (0.0, 0.5, 0.99, 1.0)] == [0.0, 50.0, 99.0, 99.0]
