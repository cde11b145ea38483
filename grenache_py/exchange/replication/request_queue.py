"""
Many things to ask one neighbour for, a bounded number of requests at a time.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import attrs

__all__ = ["RequestQueue"]

_Asked = TypeVar("_Asked")


@attrs.define
class RequestQueue(Generic[_Asked]):
    """
    What is still to be asked for, and how many requests are under way.

    Args:
        ask: sends the request for one thing.
        full: whether the neighbour may be asked nothing more now, whoever else asks it. What is
            not sent for that reason waits; it is sent when ``send`` is called again.
        at_once: requests under way at most.

    Attributes:
        waiting: what is still to be asked for, the next one last.
        under_way: requests without an answer.
    """

    _ask: Callable[[_Asked, float], None]
    _full: Callable[[], bool]
    at_once: int
    waiting: list[_Asked]
    under_way: int = 0

    def send(self, now: float) -> bool:
        """Send what may be sent now. Returns whether everything has been asked and answered."""
        while self.waiting and self.under_way < self.at_once and not self._full():
            self.under_way += 1
            self._ask(self.waiting.pop(), now)
        return not self.under_way and not self.waiting

    def answered(self) -> None:
        """A request came to its end."""
        self.under_way -= 1
