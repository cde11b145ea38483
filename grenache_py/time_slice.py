"""
A short time slice: who wakes up for a little work has a core at once, also where others want it.

Shell. Touches how Linux schedules the calling thread and those that it starts afterwards.

Linux leaves a core for some 3 ms to the thread that runs there. Who wakes up meanwhile waits for
that, unless its own time slice is shorter (EEVDF, Linux 6.12: ``sched_setattr(2)``). A daemon wakes
up again and again for one order: for the client's line, for the batch that is to be written, for
the disk that has it. A short slice gives it no more of the cores, but its share in small pieces.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

__all__ = ["SLICE_NS", "shorten_time_slice"]

#: The shortest that Linux takes, in nanoseconds; by default it is 2,800,000 or so.
SLICE_NS = 100_000

#: The number of ``sched_setattr``, for which the C library has no function, by machine.
_SYSCALLS = {"x86_64": 314, "aarch64": 274, "riscv64": 274}
#: Its ``struct sched_attr``: size, policy, flags, nice, priority, runtime (the slice), deadline,
#: period.
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")
_KEEP_POLICY = 0x08


def shorten_time_slice() -> bool:
    """
    Give the calling thread, and those that it starts from now on, a short slice.

    Returns:
        False where that cannot be asked for; then nothing has changed. A Linux before 6.12 takes
        it, and goes on as before.
    """
    number = _SYSCALLS.get(os.uname().machine) if sys.platform == "linux" else None
    if number is None or sys.maxsize < 2**32:
        return False
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    attributes = _ATTRIBUTES.pack(_ATTRIBUTES.size, 0, _KEEP_POLICY, nice, 0, SLICE_NS, 0, 0)
    failed: int = ctypes.CDLL(None).syscall(number, 0, attributes, 0)
    return not failed
