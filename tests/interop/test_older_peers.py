"""
Real daemons of older versions, out of git's history, beside one of this version.

What must hold is in ``docs/upgrades.rst``: neighbouring releases trade, and those that cannot
say so in one line each.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.soak.daemons import MARKET, ROOT, Daemon, wait_for
from tests.support.source_trees import git, source_tree

pytestmark = pytest.mark.network

#: Until a version is released: the commit after which the policy was written.
FIRST = "b796d555686da1ad49f375dba24f0349146b8516"
#: The last commits with protocol 1 (no TLS) and with protocol 2 (orders without tick and lot).
PROTOCOL_1 = "e3b799f7a432e41009cf561881966efa43af2c2e"
PROTOCOL_2 = "8db3ec9eae0aa9aa38a41830005760d75146e0b2"
DEADLINE_S = 120.0

Start = Callable[..., Daemon]


def last_release() -> str:
    """The newest tag of a version before this commit, or ``FIRST``."""
    found = git("describe", "--tags", "--abbrev=0", "--match", "v[0-9]*", "HEAD^")
    return found.stdout.decode().strip() or FIRST


@pytest.fixture
def start(tmp_path: Path) -> object:
    """Starts a daemon of a commit (None: of this tree), and kills it at the end."""
    with ExitStack() as stack:

        def started(commit: str | None, *options: str) -> Daemon:
            name = "newer" if commit is None else "older"  # short: the path of a socket has a limit
            source = ROOT if commit is None else source_tree(commit, tmp_path / "tree")
            if source is None:
                pytest.skip(f"git has no {commit} here: a checkout without its history")
            daemon = Daemon(tmp_path / name, "--dht", "0", *options, tree=source)
            stack.callback(daemon.kill)
            daemon.start()
            daemon.wait()
            return daemon

        yield started


def log(daemon: Daemon) -> str:
    return (daemon.directory / "daemon.log").read_text()


@pytest.mark.parametrize("older_dials", [True, False])
def test_a_peer_of_the_last_release_trades_with_one_of_this(
    start: Start, older_dials: bool
) -> None:
    order = (None, last_release()) if older_dials else (last_release(), None)
    first = start(order[0])
    second = start(order[1], "--connect", first.address)
    with first.client() as here, second.client() as there:
        for maker, taker, name in ((here, there, "a"), (there, here, "b")):
            wanted = {"market": MARKET, "quantity": "1", "price": "100", "client_order_id": name}
            maker.call("order.place", side="sell", **wanted)
            wait_for(
                "the order at the other peer",
                DEADLINE_S,
                lambda taker=taker: taker.call("book.get", market=MARKET)["asks"],
            )
            report = taker.call(
                "order.place",
                side="buy",
                wait_ms=10_000,
                **{**wanted, "client_order_id": f"{name}-taker"},
            )
            assert report["status"] == "filled", report
            wait_for(
                "the maker's fill",
                DEADLINE_S,
                lambda maker=maker, name=name: (
                    maker.call("order.get", client_order_id=name)["status"] == "filled"
                ),
            )


@pytest.mark.parametrize("older_dials", [True, False])
def test_a_peer_of_protocol_2_and_this_one_say_why_they_part(
    start: Start, older_dials: bool
) -> None:
    order = (None, PROTOCOL_2) if older_dials else (PROTOCOL_2, None)
    first = start(order[0])
    second = start(order[1], "--connect", first.address)
    for daemon in (first, second):
        wait_for(
            f"a line in the log of {daemon.directory.name}",
            DEADLINE_S,
            lambda daemon=daemon: "no common protocol version: " in log(daemon),
        )
    newer = second if order[1] is None else first
    wait_for("the count", DEADLINE_S, lambda: newer.status()["links_refused"].get("protocol"))
    assert "no common protocol version: " in newer.status()["links_refused"]["last"]


# Its own line told nothing, and it cannot be changed any more.
def test_a_peer_of_protocol_1_is_said_to_speak_no_tls(start: Start) -> None:
    older = start(PROTOCOL_1)
    newer = start(None, "--connect", older.address)
    wait_for("the line", DEADLINE_S, lambda: "it does not speak TLS: an older peer" in log(newer))
