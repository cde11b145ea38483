"""A Grenache program in Node as a test sees it: told what to do, one thing at a time."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from grenache_py.deferreds import deadline
from tests.interop.node_programs import Processes

ANSWER_WITHIN_S = 15.0


class NodeError(Exception):
    """What Node called back with."""


class NodePeer:
    """Link, RPC and pub/sub of the npm packages; ``tests/interop/node/peer.js`` runs them."""

    def __init__(self, folder: Path, processes: Processes, grape_url: str) -> None:
        self.process = subprocess.Popen(
            ["node", "peer.js", grape_url],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        processes.append(self.process)

    async def started(self) -> NodePeer:
        """Wait until it runs."""
        assert await self._line() == "started"
        return self

    async def ask(self, op: str, **command: Any) -> Any:
        """
        Return what a command of ``peer.js`` calls back with.

        Raises:
            NodeError: it called back with an error.
        """
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"op": op, **command}) + "\n")
        self.process.stdin.flush()
        answer = await self._line()
        if answer["error"] is not None:
            raise NodeError(answer["error"])
        return answer["result"]

    async def _line(self) -> Any:
        assert self.process.stdout is not None
        reading = deferToThread(self.process.stdout.readline)
        line = await deadline(reading, ANSWER_WITHIN_S, reactor, "the answer of Node")
        assert line, "the Node program died"
        return json.loads(line)
