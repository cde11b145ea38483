"""The short version of ``make soak-ring``: members of a mixed ring are killed and restarted."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytest_twisted

from tests.interop.ring_soak import soak

pytestmark = [pytest.mark.interop, pytest.mark.network]


@pytest_twisted.ensureDeferred
async def test_whatever_is_announced_is_found_while_members_come_and_go(
    node_peers: Path, tmp_path: Path
) -> None:
    ring = await soak(seed=11, seconds=6.0, keys=tmp_path, names=5)
    print(ring.report())
    assert ring.faults == []
    assert ring.counts["ours"][1] > 0
