"""``exchange store copy``: a stopped home goes from one kind of store to the other, and back."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from grenache_py.exchange.cli.commands import exchange
from grenache_py.exchange.effects.rows import Snapshot
from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.storage.copies import copy
from grenache_py.exchange.storage.database import Database
from tests.exchange.audit.test_replay import traded
from tests.exchange.storage.test_postgresql import opened
from tests.support.postgresql import Server


def tool(*arguments: str) -> Result:
    return CliRunner().invoke(exchange, arguments)


def said(result: Result) -> str:
    """What is printed, and the error that `main` makes a line of."""
    return f"{result.output}{result.exception or ''}"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The data directory of a home that has traded with two others."""
    data = tmp_path / "data"
    data.mkdir()
    made = traded(7).peers[0].database
    copy(made.connection, str(data / "exchange.sqlite"))
    file = Database(str(data / "exchange.sqlite"), accept_copy=True)
    file.open()
    file.connection.execute("DELETE FROM meta WHERE name = 'backup'")
    file.close()
    return data


def loaded(path: Path) -> Snapshot:
    file = Database(str(path))
    file.open()
    found = file.load()
    file.close()
    return found


def test_a_home_goes_to_a_database_and_back_and_its_log_leads_to_its_book_each_time(
    home: Path, server: Server, tmp_path: Path
) -> None:
    before, url, back = loaded(home / "exchange.sqlite"), server.database(), tmp_path / "back"
    assert before.orders and before.trades and before.origins
    moved = tool("store", "copy", str(home), url, "--single-database")
    assert moved.exit_code == 0, moved.output
    assert "is moved to" in moved.output
    proven = tool("replay", url)
    assert proven.exit_code == 0, proven.output
    with opened(url) as database:
        assert database.load() == before
    back.mkdir()
    moved = tool("store", "copy", url, str(back), "--single-database")
    assert moved.exit_code == 0, moved.output
    assert loaded(back / "exchange.sqlite") == before
    assert tool("replay", str(back)).exit_code == 0
    for what in ("orders", "trades", "log"):
        assert tool("export", what, str(back)).output == tool("export", what, str(home)).output
    # What was left is not traded on, on either side.
    with pytest.raises(StoreError, match="is a backup copy"):
        loaded(home / "exchange.sqlite")
    with pytest.raises(StoreError, match="is a backup copy"), opened(url, "2"):
        pass


def test_a_move_that_was_cut_off_is_done_again_when_the_operator_says_so(
    home: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    from grenache_py.exchange.storage.postgresql import moving

    def power_cut(*_: object) -> None:
        raise StoreError("io", "the power is gone")

    url = server.database()
    command = ("store", "copy", str(home), url, "--single-database")
    with monkeypatch.context() as patch:
        patch.setattr(moving, "copy_from_file", power_cut)
        assert "the power is gone" in said(tool(*command))
    with pytest.raises(StoreError, match="is a backup copy"):  # it may be in the database by now
        loaded(home / "exchange.sqlite")
    refused = tool(*command)
    assert refused.exit_code == 1 and "--again" in said(refused)
    assert tool(*command, "--again").exit_code == 0
    with opened(url) as database:
        assert database.load().orders
    done = tool(*command, "--again")
    assert done.exit_code == 1 and "holds a store already" in said(done)


def test_what_a_daemon_uses_is_not_moved(home: Path, server: Server, tmp_path: Path) -> None:
    from grenache_py.exchange.storage.directory_lock import DirectoryLock

    url = server.database()
    lock = DirectoryLock(str(home))
    lock.acquire()
    refused = tool("store", "copy", str(home), url, "--single-database")
    assert refused.exit_code == 1 and "in use by another exchange" in said(refused)
    lock.release()
    with opened(url):
        refused = tool("store", "copy", str(home), url, "--single-database")
        assert refused.exit_code == 1 and "in use by another exchange" in said(refused)
    assert loaded(home / "exchange.sqlite").orders


def test_a_command_that_makes_no_sense_is_refused(home: Path, server: Server) -> None:
    url = server.database()
    wrong: list[tuple[tuple[str, ...], str]] = [
        ((str(home), str(home)), "must be postgresql://"),
        ((url, url), "must be postgresql://"),
        ((str(home), "postgresql://me:secret@host/db"), "has a password in it"),
        ((url, str(home)), "exists: move it away"),
    ]
    for arguments, why in wrong:
        refused = tool("store", "copy", *arguments, "--single-database")
        assert refused.exit_code and why in said(refused)
        assert "secret" not in said(refused)
