"""
A UDP client fast enough to measure a server with: sendmmsg(2) and recvmmsg(2) through ctypes.

One call moves up to a whole window of datagrams, so that the client is not the bottleneck
that ``socket.send`` and ``socket.recv`` in Python are at 40,000 answers a second. Linux.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import time

_LIBC = ctypes.CDLL(None, use_errno=True)
_DATAGRAM_BYTES_MAX = 2048


class _IOVec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class _MsgHdr(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p),
        ("namelen", ctypes.c_uint32),
        ("iov", ctypes.POINTER(_IOVec)),
        ("iovlen", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class _MMsgHdr(ctypes.Structure):
    _fields_ = [("header", _MsgHdr), ("length", ctypes.c_uint32)]


def _batch(buffers: list[ctypes.Array[ctypes.c_char]], length: int) -> ctypes.Array[_MMsgHdr]:
    batch = (_MMsgHdr * len(buffers))()
    batch._vectors = []  # type: ignore[attr-defined]  # kept alive with the batch
    for header, buffer in zip(batch, buffers, strict=True):
        vector = _IOVec(ctypes.addressof(buffer), length)
        batch._vectors.append((vector, buffer))  # type: ignore[attr-defined]
        header.header.iov = ctypes.pointer(vector)
        header.header.iovlen = 1
    return batch


def answers_a_second(
    port: int, datagram: bytes, in_flight: int, seconds: float
) -> tuple[int, float]:
    """
    Keep ``in_flight`` copies of ``datagram`` on their way to ``port`` of loopback.

    Returns:
        How many answers came, and the seconds it took.
    """
    question = ctypes.create_string_buffer(datagram, len(datagram))
    questions = _batch([question] * in_flight, len(datagram))
    buffers = [ctypes.create_string_buffer(_DATAGRAM_BYTES_MAX) for _ in range(in_flight)]
    answers = _batch(buffers, _DATAGRAM_BYTES_MAX)
    # A server faster than this client would otherwise answer one at a time, and sleep between.
    at_once = max(in_flight // 4, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", port))
        # Blocking, but for ever never: a lost datagram starts the window anew.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 200_000))
        handle = client.fileno()
        _LIBC.sendmmsg(handle, questions, in_flight, 0)
        count = 0
        started = time.perf_counter()
        while time.perf_counter() < started + seconds:
            came = _LIBC.recvmmsg(handle, answers, at_once, 0, None)
            if came > 0:
                count += came
            elif ctypes.get_errno() not in (0, 11):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            _LIBC.sendmmsg(handle, questions, came if came > 0 else in_flight, 0)
        return count, time.perf_counter() - started
