"""The commands of docs/high-availability.rst, as they stand there, at a real server."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.exchange.storage.test_postgresql import opened, raises
from tests.support.postgresql import PROGRAMS, START_S, Server
from tests.support.store_rows import log_row, order_row
from tests.test_docs import ROOT
from tests.test_snippets import block

GUIDE = "docs/high-availability.rst"
#: Here "exchange" is the administrator already.
ROLE = "keeper"


def at(server: Server, database: str) -> str:
    return server.url(database).replace("user=exchange", f"user={ROLE}")


@pytest.fixture
def owned(server: Server) -> Iterator[str]:
    """A database that was made as the guide says."""
    for statement in block(GUIDE, "CREATE ROLE").split(";"):
        if statement.strip():
            server.ask(re.sub(r"\bexchange\b", ROLE, statement))
    yield at(server, ROLE)
    for database in (ROLE, "elsewhere"):
        server.ask(f"DROP DATABASE IF EXISTS {database}")
    server.ask(f"DROP ROLE {ROLE}")


def shell(block: str, folder: Path, addresses: dict[str, str]) -> None:
    """Run the lines of a block, with other addresses."""
    for command in block.splitlines():
        for name, address in addresses.items():
            command = command.replace(name, address)
        assert "postgresql://" not in command.replace("postgresql:///", "")
        done = subprocess.run(
            ["sh", "-c", command], cwd=folder, capture_output=True, text=True, timeout=START_S,
            env={"PATH": f"{PROGRAMS}:{os.environ['PATH']}"}, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def test_a_backup_is_made_and_restored_with_the_commands_of_the_guide(
    server: Server, owned: str, tmp_path: Path
) -> None:
    with opened(owned) as database:
        database.commit([order_row(1), log_row(1)])
    server.ask(f"CREATE DATABASE elsewhere OWNER {ROLE}")
    elsewhere = at(server, "elsewhere")
    shell(
        block(GUIDE, "pg_dump"), tmp_path,
        {"postgresql://db1/exchange": owned, "postgresql://elsewhere/exchange": elsewhere},
    )  # fmt: skip
    with raises("refused", "is a backup copy.*--new-epoch"), opened(elsewhere, "2"):
        pass
    if not shutil.which("psql", path=f"{PROGRAMS}:{os.environ['PATH']}"):
        pytest.skip("needs psql for the rest")
    # It was stopped all the while: nothing was traded since.
    shell(block(GUIDE, "psql -c"), tmp_path, {"postgresql://db1/exchange": elsewhere})
    with opened(elsewhere, "2") as moved:
        assert moved.load().orders == [order_row(1)]
        moved.commit([order_row(2), log_row(2)])


def test_what_the_night_section_quotes_is_what_the_store_says() -> None:
    """And each fault that has an error of its own is in it."""
    guide = (ROOT / GUIDE).read_text()
    night = guide[guide.index(".. _three-in-the-morning:") : guide.index(".. _backup-of-a")]
    quoted = re.findall(r'^".*', night, re.M)
    room = ROOT / "grenache_py/exchange/storage/postgresql"
    roles = room.parent.parent / "standby"
    sources = [*room.glob("*.py"), *room.glob("schema/*.sql"), *roles.glob("*.py")]
    # As Python reads strings that go on in the next line.
    said = re.sub(r'"\s*f?"', "", "\n".join(path.read_text() for path in sources))
    for words in re.findall(r'"(.*?)"', "\n".join(quoted)):
        for part in re.split(r" (?:\.\.\.|\d+) ", words):
            assert part in said, part
    from grenache_py.exchange.storage.postgresql.faults import _FAULTS

    for fault, sentence in _FAULTS.values():
        if fault in {"full", "locked", "readonly", "refused", "fenced", "corrupt"}:
            known = [part for part in re.findall(r'"(.*?)"', "\n".join(quoted)) if part in sentence]
            assert known or "{error}" in sentence, sentence
