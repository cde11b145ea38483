"""
The pid file of a daemon that ``twistd`` runs: a stale one is taken over, a true one explained.

Shell: touches one file. ``twistd`` itself stops at a file that is empty, which is what a machine
that crashed leaves, and at a process id that another program has by now: in a container every
start may have the same.
"""

from __future__ import annotations

import os
from pathlib import Path

from grenache_py.errors import ConfigError

__all__ = ["take_over"]

#: What a process id has at most, with its line break.
FILE_BYTES_MAX = 32


def take_over(path: str, processes: Path = Path("/proc")) -> str:
    """
    Remove the pid file at ``path`` when the daemon that wrote it is gone.

    Args:
        processes: where the kernel shows processes; without it ``twistd`` decides.

    Returns:
        what was done and why, as a line for the operator; "" for nothing.

    Raises:
        ConfigError: a daemon runs with this file, or the file cannot be used.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(FILE_BYTES_MAX).strip()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ConfigError(f"pid file {path}: {error.strerror}") from None
    why = _why_stale(path, content, processes)
    if not why:
        return ""
    try:
        os.unlink(path)
    except OSError as error:
        raise ConfigError(f"pid file {path} {why}, and stays: {error.strerror}") from None
    return f"pid file {path} {why}: removed"


def _why_stale(path: str, content: bytes, processes: Path) -> str:
    """Why nobody runs with a pid file of this content; "" when that is for ``twistd`` to say."""
    if not content:
        return "is empty"
    if not content.isdigit():
        return "holds no process id"
    pid = int(content)
    if pid in (os.getpid(), os.getppid()):
        return f"names process {pid}, which is this one's own"
    if not (processes / "self").exists():
        return ""
    try:
        words = (processes / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return f"names process {pid}, which is gone"
    command = b" ".join(words).decode("utf-8", "replace").strip()
    if not any(os.path.basename(word) == b"twistd" for word in words):
        return f"names process {pid}, which is another program ({command[:60]})"
    raise ConfigError(
        f"process {pid} ({command[:120]}) runs with pid file {path}: stop it, or give this one"
        " another with twistd's --pidfile (--pidfile= for none)"
    )
