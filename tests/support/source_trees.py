"""The package as it was at another commit, out of git's history."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]


def git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)


#: What a daemon needs to run from a tree.
TO_RUN = ("grenache_py", "twisted", "pyproject.toml")


def source_tree(commit: str, folder: Path, paths: Sequence[str] = TO_RUN) -> Path | None:
    """
    Put the package as it was at ``commit`` into ``folder``; None without that history.

    Args:
        paths: what of it; everything when empty, as an installation needs.
    """
    packed = git("archive", commit, *paths)
    if packed.returncode:
        return None
    folder.mkdir()
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed.stdout, check=True)
    return folder
