"""Tests of asyncio leave the log of the test run alone."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def no_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grenache_py.aio.reactor.begin_logging", lambda: None)
