"""The time slice of a daemon: short, inherited by its threads, and nothing else is changed."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import pytest

from grenache_py import time_slice
from grenache_py.time_slice import SLICE_NS, shorten_time_slice
from tests.crash.__main__ import Daemon

SCHED_GETATTR = {"x86_64": 315, "aarch64": 275, "riscv64": 275}


class Scheduled(NamedTuple):
    """How the kernel schedules a thread."""

    policy: int
    nice: int
    slice_ns: int


def scheduled(thread: int = 0) -> Scheduled:
    """Of a thread by its number, 0 the calling one."""
    buffer = ctypes.create_string_buffer(time_slice._ATTRIBUTES.size)
    number = SCHED_GETATTR[os.uname().machine]
    assert ctypes.CDLL(None).syscall(number, thread, buffer, len(buffer), 0) == 0
    _, policy, _, nice, _, slice_ns, _, _ = time_slice._ATTRIBUTES.unpack(buffer.raw)
    return Scheduled(policy, nice, slice_ns)


def has_slices() -> bool:
    """Whether this kernel has slices that a thread may choose."""
    known = sys.platform == "linux" and os.uname().machine in SCHED_GETATTR
    return known and scheduled().slice_ns > 0


needs_slices = pytest.mark.skipif(not has_slices(), reason="needs Linux 6.12")


def in_a_thread(call) -> None:
    """The slice of a thread that ends, so that other tests keep theirs."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            failures.append(error)

    thread = Thread(target=run)
    thread.start()
    thread.join()
    for failure in failures:
        raise failure


@needs_slices
@pytest.mark.parametrize("nicer", [0, 3])
def test_a_slice_is_short_and_nothing_else_has_changed(nicer: int) -> None:
    def check() -> None:
        os.setpriority(os.PRIO_PROCESS, 0, min(19, os.getpriority(os.PRIO_PROCESS, 0) + nicer))
        before = scheduled()
        assert shorten_time_slice()
        assert scheduled() == before._replace(slice_ns=SLICE_NS)

    in_a_thread(check)


@needs_slices
def test_threads_that_are_started_later_have_it_too() -> None:
    found: list[int] = []

    def check() -> None:
        shorten_time_slice()
        in_a_thread(lambda: found.append(scheduled().slice_ns))

    in_a_thread(check)
    assert found == [SLICE_NS]


@needs_slices
def test_a_policy_that_somebody_chose_stays() -> None:
    def check() -> None:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        shorten_time_slice()
        assert scheduled().policy == os.SCHED_BATCH

    in_a_thread(check)


def test_a_machine_that_has_no_number_for_it_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_slice, "_SYSCALLS", {})
    assert not shorten_time_slice()


@needs_slices
@pytest.mark.network
def test_all_threads_of_a_daemon_have_a_short_slice(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon, daemon.connect() as connection:
        connection.call("ping")
        tasks = Path(f"/proc/{daemon.process.pid}/task").iterdir()
        slices = {(task / "comm").read_text(): scheduled(int(task.name)).slice_ns for task in tasks}
    assert slices and set(slices.values()) == {SLICE_NS}
