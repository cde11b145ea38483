"""What holds in every test of the exchange."""

from __future__ import annotations

import pytest

from grenache_py.errors import GrenacheError


@pytest.fixture(autouse=True)
def every_error_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told to a neighbour, a client or the log, and somebody has to act on it."""

    def said(self: GrenacheError, *words: object) -> None:
        Exception.__init__(self, *words)
        assert words and isinstance(words[0], str) and words[0], f"{type(self)} does not say why"

    monkeypatch.setattr(GrenacheError, "__init__", said)
