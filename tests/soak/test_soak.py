"""A taste of ``make soak`` in the suite: three real peers, real grapes, kill -9."""

from __future__ import annotations

import pytest

from tests.soak.__main__ import main


@pytest.mark.network
def test_real_peers_agree_after_kills_and_freezes() -> None:
    assert main(["--minutes", "0.2", "--peers", "3"]) == 0
