"""
What of a peer's settings can change while it runs: tokens, certificates, markets, addresses.

Service: reads files, and changes ports, the feed and the commit loop. All that can be wrong is
looked at first, so that a mistake changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import attrs
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger

from grenache_py import certificates
from grenache_py.errors import ConfigError
from grenache_py.exchange.client_port.access import ClientTokens, Grant
from grenache_py.exchange.client_port.gateway import Principal
from grenache_py.exchange.daemon.loop.commit_loop import CommitLoop
from grenache_py.exchange.daemon.loop.node_factory import NodeFactory
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.node import ExchangeNode
from grenache_py.exchange.settings.config import TABLE, ExchangeConfig
from grenache_py.exchange.settings.secret_files import read_tokens
from grenache_py.service import Reread, place

__all__ = ["Reconfiguration"]


@attrs.define
class Reconfiguration:
    """
    The settings that a peer runs with.

    Attributes:
        config: what is in force.
        markets: what clients are told of; changed in place.
        ports: where it listens, by the name of the option.
        tokens: of the token file; None without one.
        certificates: when the certificate of each port that speaks TLS ends, in seconds.
    """

    log = Logger()

    config: ExchangeConfig
    markets: dict[str, Market]
    ports: Mapping[str, list[IListeningPort]]
    tokens: ClientTokens | None
    certificates: dict[IListeningPort, float] = attrs.Factory(dict)

    @classmethod
    def of(
        cls, config: ExchangeConfig, ports: Mapping[str, list[IListeningPort]]
    ) -> Reconfiguration:
        """
        The settings that a peer begins with.

        Raises:
            ConfigError: the token file cannot be used.
        """
        markets = {market.symbol: market for market in config.markets}
        tokens = read_tokens(config.tokens_file) if config.tokens_file else None
        return cls(config, markets, ports, tokens)

    def grant(self, token: str) -> Grant | None:
        """What a token allows; None for one that is not known."""
        return None if self.tokens is None else self.tokens.grant(token)

    def expiring(self) -> dict[str, Any]:
        """
        What of it ends by itself, in plain JSON values.

        Returns:
            ``certificates``: each port that speaks TLS, and when its certificate ends;
            ``token_ends``: the first token that ends, by its number in the file, or None.
        """
        first = None if self.tokens is None else self.tokens.first_end
        return {
            "certificates": [
                {"port": place(port), "ends": round(at)} for port, at in self.certificates.items()
            ],
            "token_ends": None if first is None else {"ends": round(first[0]), "number": first[1]},
        }

    def turn_out_ended(self, commit_loop: CommitLoop, now: float) -> None:
        """Close the connections of clients whose token has ended."""
        tokens = self.tokens
        if tokens is None or tokens.first_end is None or tokens.first_end[0] > now:
            return

        def ended(client: Principal) -> bool:
            grant = tokens.by_digest(client.token) if client.token else None
            return grant is not None and grant.over(now)

        gone = commit_loop.turn_out(ended)
        if gone:
            self.log.info("{gone} connections were closed: their token has ended", gone=gone)

    def follow(self, fresh: ExchangeConfig, commit_loop: CommitLoop, nodes: NodeFactory) -> Reread:
        """
        Take up what can be of newer settings.

        Raises:
            ConfigError: something of them is wrong, and nothing has changed.
        """
        old = self.config
        later = set(TABLE.differing(old, fresh))
        contexts = self._certificates(fresh)
        tokens = self.tokens
        if fresh.tokens_file and tokens is not None:
            tokens = read_tokens(fresh.tokens_file)
            later.discard("tokens")
        added = self._added(fresh, commit_loop)
        if all(market in fresh.markets for market in old.markets):
            later.discard("market")
        named = [address for address in fresh.connect if address not in old.connect]
        if set(old.connect) <= set(fresh.connect):
            later.discard("connect")
        # Nothing is wrong with it, so from here on it is done.
        self.config = nodes.config = attrs.evolve(
            old,
            markets=(*old.markets, *added),
            connect=(*old.connect, *named),
            tokens_file=old.tokens_file if tokens is None else fresh.tokens_file,
        )
        done = [f"{len(contexts)} TLS certificates"] if contexts else []
        for port, context in contexts:
            certificates.renew(port, context)
            self.certificates[port] = certificates.ends(context)
        if tokens is not None:
            done.append(self._follow_tokens(tokens, commit_loop))
        if named:
            done.append(f"connect to {', '.join(named)}")
            for address in named:
                commit_loop.guarded.ask("connect", partial(_connect, address))
        if added:
            self.markets |= {market.symbol: market for market in added}
            done.append(f"market {', '.join(market.symbol for market in added)} added")
            commit_loop.begin_anew()
        return Reread(tuple(done), tuple(sorted(later)))

    def _certificates(self, fresh: ExchangeConfig) -> list[tuple[IListeningPort, Any]]:
        """What each port that speaks TLS is to use: those of endpoints that stay as they are."""
        found = []
        for name, ports in self.ports.items():
            before, now = getattr(self.config, name), getattr(fresh, name)
            for description, port in zip(before, ports, strict=False):
                context = certificates.read(description) if description in now else None
                if context is not None:
                    found.append((port, context))
        return found

    def _added(self, fresh: ExchangeConfig, commit_loop: CommitLoop) -> list[Market]:
        old, node = {market.symbol for market in self.config.markets}, commit_loop.node
        added = [market for market in fresh.markets if market.symbol not in old]
        if added and node is None:
            raise ConfigError("a market cannot be added while the store is not open")
        for market in added:
            if node is not None and (
                node.known_markets.get(market.symbol, market).steps != market.steps
            ):
                raise ConfigError(
                    f"market {market.symbol} was traded here with another tick or lot"
                )
        return added

    def _follow_tokens(self, tokens: ClientTokens, commit_loop: CommitLoop) -> str:
        before, self.tokens = self.tokens, tokens
        assert before is not None

        def stale(client: Principal) -> bool:
            token = client.token
            return bool(token) and tokens.by_digest(token) != before.by_digest(token)

        gone = commit_loop.turn_out(stale)
        return f"tokens, by which {gone} connections were closed" if gone else "tokens"


def _connect(address: str, node: ExchangeNode, now: float) -> None:
    node.connect(address, now)
