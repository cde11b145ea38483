"""Two daemons on a database under real Patroni, with the settings of ``etc/container/standby``."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("psycopg", reason="pip install 'grenache-py[postgresql]'")

from grenache_py.exchange.settings.secret_files import read_or_make_identity
from tests.failovers.cluster import PASSWORD, Cluster, lacking
from tests.failovers.scene import until
from tests.failovers.traders import Trader
from tests.soak.daemons import Daemon

pytestmark = [pytest.mark.network, pytest.mark.skipif(bool(lacking()), reason=lacking())]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="patroni-"))
    try:
        made = Cluster(folder)
        yield made
        made.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def served_again(trader: Trader, since: float) -> float:
    """Wait until what was sent since then is acknowledged; for how long nothing was."""
    until("orders are acknowledged", lambda: trader.problems or trader.told[-1].sent > since)
    assert not trader.problems
    return next(told.acknowledged for told in trader.told if told.sent > since) - since


def holder(*daemons: Daemon) -> Daemon:
    """The daemon that serves."""
    return next(daemon for daemon in daemons if daemon.status()["role"] == "serving")


def test_a_home_outlives_each_of_its_machines(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    options = ("--store", cluster.url, "--standby")
    first, second = Daemon(tmp_path / "a", *options), Daemon(tmp_path / "b", *options)
    trader = Trader("t", [first.socket, second.socket])
    try:
        read_or_make_identity(str(first.directory / "data"))
        shutil.copytree(first.directory / "data", second.directory / "data")
        for daemon in (first, second):
            daemon.start()
        trader.start()
        until("a first order", lambda: trader.told)

        def rests() -> None:
            until("both hosts run", lambda: cluster.synchronous() is not None)
            served_again(trader, time.monotonic())

        gone: dict[str, float] = {}
        # The server ends: Patroni changes over at once.
        since, host = time.monotonic(), cluster.primary()
        cluster.kill_server(host)
        gone["server"] = served_again(trader, since)
        # By plan.
        rests()
        since = time.monotonic()
        cluster.control("switchover", "exchange", "--force")
        gone["switchover"] = served_again(trader, since)
        # The whole host: the other one leads when its time is over, and alone it takes nothing.
        rests()
        host = cluster.primary()
        cluster.kill(host)
        until(
            "the other one leads",
            lambda: cluster.says(1 - host).get("role") in {"master", "primary"},
        )
        since = time.monotonic()
        time.sleep(1)
        assert not [told for told in trader.told if told.sent > since], "with one host alone"
        cluster.start(host)
        gone["host, since it is back"] = served_again(trader, since)
        # A daemon.
        rests()
        since, serving = time.monotonic(), holder(first, second)
        serving.kill()
        gone["daemon"] = served_again(trader, since)
        print({what: round(seconds, 2) for what, seconds in gone.items()})
        trader.ends.set()
        trader.join(60)
        with psycopg.connect(cluster.url, connect_timeout=5) as connection:
            rows = connection.execute("SELECT order_id, client_order_id FROM exchange.orders")
            stored = dict(rows.fetchall())
        assert {stored[order_id]: order_id for order_id in trader.promises} == {
            name: order_id for (_, name), order_id in trader.ids.items()
        }
        assert len(set(stored.values())) == len(stored)
    finally:
        trader.ends.set()
        for daemon in (first, second):
            daemon.kill()
