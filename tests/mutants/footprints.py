"""
Which lines each test runs and how long it takes, kept in a file for the next run.

To learn it costs as much as to judge several hundred mutants. It holds as long as the code does,
and what tests share; a test file that changed is learned anew by itself.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import attrs

__all__ = ["Footprint", "Footprints"]


@attrs.frozen
class Footprint:
    """
    Attributes:
        text: a digest of the test's file.
        seconds: CPU seconds that it took.
        lines: those that it ran, by path from the root.
    """

    text: str
    seconds: float
    lines: dict[str, list[int]]


class Footprints(dict[str, Footprint]):
    """Of each test by its id, as far as they still hold; at first those of an earlier run."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._code = digest(*sorted(_shared()))
        if path is not None and path.exists():
            kept = json.loads(path.read_text())
            if kept["code"] == self._code:
                self.update((name, Footprint(*each)) for name, each in kept["tests"].items())

    def save(self) -> None:
        """Keep them for the next run."""
        if self._path is not None:
            tests = {name: attrs.astuple(each, recurse=False) for name, each in self.items()}
            self._path.write_text(json.dumps({"code": self._code, "tests": tests}))


def digest(*paths: Path) -> str:
    """Of the texts of files, and of what else decides which lines a test runs."""
    found = sha256(f"{sys.version} {os.environ.get('ENGINE_SEQUENCES')}".encode())
    for path in paths:
        found.update(f"{path}\0".encode() + path.read_bytes())
    return found.hexdigest()


def _shared() -> Iterator[Path]:
    for path in [*Path("grenache_py").rglob("*.py"), *Path("tests").rglob("*.py")]:
        if not path.name.startswith("test_") and path.parent != Path("tests", "mutants"):
            yield path
