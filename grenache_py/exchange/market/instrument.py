"""
A market is an instrument with a tick and a lot; decimal strings are converted to these here.

Pure. People and the wire write ``"100.25"``; everything inside counts ticks (steps of price)
and lots (steps of quantity) in integers, so there is no rounding and no float anywhere
(docs/failure-modes.rst#f27). A number is written in one way only, the shortest: ``100``,
``100.25``, ``0.5``.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import attrs

from grenache_py.errors import ConfigError
from grenache_py.exchange.errors import INVALID_PARAMS, NOT_A_MULTIPLE, OrderError
from grenache_py.exchange.market.order import NewOrder

__all__ = ["SYMBOL", "Market", "Step"]

#: Exact in a browser's numbers as well, and SQLite can add up a thousand of them in 64 bits.
COUNT_MAX = 2**53 - 1
#: Longer than any number in range can be: 19 digits, a point and as many decimals again.
NUMBER_CHARS_MAX = 40
#: Digits before the point that every peer reads in a price or a quantity.
WHOLE_DIGITS_MAX = 19
#: Decimals a tick or a lot may have.
DECIMALS_MAX = 18
#: Numbers a step remembers the text of, and texts it remembers the number of.
TEXTS_MAX = 10_000
#: Digits an average price shows beyond those of the tick.
AVERAGE_EXTRA_DECIMALS = 4
#: How far from the best price a market order may trade, in basis points: 5 %.
PROTECTION_BP_DEFAULT = 500

_DECIMAL = re.compile(r"([0-9]+)(?:\.([0-9]+))?", re.ASCII)
#: What a market can be called; ``fullmatch`` it.
SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9._-]{0,31}", re.ASCII)
_FIELDS = frozenset({"tick", "lot", "protection", "band"})
_PERCENT = re.compile(r"([0-9]{1,3})(?:\.([0-9]{1,2}))?%", re.ASCII)


class _Texts(dict[int, str]):
    """
    The decimal strings of counts, made when they are first asked for.

    Orders crowd around few prices and sizes and each is written ten times: all but the first
    are a look-up in C.
    """

    def __init__(self, units: int, decimals: int) -> None:
        self._units = units
        self._decimals = decimals

    def __missing__(self, count: int) -> str:
        if len(self) >= TEXTS_MAX:
            self.clear()
        text = self[count] = decimal_text(count * self._units, self._decimals)
        return text


@attrs.frozen
class Step:
    """
    The smallest difference between two prices or two quantities, such as ``0.05``.

    Attributes:
        units, decimals: the step is ``units / 10**decimals``.
        text: the step as a decimal string.
        format: gives the shortest decimal string for a number of steps.
        count_max: more steps than this are too many to count, or to be written with
            ``WHOLE_DIGITS_MAX`` digits.
    """

    units: int
    decimals: int
    text: str
    format: Callable[[int], str] = attrs.field(init=False, eq=False, repr=False)
    count_max: int = attrs.field(init=False, eq=False, repr=False)
    _counts: dict[str, int] = attrs.field(init=False, factory=dict, eq=False, repr=False)

    @format.default
    def _format(self) -> Callable[[int], str]:
        return _Texts(self.units, self.decimals).__getitem__

    @count_max.default
    def _count_max(self) -> int:
        units_max: int = 10 ** (WHOLE_DIGITS_MAX + self.decimals) - 1
        return min(COUNT_MAX, units_max // self.units)

    @classmethod
    def of(cls, text: str) -> Step:
        """
        Raises:
            ValueError: ``text`` is not a positive decimal number of at most 18 decimals.
        """
        match = _DECIMAL.fullmatch(text) if len(text) <= NUMBER_CHARS_MAX else None
        if match is None:
            raise ValueError(f"{text!r} is not a decimal number")
        whole, part = match[1], (match[2] or "").rstrip("0")
        units = int(whole + part)
        if not 0 < units <= COUNT_MAX or len(part) > DECIMALS_MAX:
            raise ValueError(f"{text} is out of range")
        return cls(units, len(part), decimal_text(units, len(part)))

    def count(self, text: str, field: str) -> int:
        """
        How many steps ``text`` is; ``field`` is what errors call it.

        Raises:
            OrderError: -32602 not a positive decimal number in range; -32008 not a multiple.
        """
        count = self._counts.get(text)
        if count is None:
            count = self._parse(text, field)
            if len(self._counts) >= TEXTS_MAX:
                self._counts.clear()
            self._counts[text] = count
        return count

    def _parse(self, text: str, field: str) -> int:
        whole, point, part = text.partition(".")
        # isdigit alone also likes superscripts; isascii keeps those out.
        if (
            len(text) > NUMBER_CHARS_MAX
            or not (whole.isdigit() and text.isascii())
            or (point and not part.isdigit())
        ):
            raise OrderError(
                INVALID_PARAMS,
                f"{field} {text[:NUMBER_CHARS_MAX]!r} is not a positive decimal number;"
                ' write it like "1.25"',
                field=field,
            )
        if len(part) > self.decimals:
            surplus = part[self.decimals :].rstrip("0")
            if surplus:
                raise self._not_a_multiple(text, field, int(whole + part[: self.decimals]))
            part = part[: self.decimals]
        units = int(whole + part.ljust(self.decimals, "0"))
        if self.units != 1:
            count, rest = divmod(units, self.units)
            if rest:
                raise self._not_a_multiple(text, field, units)
        else:
            count = units
        if not 0 < count <= self.count_max:
            most = self.format(self.count_max)
            limit = f"must be at most {most}" if count else "must be more than 0"
            raise OrderError(INVALID_PARAMS, f"{field} {text} {limit}", field=field)
        return count

    def _not_a_multiple(self, text: str, field: str, units_below: int) -> OrderError:
        below = units_below // self.units
        nearest = f"{self.format(below)} or {self.format(below + 1)}"
        if not below:
            nearest = self.format(1)
        return OrderError(
            NOT_A_MULTIPLE,
            f"{field} {text} is not a multiple of {self.text}; the nearest is {nearest}",
            field=field,
        )


def decimal_text(units: int, decimals: int) -> str:
    """The shortest decimal string for ``units / 10**decimals``; ``units`` is not negative."""
    whole, part = divmod(units, 10**decimals)
    return f"{whole}.{part:0{decimals}d}".rstrip("0") if part else str(whole)


@attrs.frozen
class Market:
    """
    One market.

    Attributes:
        symbol: its name, for example ``BTC-USD``.
        tick: the step of its prices.
        lot: the step of its quantities.
        protection_bp: how far beyond the best opposite price a market order may trade, in
            basis points (1/100 of a per cent) of that price.
        band_bp: how far from the last trade or the middle of the book the price of an order may
            be, in basis points; 0: as far as it likes.
        format_price: ``10025`` ticks of 0.01 -> ``"100.25"``.
        format_quantity: ``15000`` lots of 0.0001 -> ``"1.5"``.
        steps: tick and lot as decimal strings: the same for two peers when both trade alike.
    """

    symbol: str
    tick: Step
    lot: Step
    protection_bp: int = PROTECTION_BP_DEFAULT
    band_bp: int = 0
    format_price: Callable[[int], str] = attrs.field(init=False, eq=False, repr=False)
    format_quantity: Callable[[int], str] = attrs.field(init=False, eq=False, repr=False)
    steps: tuple[str, str] = attrs.field(init=False, eq=False, repr=False)

    @format_price.default
    def _format_price(self) -> Callable[[int], str]:
        return self.tick.format

    @format_quantity.default
    def _format_quantity(self) -> Callable[[int], str]:
        return self.lot.format

    @steps.default
    def _steps(self) -> tuple[str, str]:
        return self.tick.text, self.lot.text

    @classmethod
    def parse(cls, text: str) -> Market:
        """
        Read a market as the operator writes it: ``BTC-USD:tick=0.01,lot=0.0001,protection=5%``,
        or with ``,band=20%``.

        Raises:
            ConfigError: with a sentence that says what is wrong.
        """
        symbol, _, rest = text.partition(":")
        if not SYMBOL.fullmatch(symbol):
            raise ConfigError(
                f"market {text!r}: the symbol must be 1 to 32 characters of A-Z, 0-9, '.', '_'"
                " and '-', beginning with a letter or digit"
            )
        fields: dict[str, str] = {}
        for item in filter(None, rest.split(",")):
            name, equals, value = item.partition("=")
            if not equals or name not in _FIELDS or name in fields:
                raise ConfigError(
                    f"market {text!r}: {item!r} is not understood;"
                    f" write {symbol}:tick=0.01,lot=0.0001[,protection=5%][,band=20%]"
                )
            fields[name] = value
        steps: list[Step] = []
        for name in ("tick", "lot"):
            try:
                steps.append(Step.of(fields.get(name, "")))
            except ValueError as error:
                wrong = f"{name} {error}" if name in fields else f"{name} is missing"
                raise ConfigError(
                    f"market {text!r}: {wrong}; write {symbol}:tick=0.01,lot=0.0001"
                ) from None
        shares_bp = {"protection": PROTECTION_BP_DEFAULT, "band": 0}
        for name in shares_bp.keys() & fields.keys():
            percent = _PERCENT.fullmatch(fields[name])
            if percent is None:
                raise ConfigError(
                    f"market {text!r}: {name} must be a percentage such as 5% or 0.25%"
                )
            shares_bp[name] = int(percent[1]) * 100 + int((percent[2] or "").ljust(2, "0"))
        return cls(symbol, steps[0], steps[1], shares_bp["protection"], shares_bp["band"])

    def price_ticks(self, text: str, field: str = "price") -> int:
        """
        The number of ticks of a price.

        Raises:
            OrderError: see ``Step.count``.
        """
        return self.tick.count(text, field)

    def quantity_lots(self, text: str, field: str = "quantity") -> int:
        """
        The number of lots of a quantity.

        Raises:
            OrderError: see ``Step.count``.
        """
        return self.lot.count(text, field)

    def format_average(self, value: int, lots: int) -> str:
        """
        The average price of ``lots`` > 0 that were traded for ``value`` (ticks x lots).

        Rounded half up, four digits beyond the tick's.
        """
        decimals = self.tick.decimals + AVERAGE_EXTRA_DECIMALS
        units = value * self.tick.units * 10**AVERAGE_EXTRA_DECIMALS
        return decimal_text((2 * units + lots) // (2 * lots), decimals)

    def check(self, new: NewOrder, now_ms: int) -> None:
        """
        Refuse an order whose fields contradict each other, naming the field that is wrong.

        Raises:
            OrderError: -32602.
        """
        type_, tif = new.type, new.time_in_force
        if not 0 < new.quantity_lots <= COUNT_MAX:
            raise _wrong("quantity", "quantity must be more than 0 and in range")
        price = new.price_ticks or 0
        if type_ != "limit" or new.stop_ticks is not None or not 0 < price <= COUNT_MAX:
            _check_ticks(new)
        if (tif == "gtd") != (new.expires_ms is not None):
            raise _wrong("expires", "time_in_force gtd and expires go together")
        if new.expires_ms is not None and new.expires_ms <= now_ms:
            raise _wrong("expires", "expires is in the past; give a time still to come")
        if type_ == "market" and tif == "gtd":
            raise _wrong("time_in_force", "a market order trades at once or not at all: ioc or fok")
        if new.post_only and (type_ != "limit" or tif not in {"gtc", "gtd"}):
            raise _wrong("post_only", "only a limit order that may rest (gtc, gtd) is post_only")


def _check_ticks(new: NewOrder) -> None:
    type_ = new.type
    for field, ticks, wanted in (
        ("price", new.price_ticks, type_ in {"limit", "stop_limit"}),
        ("stop_price", new.stop_ticks, type_ in {"stop", "stop_limit"}),
    ):
        if ticks is None and wanted:
            raise _wrong(field, f"a {type_} order needs a {field}")
        if ticks is not None and not wanted:
            raise _wrong(field, f"a {type_} order has no {field}; leave it out")
        if ticks is not None and not 0 < ticks <= COUNT_MAX:
            raise _wrong(field, f"{field} must be more than 0 and in range")


def _wrong(field: str, message: str) -> OrderError:
    return OrderError(INVALID_PARAMS, message, field=field)
