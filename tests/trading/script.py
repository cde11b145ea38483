"""A core whose daemon is a test, which reads what it sends and says what it hears."""

from __future__ import annotations

import json
import random
from typing import Any

from grenache_py.trading.calls import MethodCall
from grenache_py.trading.core import Core
from grenache_py.trading.pending import Pending

FEATURES = ["executions", "cancel_after", "wait_ms", "valid_until"]
MARKETS = [{"market": "BTC-USD", "tick": "0.01", "lot": "0.0001", "protection_bp": 500}]
#: What the daemon's clock is ahead of ours, in ms.
AHEAD_MS = 1_000_000


def report(name: str = "a", status: str = "new", **more: Any) -> dict[str, Any]:
    """An execution report."""
    return {
        "order_id": "0" * 31 + "1", "client_order_id": name, "account": "", "market": "BTC-USD",
        "side": "buy", "type": "limit", "time_in_force": "gtc", "price": "100", "quantity": "1",
        "filled": "0", "remaining": "1", "in_doubt": "0", "status": status, "average_price": None,
        "time": 1, "updated": 1, "trades": [], **more,
    }  # fmt: skip


class Script:
    """A core, its daemon and its clock."""

    def __init__(self, *addresses: str, **options: Any) -> None:
        self.now = 100.0
        self.states: list[str] = []
        options.setdefault("on_state", lambda state, reason: self.states.append(state))
        addresses = addresses or ("test:1",)
        self.core = Core(addresses, lambda: self.now, random.Random(1), **options)
        self.role: dict[str, str] = {}
        self.features = FEATURES
        self.account: str | None = None

    def sent(self) -> list[dict[str, Any]]:
        """The requests since the last call."""
        return [json.loads(line) for line in self.core.take_output().splitlines()]

    def say(self, *messages: dict[str, Any]) -> None:
        lines = [json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n" for message in messages]
        self.core.received(b"".join(lines), self.now)

    def answer(self, request: dict[str, Any], result: Any) -> None:
        self.say({"id": request["id"], "result": result})

    def refuse(self, request: dict[str, Any], code: int, **data: Any) -> None:
        self.say({"id": request["id"], "error": {"code": code, "message": "no", "data": data}})

    def note(self, method: str, params: dict[str, Any]) -> None:
        self.say({"method": method, "params": params})

    def greet(self) -> list[dict[str, Any]]:
        """Connect (again) and greet; what was sent then."""
        if self.core.state == "waiting":
            self.wait(self.core.line.deadline() or 0.0)
        self.core.connected(self.now)
        for request in self.sent():
            result: dict[str, Any] = {
                "hello": {
                    "peer": "p",
                    "features": self.features,
                    "account": self.account,
                    **self.role,
                },
                "markets.list": {"markets": MARKETS},
                "ping": {"time": int(self.now * 1000) + AHEAD_MS},
            }[request["method"]]
            self.answer(request, result)
        assert self.core.state == "live"
        return self.sent()

    def live(self) -> Script:
        self.core.start(self.now)
        assert self.greet() == []
        return self

    def cut(self) -> None:
        self.core.lost("cut", self.now)

    def ask(self, call: MethodCall[Any]) -> Pending[Any]:
        return self.core.ask(call, self.now)

    def wait(self, until: float) -> None:
        """Let time pass, ticking when the core wants it."""
        while (deadline := self.core.deadline()) is not None and deadline <= until:
            self.now = max(self.now, deadline)
            self.core.tick(self.now)
        self.now = max(self.now, until)
        self.core.tick(self.now)
