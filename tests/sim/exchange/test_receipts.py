"""Whatever went wrong meanwhile, each home can prove each of its trades with another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from grenache_py.exchange.audit.issuing import issue
from grenache_py.exchange.storage.copies import copy
from tests.sim.exchange.world import World


@pytest.mark.parametrize("seed", [2, 3, 4])
def test_after_all_faults_each_home_has_a_whole_receipt_of_each_trade(
    seed: int, tmp_path: Path
) -> None:
    world = World(seed, peers=3, orders=60, real=True)
    world.run()
    proven: dict[str, int] = {}
    for peer in world.peers:
        path, key = str(tmp_path / peer.name), peer.identity.key
        copy(peer.disk.database.connection, path)
        trades = peer.disk.database.connection.execute(
            "SELECT trade_id FROM trades WHERE (?1 IN (maker_home, taker_home))"
            " AND maker_home <> taker_home",
            (key,),
        )
        for (trade,) in trades.fetchall():
            made = issue(path, trade, peer.config.peering.network)
            assert made is not None and made.proven.holds, (peer.name, trade)
            proven[trade] = proven.get(trade, 0) + 1
    assert len(proven) > 5 and set(proven.values()) == {2}
