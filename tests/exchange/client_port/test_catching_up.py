"""Updates that were missed, told by pages, and what becomes of a page that cannot be read."""

from __future__ import annotations

from typing import Any

import pytest

from grenache_py.exchange.client_port.feed import Feed
from grenache_py.exchange.client_port.methods.catching_up import PAGE_UPDATES_MAX, KeptUpdates
from grenache_py.exchange.client_port.send_queue import SendQueue
from grenache_py.exchange.errors import StoreError

GAP = b'"gap"'


def now(coroutine: Any) -> Any:
    """What a coroutine returns that has nothing to wait for."""
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    return ended.value.value


class Store:
    """Three pages of updates; reading them fails from some page on."""

    newest = 3 * PAGE_UPDATES_MAX

    def __init__(self, pages: int, error: Exception) -> None:
        self.pages, self.error = pages, error
        self.feed, self.queue = Feed({}, lambda order: ()), SendQueue()
        subscription = self.feed.begin("executions:", self.queue, after=2**63)
        self.queue.open("executions:")
        kept = KeptUpdates(self.feed, lambda: self.newest, self.read)
        self.told = kept.after(subscription, 0, self.newest)

    async def read(self, seq: int, limit: int) -> list[tuple[int, bytes]]:
        if not self.pages:
            raise self.error
        self.pages -= 1
        return [(number, b"%d\n" % number) for number in range(seq + 1, seq + 1 + limit)]

    def gaps(self) -> int:
        return self.queue.take(1 << 20).count(GAP) if self.queue.size else 0


def test_the_first_page_that_fails_is_the_error_of_the_request() -> None:
    store = Store(0, StoreError("io", "the disk is gone"))
    with pytest.raises(StoreError):
        store.told.__anext__().send(None)
    assert store.gaps() == 0
    assert not store.feed.names(store.queue)


def test_a_later_page_that_cannot_be_read_ends_in_a_gap() -> None:
    store = Store(1, StoreError("io", "the disk is gone"))
    assert len(now(store.told.__anext__())) == PAGE_UPDATES_MAX
    with pytest.raises(StopAsyncIteration):
        store.told.__anext__().send(None)
    assert store.gaps() == 1


def test_a_bug_in_a_later_page_ends_in_a_gap_too_and_is_not_hidden() -> None:
    store = Store(1, RuntimeError("a bug"))
    now(store.told.__anext__())
    with pytest.raises(RuntimeError, match="a bug"):
        store.told.__anext__().send(None)
    assert store.gaps() == 1
