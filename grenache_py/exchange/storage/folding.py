"""
Batches of the journal brought into the tables, many in one transaction, beside the commits.

Shell. Touches the worker thread it is given and the clock; the work is ``Database.fold``.

Each 0.2 s, or at once when somebody waits for it: a reader, who sees the tables only, or a commit
that finds too much waiting. Another program that writes to the file makes it wait (``locked``), and
then it tries again. Whatever else fails is the end of the store until it is opened again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from grenache_py.deferreds import spawn
from grenache_py.exchange.effects.rows import Row
from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.storage.database import Database
from grenache_py.exchange.storage.journal import ROOM_BYTES, Journal, Mark
from grenache_py.exchange.storage.worker_thread import WorkerThread

__all__ = ["Folding"]

#: After the first batch that waits.
FOLD_AFTER_S = 0.2
#: After a try that found the file locked.
FOLD_AGAIN_S = 1.0
#: In one transaction, or a little more: the writer has other things to do, too.
FOLD_ROWS = 20_000


class _Waiting(NamedTuple):
    """A batch that is in the journal only; ``mark`` is the place behind it."""

    rows: Sequence[Row]
    mark: Mark
    bytes: int
    since: float


class Folding:
    """
    What one journal has that the tables have not.

    Attributes:
        failure: why nothing is folded any more; None while all is well.
        bytes: how much waits.
    """

    log = Logger()

    def __init__(
        self,
        database: Database,
        journal: Journal,
        writer: WorkerThread,
        clock: IReactorTime,
        folded: Callable[[], None],
    ) -> None:
        """
        Args:
            writer: where ``database`` lives.
            folded: called after each transaction.
        """
        self.failure: StoreError | None = None
        self.bytes = 0
        self._database = database
        self._journal = journal
        self._writer = writer
        self._clock = clock
        self._folded = folded
        self._batches: list[_Waiting] = []
        self._running = False
        self._later: IDelayedCall | None = None
        self._readers: list[tuple[int, Deferred[None]]] = []

    @property
    def behind_s(self) -> float:
        """Since when the oldest batch waits, in seconds; 0 when none does."""
        return self._clock.seconds() - self._batches[0].since if self._batches else 0.0

    @property
    def full(self) -> bool:
        """Whether a commit should wait until this has caught up."""
        return self.bytes > ROOM_BYTES

    def add(self, rows: Sequence[Row], mark: Mark, size: int) -> None:
        """A batch of ``size`` bytes is in the journal; ``mark`` is the place behind it."""
        self._batches.append(_Waiting(rows, mark, size, self._clock.seconds()))
        self.bytes += size
        if self.failure is None and not self._running and self._later is None:
            self._later = self._clock.callLater(FOLD_AFTER_S, self._begin)

    def caught_up(self) -> Deferred[None]:
        """
        Fires with: None, once every batch that was added before is in the tables.

        Fails with:
            StoreError: it could not be brought there.

        Cancel: only this wait ends.
        """
        if self.failure is not None:
            return fail(self.failure)
        if not self._batches:
            return succeed(None)
        reader: Deferred[None] = Deferred()
        self._readers.append((self._batches[-1].mark.number, reader))
        if not self._running:
            self._begin()
        return reader

    async def close(self) -> None:
        """Finish what is being folded, and fold no more; who waits for more is told."""
        self.failure = self.failure or StoreError("closed", "the store is being closed")
        self._cancel()
        await self._writer.run(lambda: None)
        self._tell_all(self.failure)

    def _begin(self) -> None:
        self._cancel()
        spawn(self.log, "folding the journal", self._fold())

    def _cancel(self) -> None:
        later, self._later = self._later, None
        if later is not None and later.active():
            later.cancel()

    async def _fold(self) -> None:
        self._running, pause = True, FOLD_AFTER_S
        some = list(_some(self._batches))
        mark = some[-1].mark
        try:
            await self._writer.run(self._database.fold, [each.rows for each in some], mark)
        except StoreError as error:
            if error.fault != "locked":
                self.failure = self.failure or error
            pause = FOLD_AGAIN_S
            self._tell_all(error)
        except Exception as error:  # a bug of ours: no half of a batch may be read, either
            self.log.failure("folding the journal failed as it must not")
            self.failure = StoreError("bug", f"a batch cannot be folded: {error!r}")
            self._tell_all(self.failure)
        else:
            self._journal.folded = mark
            del self._batches[: len(some)]
            self.bytes -= sum(each.bytes for each in some)
            self._folded()
            self._tell(mark.number)
        finally:
            self._running = False
        if self._batches and self.failure is None:
            if self._readers:
                pause = 0.0
            self._later = self._clock.callLater(pause, self._begin)

    def _tell(self, number: int) -> None:
        """The tables have the batches up to ``number``."""
        told = [reader for wanted, reader in self._readers if wanted <= number]
        self._readers = [each for each in self._readers if each[0] > number]
        for reader in told:
            reader.callback(None)

    def _tell_all(self, error: StoreError) -> None:
        told, self._readers = self._readers, []
        for _, reader in told:
            reader.errback(error)


def _some(batches: Iterable[_Waiting]) -> Iterator[_Waiting]:
    """The oldest: as many as one transaction should have."""
    rows = 0
    for batch in batches:
        yield batch
        rows += len(batch.rows)
        if rows > FOLD_ROWS:
            return
