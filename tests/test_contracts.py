"""The import contracts refuse what they are there to refuse: tried on a copy of the package."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def contracts_hold(folder: Path) -> subprocess.CompletedProcess[str]:
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", program, "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("contracts")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "grenache_py", folder / "grenache_py", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("wire/bencode.py", "grenache_py.dht.node"),
        ("dht/node.py", "grenache_py.link.client"),
        ("trading/core.py", "grenache_py.options"),
        ("trading/async_client.py", "grenache_py.deferreds"),
        ("grape/api.py", "grenache_py.rpc.client"),
        ("exchange/daemon/discovery.py", "grenache_py.dht.node"),
        ("exchange/market/book.py", "grenache_py.exchange.signed_log.entries"),
        ("exchange/peers/peering.py", "grenache_py.exchange.storage.store"),
        ("aio/link.py", "grenache_py.exchange.market.book"),
        ("rpc/client.py", "grenache_py.aio.link"),
        ("exchange/replication/sync.py", "grenache_py.exchange.fills.taker"),
    ],
)
def test_a_forbidden_import_is_refused(copy: Path, module: str, forbidden: str) -> None:
    path = copy / "grenache_py" / module
    text = path.read_text()
    path.write_text(f"{text}\nimport {forbidden}\n")
    try:
        result = contracts_hold(copy)
    finally:
        path.write_text(text)
    assert result.returncode == 1
    assert "is not allowed to import" in result.stdout
    assert forbidden in result.stdout


def test_a_new_module_has_to_say_where_it_stands(copy: Path) -> None:
    new = copy / "grenache_py" / "exchange" / "somewhere.py"
    new.write_text('"""A module that no contract knows."""\n')
    try:
        result = contracts_hold(copy)
    finally:
        new.unlink()
    assert result.returncode == 1
    assert "grenache_py.exchange.somewhere" in result.stdout


def test_the_tree_as_it_is_keeps_them(copy: Path) -> None:
    result = contracts_hold(copy)
    assert result.returncode == 0, result.stdout + result.stderr
