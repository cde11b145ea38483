"""
A maker that nobody can dial and whose inbound links are all taken trades all the same.

No link is kept for fills: neighbours pass them on (docs/design/fills.rst#relay).
"""

from __future__ import annotations

import pytest

from grenache_py.exchange.effects.batch import Send
from grenache_py.exchange.peers.config import PeeringConfig
from tests.support.peers import Network, Peer, conserved

INBOUND = PeeringConfig("test").inbound_max
MAKER, NEIGHBOURS, DIALLED, TAKER = 0, range(1, INBOUND + 1), INBOUND + 1, INBOUND + 2
#: Nothing is in doubt for longer when all are up.
DOUBT_S_MAX = 30.0


class Full(Network):
    """
    A maker with as many neighbours as it takes. Nobody dials anybody by himself.

    Those that are ``deaf`` drop fills that they should pass on.
    """

    def __init__(self) -> None:
        super().__init__(INBOUND + 3)
        self.deaf: set[int] = set()
        for number in NEIGHBOURS:
            self.link(number, MAKER)
        self.link(TAKER, MAKER)
        self.run(1)
        assert len(self[MAKER].peering.by_key) == INBOUND
        assert self[TAKER].key not in self[MAKER].peering.by_key, "it had no place left"

    def _deliver(self, peer: Peer, send: Send) -> None:
        far = self._ends.get((peer.number, send.link))
        if far is None or far[0] not in self.deaf or b'"fill.relay"' not in send.line:
            super()._deliver(peer, send)


def in_doubt_s(net: Network) -> float:
    """How long the taker's fill is in doubt from now on."""
    began = net.now
    while net[TAKER].in_doubt():
        assert net.now < began + DOUBT_S_MAX
        net.run(0.5)
    return net.now - began


@pytest.mark.parametrize("through", [1, INBOUND])
def test_it_trades_through_any_of_its_neighbours(through: int) -> None:
    net = Full()
    net.link(TAKER, through)
    net.run(2)
    sell = net.place(MAKER, "sell", 10, 100)
    buy = net.place(TAKER, "buy", 4, 100)
    assert in_doubt_s(net) == 0
    assert (buy.status, sell.filled) == ("filled", 4)
    conserved(net[MAKER])
    conserved(net[TAKER])


@pytest.mark.parametrize("first", ["a stranger", "an honest one"])
def test_strangers_who_take_all_places_and_drop_fills_delay_them_by_seconds(
    first: str,
) -> None:
    net = Full()
    net.deaf = set(NEIGHBOURS)
    net.link(MAKER, DIALLED)  # whom the maker dialled, no stranger chose
    ways = [1, DIALLED]
    for number in ways if first == "a stranger" else ways[::-1]:
        net.link(TAKER, number)
    net.run(6)
    sell = net.place(MAKER, "sell", 10, 100)
    for lots in (4, 2):
        buy = net.place(TAKER, "buy", lots, 100)
        assert 0 < in_doubt_s(net) <= DOUBT_S_MAX, "the stranger is first with every entry"
        assert buy.status == "filled"
    assert sell.filled == 6
    conserved(net[TAKER])
