"""A taste of ``make soak`` in the suite, and that its audit would notice."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from grenache_py.exchange.market.instrument import Market
from tests.soak.__main__ import NETWORK, main
from tests.soak.audit import Audit
from tests.soak.daemons import MARKET, MARKET_STEPS
from tests.soak.traders import Promise


class Often(Counter[str]):
    """Anything was replaced, any number of times."""

    def __missing__(self, name: str) -> int:
        return 1000


class Remembered:
    """A trader that was told a few things."""

    def __init__(self, **promises: Promise) -> None:
        self.promises = promises
        self.ids = {("", f"my {order_id}"): order_id for order_id in promises}
        self.replaces: Counter[str] = Often()


@pytest.mark.network
def test_real_peers_agree_after_kills_cuts_and_freezes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And a store that was tampered with, or forgot something, is found out."""
    assert main(["--minutes", "1", "--keep", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    kinds = {"kill -9", "restart", "SIGSTOP", "grape kill -9"}
    if "no network cuts" not in said:
        kinds |= {"cable out", "partition"}
    (suffered,) = re.findall("^suffered: (.*)$", said, re.M)
    assert {each.split(" ", 1)[1] for each in suffered.split(", ")} == kinds
    stores = {name: tmp_path / name / "data" for name in (f"peer{n}" for n in range(7))}

    def audited(trader: Remembered) -> str:
        audit = Audit(stores, Market.parse(f"{MARKET}:{MARKET_STEPS}"), NETWORK)
        audit.run([trader])
        return "\n".join(audit.wrong)

    assert audited(Remembered()) == ""
    assert "not there" in audited(Remembered(nowhere=Promise(None, "0", False)))
    for tampering, noticed in (
        (
            "UPDATE orders SET filled = filled + 1, quantity_lots = quantity_lots + 1"
            " WHERE order_id = (SELECT order_id FROM orders WHERE filled > 0 LIMIT 1)",
            "I2",
        ),
        (
            "DELETE FROM trades WHERE number = (SELECT number FROM trades WHERE maker_home !="
            " taker_home AND coalesce(maker_position, taker_position) NOT NULL LIMIT 1)",
            "I[23]",
        ),
        ("DELETE FROM log WHERE position = (SELECT max(position) - 1 FROM log)", "log"),
    ):
        file = stores["peer1"] / "exchange.sqlite"
        shutil.copy(file, tmp_path / "untouched")
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute(tampering)
        assert re.search(noticed, audited(Remembered()))
        shutil.copy(tmp_path / "untouched", file)
