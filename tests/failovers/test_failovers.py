"""A taste of ``make soak-standby`` in the suite, and that its roads and its audit work."""

from __future__ import annotations

import socket
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.postgresql import MISSING
from tests.support.roads import Roads

needs_postgresql = pytest.mark.skipif(bool(MISSING), reason=MISSING)
pytestmark = pytest.mark.network
#: They take a quarter of a minute each.
SLOW = {"database silent", "database and peers silent", "standby gone", "replication silent"}


@needs_postgresql
def test_no_acknowledged_order_is_lost_or_doubled(tmp_path: Path) -> None:
    from tests.failovers.__main__ import torment
    from tests.failovers.faults import FAULTS

    kinds = [kind for kind in FAULTS if kind not in SLOW]
    audit, unserved = torment(tmp_path, failovers=20, seed=5, kinds=kinds)
    assert not audit.wrong
    assert audit.between, "trades between homes"
    assert sum(map(len, unserved.values())) == 20


def test_a_road_is_cut_blocked_and_mended(tmp_path: Path) -> None:
    place, to = str(tmp_path / "road"), str(tmp_path / "there")
    with (
        closing(Roads()) as roads,
        socket.socket(socket.AF_UNIX) as there,
    ):
        there.bind(to)
        there.listen()
        road = roads.lead(place, to)

        def connected() -> tuple[socket.socket, socket.socket]:
            near = socket.socket(socket.AF_UNIX)
            near.connect(place)
            near.sendall(b"a")
            far, _ = there.accept()
            assert far.recv(1) == b"a"
            return near, far

        near, far = connected()
        road.block()
        near.sendall(b"b")
        far.settimeout(0.1)
        with pytest.raises(TimeoutError):
            far.recv(1)
        road.mend()
        far.settimeout(10)
        assert far.recv(1) == b"b"
        road.cut()
        assert far.recv(1) == near.recv(1) == b""
        with socket.socket(socket.AF_UNIX) as refused:
            refused.connect(place)
            assert refused.recv(1) == b""
        road.mend()
        for each in (near, far, *connected()):
            each.close()
