"""Decimal strings and whole ticks and lots, and what an operator may call a market."""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from grenache_py.errors import ConfigError
from grenache_py.exchange.errors import OrderError
from grenache_py.exchange.market.instrument import COUNT_MAX, NUMBER_CHARS_MAX, Market, Step
from tests.support.market_orders import new_order

BTC = Market.parse("BTC-USD:tick=0.05,lot=0.0001")

STEPS = st.builds(
    lambda units, decimals: Step.of(f"{units // 10**decimals}.{units % 10**decimals:0{decimals}d}"),
    st.integers(1, 10**6),
    st.integers(1, 8),
)


@given(STEPS, st.integers(1, 10**12))
def test_every_count_survives_the_way_out_and_in(step: Step, count: int) -> None:
    text = step.format(count)
    assert step.count(text, "price") == count
    assert Decimal(text) == Decimal(step.text) * count
    assert "." not in text or not text.endswith(("0", "."))


@given(STEPS, st.from_regex(r"[0-9]{1,9}(\.[0-9]{1,10})?", fullmatch=True))
@example(Step.of("0.00000001"), "100000000")  # more than an order may have
def test_a_text_is_exactly_its_count_of_steps_or_refused(step: Step, text: str) -> None:
    with localcontext() as context:
        context.prec = 60
        exact = Fraction(text) / Fraction(step.text)
    try:
        assert step.count(text, "price") == exact
    except OrderError as error:
        assert error.code == (-32008 if exact.denominator != 1 else -32602)
        assert exact.denominator != 1 or not 0 < exact <= COUNT_MAX


@given(st.text(max_size=50))
def test_whatever_the_text_only_an_order_error_comes_out(text: str) -> None:
    try:
        count = BTC.price_ticks(text)
    except OrderError as error:
        assert error.data == {"field": "price"}
    else:
        assert Decimal(text) == Decimal("0.05") * count


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "1.",
        ".5",
        "-1",
        "+1",
        "1e3",
        "NaN",
        "0x10",
        "1_000",
        "1,5",
        "\u0661",
        "\u00b2",
        "1.\u00b2",
        "1 ",
        "1.2.3",
    ],
)
def test_what_is_no_decimal_number_is_an_invalid_parameter(text: str) -> None:
    with pytest.raises(OrderError, match="not a positive decimal number") as error:
        BTC.quantity_lots(text)
    assert error.value.code == -32602
    assert error.value.data == {"field": "quantity"}


@pytest.mark.parametrize("text", ["0", "0.00", "450359962737049.65", "9" * 40, "1" * 10_000])
def test_what_is_out_of_range_is_an_invalid_parameter(text: str) -> None:
    with pytest.raises(OrderError) as error:
        BTC.price_ticks(text)
    assert (error.value.code, error.value.data) == (-32602, {"field": "price"})
    assert len(error.value.message) < 200


def test_zeros_at_its_end_make_no_other_step() -> None:
    assert Step.of("0.10") == Step.of("0.1")
    assert [Step.of(text).text for text in ("0.10", "10", "5.00", "0.050")] == [
        "0.1", "10", "5", "0.05",
    ]  # fmt: skip


def test_the_largest_count_is_one_that_a_browser_still_knows_exactly() -> None:
    step = Step.of("0.01")
    assert step.count(step.format(COUNT_MAX), "price") == COUNT_MAX
    with pytest.raises(OrderError, match=r"must be at most 90071992547409\.91"):
        step.count(step.format(COUNT_MAX + 1), "price")


def test_the_largest_step_and_the_longest_number_are_read() -> None:
    assert Step.of(str(COUNT_MAX)).units == COUNT_MAX
    with pytest.raises(ValueError, match="out of range"):
        Step.of(str(COUNT_MAX + 1))
    longest = f"{7:0{NUMBER_CHARS_MAX}}"
    assert Step.of("1").count(longest, "price") == 7
    with pytest.raises(OrderError, match="not a positive decimal number"):
        Step.of("1").count(f"0{longest}", "price")


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("100.26", "100.25 or 100.3"),
        ("100.251", "100.25 or 100.3"),
        ("0.01", "0.05"),
        ("0.001", "0.05"),
    ],
)
def test_what_is_between_ticks_is_told_the_nearest(text: str, nearest: str) -> None:
    with pytest.raises(OrderError) as error:
        BTC.price_ticks(text)
    assert error.value.code == -32008
    assert error.value.message == (
        f"price {text} is not a multiple of 0.05; the nearest is {nearest}"
    )


def test_trailing_zeros_mean_nothing() -> None:
    assert BTC.price_ticks("100.2500000") == BTC.price_ticks("0100.25") == 2005


def test_averages_are_exact_decimals() -> None:
    # 3 lots at 100.05 and 1 lot at 100.1.
    value = 3 * 2001 + 2002
    assert BTC.format_average(value, 4) == "100.0625"
    assert BTC.format_average(2001 + 2 * 2002, 3) == "100.083333"
    assert BTC.format_average(2 * 2001 + 2002, 3) == "100.066667"


def test_a_market_is_read_as_the_operator_writes_it() -> None:
    market = Market.parse("ETH-EUR:tick=0.50,lot=1,protection=2.5%")
    assert (market.symbol, market.tick.text, market.lot.text) == ("ETH-EUR", "0.5", "1")
    assert market.protection_bp == 250
    assert market.price_ticks("7.5") == 15
    assert market.format_quantity(12) == "12"
    assert BTC.protection_bp == 500


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "symbol"),
        ("btc:tick=1,lot=1", "symbol"),
        ("-A:tick=1,lot=1", "symbol"),
        ("A" * 33 + ":tick=1,lot=1", "symbol"),
        ("A", "tick is missing"),
        ("A:tick=1", "lot is missing"),
        ("A:tick=0,lot=1", "tick 0 is out of range"),
        ("A:tick=1,lot=x", "lot 'x' is not a decimal number"),
        ("A:tick=1,lot=1e-8", "lot '1e-8' is not a decimal number"),
        ("A:tick=1,lot=1,tick=2", "'tick=2' is not understood"),
        ("A:tick=1,lot=1,fee=2", "'fee=2' is not understood"),
        ("A:tick=1,lot=1,protection=5", "percentage"),
        ("A:tick=1,lot=0.0000000000000000001", "out of range"),
    ],
)
def test_an_operator_is_told_what_is_wrong_with_a_market(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        Market.parse(text)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"quantity_lots": 0}, "quantity"),
        ({"quantity_lots": COUNT_MAX + 1}, "quantity"),
        ({"price_ticks": None}, "price"),
        ({"price_ticks": 0}, "price"),
        ({"price_ticks": COUNT_MAX + 1}, "price"),
        ({"stop_ticks": 5}, "stop_price"),
        ({"type": "market"}, "price"),
        ({"type": "stop", "price_ticks": None}, "stop_price"),
        ({"type": "stop", "stop_ticks": 5}, "price"),
        ({"type": "stop_limit"}, "stop_price"),
        ({"time_in_force": "gtd"}, "expires"),
        ({"expires_ms": 2_000}, "expires"),
        ({"time_in_force": "gtd", "expires_ms": 1_000}, "expires"),
        (
            {"type": "market", "price_ticks": None, "time_in_force": "gtd", "expires_ms": 2_000},
            "time_in_force",
        ),
        ({"time_in_force": "ioc", "post_only": True}, "post_only"),
        ({"type": "stop_limit", "stop_ticks": 5, "post_only": True}, "post_only"),
    ],
)
def test_an_order_that_contradicts_itself_is_told_the_field(
    changes: dict[str, object], field: str
) -> None:
    with pytest.raises(OrderError) as error:
        BTC.check(msgspec.structs.replace(new_order(), **changes), now_ms=1_000)
    assert error.value.code == -32602
    assert error.value.data == {"field": field}


@pytest.mark.parametrize(
    "changes",
    [
        {"post_only": True},
        {"time_in_force": "gtd", "expires_ms": 1_001, "post_only": True},
        {"type": "market", "price_ticks": None},
        {"type": "market", "price_ticks": None, "time_in_force": "fok"},
        {"type": "stop", "price_ticks": None, "stop_ticks": 5},
        {"type": "stop_limit", "stop_ticks": 5, "time_in_force": "ioc"},
        {"price_ticks": COUNT_MAX, "quantity_lots": COUNT_MAX},
    ],
)
def test_an_order_that_makes_sense_is_let_through(changes: dict[str, object]) -> None:
    BTC.check(msgspec.structs.replace(new_order(), **changes), now_ms=1_000)
