"""One machine for all tests of a run; see ``machine.py``."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd.machine import Machine, missing

#: ``make test-systemd`` runs them: they take minutes.
collect_ignore_glob = [] if os.environ.get("SYSTEMD") else ["test_*.py"]


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    lacking = missing()
    if lacking:
        pytest.skip(lacking)
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    made = Machine(folder / "machine")
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("SHORT"):
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="not in the short form (SHORT=1)"))
