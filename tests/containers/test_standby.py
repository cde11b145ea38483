"""Two daemons and a database under Patroni, out of the compose file, and the guide's commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.containers.engine import Engine, until
from tests.containers.test_compose import SCRIPTS, Picture
from tests.test_snippets import block


@pytest.mark.slow
def test_the_guides_commands_work_and_a_home_outlives_its_machines(
    engine: Engine, tmp_path: Path
) -> None:
    if not Path(SCRIPTS, "podman-compose").exists():
        pytest.skip("needs podman-compose")
    images = {"grenache-py-database": engine.database()}
    picture = Picture(engine, tmp_path, "etc/container/standby", **images)
    _, _, connect, token, sell, kill, again = block(
        "docs/high-availability.rst", "etc/container/standby/make-secrets"
    ).splitlines()
    exports = f"{connect} && {token}"
    picture.until("new", f"{exports} && {sell}")
    both = [picture[name] for name in ("exchange-a", "exchange-b")]
    until("one daemon waits", lambda: any("stands by" in daemon.log() for daemon in both))
    *_, daemon, database = kill.split()
    ask = "import urllib.request as u; u.urlopen('http://127.0.0.1:8008/primary')"
    leader = next(
        name
        for name in ("database-1", "database-2")
        if picture[name].exec("python3", "-c", ask).returncode == 0
    )
    assert daemon == "exchange-a" and database == "database-1"
    # Which of them leads is chance; killing is what the guide does to both.
    picture.compose("kill", daemon, leader)
    picture.up()  # which the engine does, as the file says: restart
    picture.until("new", f"{exports} && {again}")
    book = picture.until("101", f"{exports} && exchange book BTC-USD")
    assert "100" in book
