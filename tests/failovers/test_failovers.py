"""Two daemons of one home, one of which is killed or frozen (``make soak-standby``: longer)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.postgresql import MISSING

pytestmark = [pytest.mark.network, pytest.mark.skipif(bool(MISSING), reason=MISSING)]


def test_no_acknowledged_order_is_lost_or_doubled(tmp_path: Path) -> None:
    from tests.failovers.__main__ import torment

    assert len(torment(tmp_path, failovers=2, seed=5)) == 2
