"""The store's shell: threads, the directory's lock, what survives being closed."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytest_twisted

from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.rows import MetaRow
from grenache_py.exchange.store import Store


@pytest.fixture
def store(tmp_path: Path):
    from twisted.internet import reactor

    made = Store(str(tmp_path), reactor)
    yield made
    pytest_twisted.blockon(made.close())


@pytest_twisted.ensureDeferred
async def test_what_was_committed_is_there_after_opening_again(store: Store) -> None:
    assert (await store.open()).meta == {}
    await store.commit([MetaRow("epoch", 1), MetaRow("clock_floor_ms", 5)])
    await store.commit([MetaRow("clock_floor_ms", 9)])
    await store.close()
    assert (await store.open()).meta == {"epoch": 1, "clock_floor_ms": 9}


@pytest_twisted.ensureDeferred
async def test_a_second_daemon_on_one_directory_is_told_who_has_it(
    store: Store, tmp_path: Path
) -> None:
    from twisted.internet import reactor

    await store.open()
    second = Store(str(tmp_path), reactor)
    with pytest.raises(StoreError, match=r"in use by another exchange \(process \d+\)") as error:
        await second.open()
    assert error.value.fault == "locked"
    await store.close()
    await second.open()
    await second.close()
