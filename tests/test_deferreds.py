"""Tasks, deadlines and one-shot events, on a virtual clock."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock, deferLater
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from grenache_py.deferreds import Background, DeadlinePassed, OneShot, deadline, every, spawn

log = Logger()


class SpawnTests(SynchronousTestCase):
    def test_a_failure_is_logged_with_its_name_and_never_raised(self) -> None:
        async def burn() -> None:
            raise ValueError("no luck")

        self.assertIsNone(self.successResultOf(spawn(log, "burn toast", burn())))
        (failure,) = self.flushLoggedErrors(ValueError)
        self.assertEqual(failure.getErrorMessage(), "no luck")

    def test_a_cancelled_task_ends_quietly_after_its_cleanup(self) -> None:
        cleaned = []

        async def wait() -> None:
            try:
                await Deferred()
            finally:
                cleaned.append(True)

        task = spawn(log, "wait", wait())
        self.assertNoResult(task)
        task.cancel()
        self.assertIsNone(self.successResultOf(task))
        self.assertEqual(cleaned, [True])

    def test_the_result_reaches_who_asks(self) -> None:
        async def answer() -> int:
            return 42

        self.assertEqual(self.successResultOf(spawn(log, "answer", answer())), 42)


class BackgroundTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.background = Background(log)

    def test_stop_cancels_what_runs_and_waits_for_its_cleanup(self) -> None:
        ended = []

        async def slow_to_leave(name: str) -> None:
            try:
                await Deferred()
            except CancelledError:
                await deferLater(self.clock, 1)
                ended.append(name)
                raise

        self.background.spawn("a", slow_to_leave("a"))
        self.background.spawn("b", slow_to_leave("b"))
        stopped = Deferred.fromCoroutine(self.background.stop())
        self.assertNoResult(stopped)
        self.clock.advance(1)
        self.successResultOf(stopped)
        self.assertEqual(ended, ["a", "b"])
        self.assertEqual(len(self.background), 0)
        self.successResultOf(Deferred.fromCoroutine(self.background.stop()))

    def test_a_finished_task_is_forgotten(self) -> None:
        self.background.spawn("nap", deferred_nap(self.clock))
        self.assertEqual(len(self.background), 1)
        self.clock.advance(1)
        self.assertEqual(len(self.background), 0)

    def test_nothing_starts_after_stop(self) -> None:
        ran = []

        async def run() -> None:
            ran.append(True)

        self.successResultOf(Deferred.fromCoroutine(self.background.stop()))
        self.assertIsNone(self.successResultOf(self.background.spawn("late", run())))
        self.assertEqual(ran, [])


async def deferred_nap(clock: Clock) -> None:
    await deferLater(clock, 1)


class DeadlineTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def test_a_result_in_time_passes_through_and_leaves_no_timer(self) -> None:
        wait: Deferred[str] = Deferred()
        d = deadline(wait, 2, self.clock, "the answer")
        self.clock.advance(1.9)
        self.assertNoResult(d)
        wait.callback("yes")
        self.assertEqual(self.successResultOf(d), "yes")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_failure_in_time_passes_through(self) -> None:
        wait: Deferred[str] = Deferred()
        d = deadline(wait, 2, self.clock, "the answer")
        wait.errback(KeyError("gone"))
        self.failureResultOf(d, KeyError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_error_says_what_was_waited_for_and_is_a_timeout(self) -> None:
        wait: Deferred[str] = Deferred()
        d = deadline(wait, 2, self.clock, "the answer of 10.0.0.1:7071")
        self.clock.advance(2)
        error = self.failureResultOf(d, DeadlinePassed).value
        self.assertIsInstance(error, TimeoutError)
        self.assertEqual(str(error), "the answer of 10.0.0.1:7071 took more than 2 s")

    def test_it_is_on_time_even_if_the_task_will_not_end(self) -> None:
        async def stubborn() -> str:
            while True:
                try:
                    return await blocker
                except CancelledError:
                    self.cancelled += 1

        self.cancelled = 0
        blocker: Deferred[str] = Deferred(lambda d: None)
        d = deadline(stubborn(), 2, self.clock, "it")
        self.clock.advance(2)
        self.failureResultOf(d, DeadlinePassed)
        self.assertEqual(self.cancelled, 1)

    def test_a_late_failure_is_not_reported_as_unhandled(self) -> None:
        wait: Deferred[str] = Deferred(lambda d: d.errback(OSError("closed")))
        d = deadline(wait, 2, self.clock, "it")
        self.clock.advance(2)
        self.failureResultOf(d, DeadlinePassed)

    def test_cancelling_cancels_the_wait_and_its_timer(self) -> None:
        wait: Deferred[str] = Deferred()
        d = deadline(wait, 2, self.clock, "it")
        d.cancel()
        self.failureResultOf(d, CancelledError)
        self.assertTrue(wait.called)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancelling_leaves_no_timer_even_if_the_task_will_not_end(self) -> None:
        async def stubborn() -> None:
            try:
                await Deferred()
            except CancelledError:
                await Deferred()

        d = deadline(stubborn(), 2, self.clock, "it")
        d.cancel()
        self.failureResultOf(d, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class EveryTests(SynchronousTestCase):
    def test_a_failed_round_is_logged_and_the_next_one_comes(self) -> None:
        clock = Clock()
        rounds = []

        async def body() -> None:
            rounds.append(clock.seconds())
            if len(rounds) == 1:
                raise OSError("disk full")

        task = spawn(log, "loop", every(lambda: 5.0, clock, log, "save", body))
        self.assertEqual(rounds, [])
        clock.advance(5)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        clock.advance(5)
        self.assertEqual(rounds, [5.0, 10.0])
        task.cancel()
        self.successResultOf(task)
        self.assertEqual(clock.getDelayedCalls(), [])


class OneShotTests(SynchronousTestCase):
    def test_each_waiter_has_a_deferred_of_its_own(self) -> None:
        shot: OneShot[int] = OneShot()
        first, second = shot.when(), shot.when()
        first.addCallback(lambda value: value + 1)
        self.assertNoResult(second)
        shot.fire(1)
        self.assertEqual(self.successResultOf(first), 2)
        self.assertEqual(self.successResultOf(second), 1)
        self.assertEqual(self.successResultOf(shot.when()), 1)

    def test_cancelling_one_waiter_leaves_the_others(self) -> None:
        shot: OneShot[int] = OneShot()
        first, second = shot.when(), shot.when()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        shot.fire(1)
        self.assertEqual(self.successResultOf(second), 1)

    def test_failure_reaches_waiters_early_and_late(self) -> None:
        shot: OneShot[int] = OneShot()
        early = shot.when()
        shot.fail(OSError("port taken"))
        self.failureResultOf(early, OSError)
        self.failureResultOf(shot.when(), OSError)

    def test_twice_is_a_bug(self) -> None:
        shot: OneShot[int] = OneShot()
        shot.fire(1)
        with pytest.raises(AssertionError):
            shot.fire(2)
