"""The package as it was at another commit, out of git's history."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)


def source_tree(commit: str, folder: Path) -> Path | None:
    """Put the package as it was at ``commit`` into ``folder``; None without that history."""
    packed = git("archive", commit, "grenache_py", "twisted", "pyproject.toml")
    if packed.returncode:
        return None
    folder.mkdir()
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed.stdout, check=True)
    return folder
