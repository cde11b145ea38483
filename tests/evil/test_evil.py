"""
A taste of ``make evil`` in the suite: what a daemon stands up to.

How long an order takes is judged by ``make evil`` only; no test depends on speed.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.evil.__main__ import Row, Scene, main
from tests.evil.attacks import ATTACKS, MARKER, PLACE
from tests.support.peer import Peer


@pytest.mark.network
def test_a_daemon_stands_up_to_who_has_only_sockets(tmp_path: Path) -> None:
    """One after the other on one daemon, 2 s each; how long orders take is `make evil`'s."""
    with Scene(tmp_path) as scene:
        peace = scene.place(1.0, 1)
        rows = [scene.attacked(name, 2.0, peace) for name in ATTACKS]
    assert [str(row) for row in rows if row.faults] == []
    assert all(row.orders for row in rows)


def test_a_row_says_what_is_wrong() -> None:
    assert str(Row("silent-peer", 9, 1.0, 2.9, 3.0, ())).endswith("holds")
    slow = str(Row("silent-peer", 9, 1.0, 3.1, 3.0, ("the daemon died",)))
    assert slow.endswith("FAILED: the daemon died; p99 above 3 times that in peace")


def test_what_the_page_sends_is_an_order_that_a_daemon_takes() -> None:
    """Otherwise the row would hold whatever the daemon does."""
    client = Peer().connect()
    assert client.ask(PLACE.rstrip())["result"]["client_order_id"] == MARKER


def test_an_attack_that_nobody_knows_is_refused() -> None:
    with pytest.raises(SystemExit):
        main(["no-such-attack"])
