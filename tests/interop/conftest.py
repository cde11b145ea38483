"""
The real Node programs, installed once from the npm registry into the user's cache.

``node_peers`` is the folder they are in; the scripts of ``tests/interop/node`` are copied
beside ``node_modules``, so that they find what they require. Where there is no npm the
tests are skipped, and say so; where npm cannot install them they fail.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent / "node"
INSTALL_TIMEOUT_S = 300


def cache_folder(scripts: Path = SCRIPTS) -> Path:
    """Where the Node programs of this list of versions live."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    versions = hashlib.sha256((scripts / "package.json").read_bytes()).hexdigest()[:12]
    return base / "grenache-py" / f"node-{versions}"


def install(folder: Path, scripts: Path = SCRIPTS) -> None:
    """Install the programs unless they are there; two test runs at a time do it once."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for script in scripts.iterdir():
            shutil.copy(script, folder)
        if (folder / "installed").exists():
            return
        done = subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"npm could not install {scripts}: {done.stderr[-2000:]}")
        (folder / "installed").touch()


@pytest.fixture(scope="session")
def node_peers() -> Path:
    """The folder the Node programs run in."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("npm is not installed here, so there are no Node programs to talk to")
    folder = cache_folder()
    install(folder)
    return folder


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes a test started; they end with it."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
    for process in started:
        process.communicate()
