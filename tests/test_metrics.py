"""The Prometheus text: what a scraper would read back."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grenache_py.metrics import Exposition, Histogram


def unescape(text: str) -> str:
    """Read a quoted label value as the format's description says."""
    out, letters = [], iter(text)
    for letter in letters:
        if letter == "\\":
            out.append({"n": "\n", "\\": "\\", '"': '"'}[next(letters)])
        else:
            assert letter not in '"\n'
            out.append(letter)
    return "".join(out)


def test_families_in_the_order_given() -> None:
    page = Exposition()
    page.counter("grape_lookups_total", "Lookups answered.", 12)
    page.gauge("grape_contacts", "Nodes known.", [({"state": "good"}, 3), ({"state": "all"}, 5)])
    assert page.text() == (
        "# HELP grape_lookups_total Lookups answered.\n"
        "# TYPE grape_lookups_total counter\n"
        "grape_lookups_total 12\n"
        "# HELP grape_contacts Nodes known.\n"
        "# TYPE grape_contacts gauge\n"
        'grape_contacts{state="good"} 3\n'
        'grape_contacts{state="all"} 5\n'
    )


def test_histogram_buckets_are_cumulative_and_bounds_inclusive() -> None:
    histogram = Histogram([0.1, 1.0])
    for value in (0.05, 0.1, 0.5, 7.0):
        histogram.observe(value)
    page = Exposition()
    page.histogram("reply_seconds", "Time to answer.", [({"path": "/get"}, histogram)])
    assert page.text().splitlines()[2:] == [
        'reply_seconds_bucket{path="/get",le="0.1"} 2',
        'reply_seconds_bucket{path="/get",le="1.0"} 3',
        'reply_seconds_bucket{path="/get",le="+Inf"} 4',
        'reply_seconds_sum{path="/get"} 7.65',
        'reply_seconds_count{path="/get"} 4',
    ]


@given(st.text())
def test_any_label_value_can_be_read_back(value: str) -> None:
    page = Exposition()
    page.gauge("g", "help", [({"name": value}, 1)])
    line = page.text().split("\n", 2)[2].removesuffix("\n")
    assert line.startswith('g{name="')
    assert unescape(line.removeprefix('g{name="').removesuffix('"} 1')) == value


def test_a_line_break_in_the_help_stays_on_one_line() -> None:
    page = Exposition()
    page.counter("c", "one\ntwo \\ three", 1)
    assert page.text().splitlines()[0] == r"# HELP c one\ntwo \\ three"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (True, "1"),
        (10**20, "100000000000000000000"),
        (0.1, "0.1"),
        (1e-9, "1e-09"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
    ],
)
def test_numbers(number: float, text: str) -> None:
    page = Exposition()
    page.gauge("g", "", number)
    assert page.text().splitlines()[-1] == f"g {text}"


@pytest.mark.parametrize("name", ["", "1st", "with space", "näme", "a-b"])
def test_a_name_prometheus_would_refuse_is_refused_here(name: str) -> None:
    with pytest.raises(ValueError, match="not a metric name"):
        Exposition().gauge(name, "", 1)
    with pytest.raises(ValueError, match="not a label name"):
        Exposition().gauge("g", "", [({name: "x"}, 1)])


def test_a_family_given_twice_is_refused() -> None:
    page = Exposition()
    page.gauge("g", "", 1)
    with pytest.raises(ValueError, match="twice"):
        page.counter("g", "", 1)


@pytest.mark.parametrize("bounds", [[], [1, 1], [2, 1]])
def test_bounds_must_rise(bounds: list[float]) -> None:
    with pytest.raises(ValueError, match="rise"):
        Histogram(bounds)
