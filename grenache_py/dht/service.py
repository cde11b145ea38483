"""
The DHT as a service: binds the port, resolves bootstrap names, keeps the state file.

Service: owns the UDP port, the name look-ups and the moments at which state is saved.

Who this node is, in order: the state file, when there is one; else an id derived from
a secret key file and from where the node runs (machine, interface, port), so that a
grape restarted at its address is the contact its neighbours know and honours the
tokens it gave; else, on an ephemeral port or without a key file, a random id.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, cast

from twisted.application.service import Service
from twisted.internet.abstract import isIPAddress
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IListeningPort,
    IReactorCore,
    IReactorFDSet,
    IReactorThreads,
    IReactorTime,
)
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from grenache_py.deferreds import Background, every
from grenache_py.dht.config import DHTConfig
from grenache_py.dht.node import DHTNode
from grenache_py.dht.node_id import derive_id, derive_token_key
from grenache_py.dht.protocol import DHTPort, DHTProtocol
from grenache_py.dht.saved_state import DHTState
from grenache_py.dht.state_file import (
    KEY_BYTES,
    load_state,
    lock_state,
    read_or_make_key,
    save_state,
)
from grenache_py.errors import ConfigError
from grenache_py.wire.krpc import ID_BYTES, Address

__all__ = ["DHTReactor", "DHTService"]

#: Seconds between two writes of the state file.
SAVE_EVERY_S = 300.0
#: Time-outs of the tries to resolve a bootstrap name.
RESOLVE_WITHIN_S = (1, 2)
#: The socket's buffer, for bursts of answers.
RECEIVE_BUFFER_BYTES = 4 * 2**20


class DHTReactor(IReactorCore, IReactorFDSet, IReactorThreads, IReactorTime):
    """What this service needs of the reactor."""


class DHTService(Service):
    """
    One node on one UDP port.

    Args:
        reactor: Twisted's.
        rng: A `random.SystemRandom` in production.
        config: The node's limits and ages.
        port: UDP port to bind; 0 for any.
        interface: Address to bind, all when empty (as Node grapes do).
        bootstrap: Host names or literals, with ports, to join through.
        state_path: Where state survives a restart, or None.
        key_path: The secret key file the identity is derived from, or None.

    Attributes:
        protocol: The running node; there after `startService`.
        port: The port really bound.
        unresolved: Bootstrap names that had no address the last time.
        unsaved: Why the state file was not written the last time; "" when it was.
    """

    log = Logger()
    protocol: DHTProtocol

    def __init__(
        self,
        reactor: DHTReactor,
        rng: random.Random,
        *,
        config: DHTConfig,
        port: int,
        interface: str = "",
        bootstrap: Sequence[tuple[str, int]] = (),
        state_path: Path | None = None,
        key_path: Path | None = None,
    ) -> None:
        self.port = port
        self._reactor = reactor
        self._rng = rng
        self._config = config
        self._interface = interface
        self._bootstrap = tuple(bootstrap)
        self._state_path = state_path
        self._key_path = key_path
        self._background = Background(self.log)
        self._listening: IListeningPort | None = None
        self.unresolved: set[str] = set()
        self.unsaved = ""
        self._state_lock: BinaryIO | None = None

    def startService(self) -> None:
        """
        Bind the port and begin to join.

        Raises:
            ConfigError: the port, the state file or the key file cannot be used.
        """
        if self._state_path is not None:
            self._state_lock = lock_state(self._state_path)
        try:
            self._start()
        except ConfigError:
            self._unlock()
            raise
        super().startService()

    def _start(self) -> None:
        now = self._reactor.seconds()
        state = None if self._state_path is None else load_state(self._state_path)
        if state is None:
            state = self._new_identity()
        node = DHTNode(
            self._config,
            node_id=state.node_id,
            token_key=state.token_key,
            rng=self._rng,
            now=now,
        )
        node.restore(state.contacts, state.items, now)
        self.protocol = DHTProtocol(node, self._reactor, self._want_bootstrap)
        listening = DHTPort(self.port, self.protocol, self._interface, reactor=self._reactor)
        try:
            listening.startListening()
        except CannotListenError as problem:
            reason = getattr(problem.socketError, "strerror", None) or problem.socketError
            raise ConfigError(f"UDP port {self.port} cannot be used: {reason}") from None
        self._listening = listening
        self.port = cast(IPv4Address, listening.getHost()).port
        _enlarge_receive_buffer(listening)
        if self._state_path is not None:
            try:
                save_state(self._state_path, self._state())
            except OSError as problem:
                listening.stopListening()
                raise ConfigError(
                    f"state file {self._state_path} cannot be written: {problem.strerror}"
                ) from None
            self._background.spawn(
                "save state",
                every(lambda: SAVE_EVERY_S, self._reactor, self.log, "saving state", self._save),
            )

    def stopService(self) -> Deferred[None]:
        """
        Close the port and save the state.

        Fires with: None.
        """
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        super().stopService()
        await self._background.stop()
        listening, self._listening = self._listening, None
        if listening is None:
            return
        stopped = listening.stopListening()
        if stopped is not None:
            await stopped
        if self._state_path is not None:
            try:
                save_state(self._state_path, self._state())
            except OSError as problem:
                self.log.error(
                    "state file {path} could not be written: {problem}",
                    path=str(self._state_path),
                    problem=problem.strerror,
                )
            self._unlock()

    def _unlock(self) -> None:
        if self._state_lock is not None:
            self._state_lock.close()
            self._state_lock = None

    # --- identity and state -----------------------------------------------------------------

    def _new_identity(self) -> DHTState:
        rng = self._rng
        if self._key_path is None or self.port == 0:
            return DHTState(rng.randbytes(ID_BYTES), rng.randbytes(KEY_BYTES))
        key = read_or_make_key(self._key_path, rng.randbytes(KEY_BYTES))
        place = "\0".join((socket.gethostname(), _machine_id(), self._interface, str(self.port)))
        return DHTState(derive_id(key, place), derive_token_key(key, place))

    def _state(self) -> DHTState:
        return self.protocol.node.state()

    async def _save(self) -> None:
        assert self._state_path is not None
        try:
            await deferToThreadPool(
                self._reactor,
                self._reactor.getThreadPool(),
                save_state,
                self._state_path,
                self._state(),
            )
        except OSError as problem:
            self.unsaved = f"{self._state_path}: {problem.strerror}"
        else:
            self.unsaved = ""

    # --- bootstrap --------------------------------------------------------------------------

    def _want_bootstrap(self) -> None:
        literals = [(host, port) for host, port in self._bootstrap if isIPAddress(host)]
        names = [(host, port) for host, port in self._bootstrap if not isIPAddress(host)]
        if names:
            self._background.spawn("resolve bootstrap names", self._resolve(literals, names))
        else:
            self.protocol.bootstrap(literals)

    async def _resolve(self, literals: list[Address], names: list[tuple[str, int]]) -> None:
        """Look the names up again each time: their addresses may have changed."""
        found = await gatherResults([self._address(host, port) for host, port in names])
        self.protocol.bootstrap(literals + [address for address in found if address is not None])

    def _address(self, host: str, port: int) -> Deferred[Address | None]:
        def resolved(literal: str) -> Address:
            self.unresolved.discard(host)
            return literal, port

        def failed(failure: Failure) -> None:
            if host not in self.unresolved:
                self.unresolved.add(host)
                self.log.warn(
                    "bootstrap host {host} cannot be resolved, will be tried again: {problem}",
                    host=host,
                    problem=failure.getErrorMessage(),
                )

        answer: Deferred[str] = self._reactor.resolve(host, RESOLVE_WITHIN_S)
        return answer.addCallbacks(resolved, failed)


def _machine_id() -> str:
    """What tells this machine from a copy of its disk; empty where systemd is not known."""
    try:
        return Path("/etc/machine-id").read_text("ascii").strip()
    except (OSError, ValueError):
        return ""


def _enlarge_receive_buffer(listening: DHTPort) -> None:
    """A burst of answers should not overflow the socket; the kernel gives what it allows."""
    listening.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
