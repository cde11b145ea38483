"""How a connection to a peer is made, and what its address may be."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from grenache_py.rpc.connecting import NotConnected, TransportSettings, connect

SETTINGS = TransportSettings(None, 1.0, 1_000)


@pytest.mark.parametrize("address", ["a_b:1", "a..b:1", f"{'a' * 64}:1"])
def test_a_peer_whose_host_name_is_none_cannot_be_reached(address: str) -> None:
    """Another one is tried then; an announced address is whatever its grape says."""
    connecting = Deferred.fromCoroutine(connect(MemoryReactorClock(), address, SETTINGS, Protocol))
    SynchronousTestCase().failureResultOf(connecting, NotConnected)
