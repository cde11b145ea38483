"""Waiting for what other programs do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

__all__ = ["until"]

T = TypeVar("T")


def until(what: str, look: Callable[[], T | None], deadline_s: float) -> T:
    """Look again and again until there is something to see; what it was, or the test fails."""
    give_up = time.monotonic() + deadline_s
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > give_up:
            pytest.fail(f"not within {deadline_s:g} s: {what}")
        time.sleep(0.1)
