"""Grapes that live in memory: a treq client whose requests they answer, well or badly."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from treq.testing import StubTreq
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionRefusedError
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

Answer = tuple[int, bytes]


def ok(value: Any) -> Answer:
    return 200, json.dumps(value).encode()


class FakeGrapes:
    """
    Stands where ``treq`` does; every host name is a grape and all grapes know the same.

    ``requests`` lists what arrived as (host, command, data); ``refusing`` and ``silent``
    are hosts that refuse connections or never answer; ``scripted`` answers one host or
    one command in its own way.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, Any]] = []
        self.rids: list[str] = []
        self.refusing: set[str] = set()
        self.silent: set[str] = set()
        self.scripted: dict[str, Callable[[Any], Answer]] = {}
        self.peers: dict[str, list[str]] = {}
        self.items: dict[str, dict[str, Any]] = {}
        self._treq = StubTreq(_Front(self))

    def request(self, method: str, url: str, **kwargs: Any) -> Deferred[Any]:
        host = urlsplit(url).hostname or ""
        if host in self.refusing:
            self.requests.append((host, urlsplit(url).path[1:], None))
            return fail(ConnectionRefusedError())
        if host in self.silent:
            self.requests.append((host, urlsplit(url).path[1:], None))
            return Deferred()
        return self._treq.request(method, url, **kwargs)

    def answer(self, host: str, command: str, body: dict[str, Any]) -> Answer:
        data = body["data"]
        self.requests.append((host, command, data))
        self.rids.append(body["rid"])
        scripted = self.scripted.get(host) or self.scripted.get(command)
        if scripted is not None:
            return scripted(data)
        return getattr(self, f"_{command}")(data)

    def _lookup(self, name: str) -> Answer:
        return ok(self.peers.get(name, []))

    def _announce(self, data: list[Any]) -> Answer:
        self.peers.setdefault(data[0], []).append(f"127.0.0.1:{data[1]}")
        return ok(1)

    def _put(self, data: dict[str, Any]) -> Answer:
        from grenache_py.link.items import immutable_hash, mutable_hash

        if "k" in data:
            target = mutable_hash(bytes.fromhex(data["k"]), data.get("salt", "").encode())
        else:
            target = immutable_hash(data["v"].encode())
        self.items[target] = data
        return ok(target)

    def _get(self, data: Any) -> Answer:
        target = data if isinstance(data, str) else data["hash"]
        item = self.items.get(target)
        if item is None:
            return 200, b""
        return ok({"id": "00" * 20, "token": None, **item})


class _Front(Resource):
    isLeaf = True

    def __init__(self, grapes: FakeGrapes) -> None:
        super().__init__()
        self._grapes = grapes

    def render_POST(self, request: Request) -> bytes | int:
        host = (request.getHeader("host") or "").partition(":")[0]
        status, body = self._grapes.answer(
            host, request.path[1:].decode(), json.loads(request.content.read())
        )
        if status == 0:
            return NOT_DONE_YET
        request.setResponseCode(status)
        return body
