"""One image for all tests of a run; see ``engine.py``."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.containers.engine import Engine, missing

#: ``make test-containers`` runs them: they take minutes.
collect_ignore_glob = [] if os.environ.get("CONTAINERS") else ["test_*.py"]


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    lacking = missing()
    if lacking:
        pytest.skip(lacking)
    made = Engine()
    made.close()  # what killed runs have left
    try:
        made.build()
        yield made
    finally:
        made.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("SHORT"):
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="not in the short form (SHORT=1)"))
