"""The PostgreSQL server of the tests here, and the two kinds of database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import databases
from tests.support.databases import Engine
from tests.support.postgresql import MISSING, Server, primary


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server without a standby."""
    if MISSING:
        pytest.skip(MISSING)
    with primary() as made:
        yield made


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    if request.param == "sqlite":
        yield databases.of_sqlite()
    else:
        made = databases.of_postgresql(request.getfixturevalue("server"))
        yield made
        made.close()


@pytest.fixture(scope="module")
def engines(request: pytest.FixtureRequest) -> Iterator[list[Engine]]:
    """All at once, for hypothesis: pytest-twisted wraps such a test once more for a parameter."""
    found = [databases.of_sqlite()]
    if not MISSING:
        found.append(databases.of_postgresql(request.getfixturevalue("server")))
    yield found
    for each in found:
        each.close()
