"""
Markets, quantities and prices as people type them, at telnet and on the command line.

Pure, and quick to import.
"""

from __future__ import annotations

import re

__all__ = ["amount", "market_name"]

_AMOUNT = re.compile(
    r"([^\s@]+)(?:\s*@\s*([^\s@]+)|\s+(market|[0-9.][^\s@]*))(?=\s|\Z)", re.IGNORECASE
)


def market_name(word: str) -> str:
    """A market: ``btc/usd`` is ``BTC-USD``."""
    return word.upper().replace("/", "-")


def amount(text: str) -> tuple[str, str | None, str] | None:
    """
    Read ``1.5 @ 100``, ``1.5@100``, ``.5 100`` or ``1.5 market``, and what may follow.

    Returns:
        quantity, price (None for the best there is), and the rest; None when it is none of these.
    """
    match = _AMOUNT.match(text)
    if match is None:
        return None
    written, at, bare = match.groups()
    quantity, price = (f"0{part}" if part[0] == "." else part for part in (written, at or bare))
    return quantity, None if price.lower() == "market" else price, text[match.end() :]
