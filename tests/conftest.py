"""Fixtures that give plain pytest functions what trial gives its own TestCases."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator

import hypothesis
import pytest
from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

# No test depends on speed: on a busy machine any example may take the 200 ms it is given.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")

# A shell starts its background jobs with SIGINT ignored, and what they start inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Run trial's TestCases first.

    They start and stop the reactor themselves, which is impossible once a test of
    pytest-twisted has left it running in its greenlet. (SynchronousTestCases do not mind.)
    """
    items.sort(key=lambda item: not issubclass(getattr(item, "cls", None) or object, TestCase))


def pytest_collection_finish() -> None:
    """Leave what was imported out of the collections after each test: most of their time."""
    gc.collect()
    gc.freeze()


class LoggedFailures(list[Failure]):
    """The failures logged while a test ran; ``flush`` those the test expected."""

    def __call__(self, event: LogEvent) -> None:
        failure = event.get("log_failure")
        if failure is not None:
            self.append(failure)

    def flush(self, *types: type[BaseException]) -> list[Failure]:
        """Take out and return the failures of ``types``."""
        taken = [failure for failure in self if failure.check(*types)]
        self[:] = [failure for failure in self if failure not in taken]
        return taken


@pytest.fixture(autouse=True)
def logged_failures(request: pytest.FixtureRequest) -> Iterator[LoggedFailures]:
    """Fail a test that logged a failure, or dropped one in a Deferred."""
    seen = LoggedFailures()
    if isinstance(request.instance, SynchronousTestCase):
        yield seen  # trial looks after its own, and has its own flushLoggedErrors
        return
    globalLogPublisher.addObserver(seen)
    yield seen
    gc.collect()  # a Deferred that held a Failure speaks only when it is collected
    globalLogPublisher.removeObserver(seen)
    assert not seen, [failure.getTraceback() for failure in seen]


@pytest.fixture(autouse=True)
def clean_reactor() -> Iterator[None]:
    """Fail a test that leaves a timer in the real reactor."""
    from twisted.internet import reactor

    before = set(reactor.getDelayedCalls())  # type: ignore[attr-defined]
    yield
    assert set(reactor.getDelayedCalls()) <= before  # type: ignore[attr-defined]
