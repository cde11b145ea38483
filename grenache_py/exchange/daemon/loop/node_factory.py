"""
Makes the node from what the store holds and what the operator said.

Shell: says in the log which peers it is linked to, and what it does not show of them.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit

from twisted.logger import Logger

from grenache_py.exchange.effects.rows import Snapshot
from grenache_py.exchange.node import ExchangeNode, NodeConfig
from grenache_py.exchange.peers.link import PeerLink
from grenache_py.exchange.peers.peering import PeeringConfig
from grenache_py.exchange.replication.remote_orders import HiddenOrders
from grenache_py.exchange.settings.config import ExchangeConfig
from grenache_py.exchange.signed_log.keys import Identity
from grenache_py.exchange.standby.role_effects import LoadNode

__all__ = ["NodeFactory"]


class NodeFactory:
    """
    Makes one node after another: the first at start, another after each failure.

    Attributes:
        config: of the next node.
    """

    log = Logger()

    def __init__(
        self,
        config: ExchangeConfig,
        identity: Identity,
        rng: random.Random,
        version: str,
        peer_port: Callable[[], int | None],
        alarms_changed: Callable[[], None],
        load: Callable[[], LoadNode | None] = lambda: None,
        wall_jumps: Callable[[], bool] = lambda: False,
    ) -> None:
        """
        Args:
            version: of this program, which other peers are told.
            peer_port: returns the TCP port that other peers are told; None: there is none.
            alarms_changed: called when the node's own alarms are others than before.
            load: returns what the daemon's role says of the node; None where it has none.
            wall_jumps: as `Serving` asks it.
        """
        self.config = config
        self._identity = identity
        self._rng = rng
        self._version = version
        self._peer_port = peer_port
        self._alarms_changed = alarms_changed
        self._load = load
        self._wall_jumps = wall_jumps
        self._epoch_found: int | None = None
        self._told_hidden: set[str] = set()  # markets of the configuration

    def make(self, snapshot: Snapshot, now: float) -> ExchangeNode:
        """The node that goes on where ``snapshot`` ends."""
        config, load = self.config, self._load()
        # The operator asks for one new epoch. Once it is on the disk, a node that is made again
        # after a failure keeps it.
        epoch = snapshot.head.epoch if snapshot.head else 0
        if self._epoch_found is None:
            self._epoch_found = epoch
        new_epoch = config.new_epoch and epoch == self._epoch_found
        if load is not None:
            new_epoch = load.new_epoch
        peering = PeeringConfig(
            network=config.network,
            listen=self._listen(),
            connect=config.connect,
            grapes=self._grape_hosts(),
            software=f"grenache-py/{self._version}",
            term=0 if load is None else load.term,
        )
        node = ExchangeNode(
            NodeConfig(
                peering,
                config.markets,
                new_epoch=new_epoch,
                followed=load is not None and not load.listen,
            ),
            self._identity,
            snapshot,
            self._rng,
            now,
        )
        node.peering.on_ready.append(self._log_linked)
        node.serving.wall_jumps = self._wall_jumps
        node.serving.on_change.append(lambda alarms, warnings: self._alarms_changed())
        records = node.replica.records
        records.on_hidden = self._log_hidden
        for market, hidden in records.hidden.items():
            self._log_hidden(market, hidden)
        if node.serving.listening:
            self.log.info("listening to other peers for some seconds before orders are taken")
        node.peering.on_gone.append(partial(self._log_unlinked, node))
        return node

    def _grape_hosts(self) -> tuple[str, ...]:
        """Hosts of the grapes that the operator named, by URL or for the grape inside."""
        urls = (urlsplit(url).hostname or "" for url in self.config.grapes)
        return (*urls, *(node.rpartition(":")[0] for node in self.config.bootstrap))

    def _listen(self) -> str:
        """What other peers are told: with no host, they take the one they see."""
        port = self._peer_port()
        return self.config.advertise or ("" if port is None else f":{port}")

    def _log_hidden(self, market: str, hidden: HiddenOrders) -> None:
        """Once for each market: a stranger may place such orders every second."""
        if market not in self._told_hidden:
            self._told_hidden.add(market)
            self.log.warn(
                "orders in {market} of home {home} are not shown: its tick is {tick} and its lot"
                " {lot}, other than here; `exchange status` counts such orders",
                market=market,
                home=hidden.home[:8],
                tick=hidden.tick,
                lot=hidden.lot,
            )

    def _log_linked(self, link: PeerLink, now: float) -> None:
        self.log.info(
            "linked to peer {peer} at {address} ({direction})",
            peer=link.key[:8],
            address=link.listen or link.address,
            direction="outbound" if link.outbound else "inbound",
        )

    def _log_unlinked(self, node: ExchangeNode, link: PeerLink, now: float) -> None:
        self.log.info(
            "no link to peer {peer} any more, {links} left",
            peer=link.key[:8],
            links=len(node.peering.by_key),
        )
