"""Programs of asyncio for tests: a new loop in debug mode, and a grape that runs on it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import attrs

from grenache_py.aio.futures import wait
from grenache_py.aio.reactor import acquire, release
from grenache_py.grape.config import GrapeConfig
from grenache_py.grape.service import GrapeService

LOOPBACK = "tcp:0:interface=127.0.0.1"


def run(
    main: Coroutine[Any, Any, None],
    new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
) -> None:
    """Run ``main`` in debug mode; fails if it leaves a task, or an error nobody looked at."""
    loop = new_loop()
    loop.set_debug(True)
    wrong: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: wrong.append(context))
    try:
        loop.run_until_complete(asyncio.wait_for(main, 30))
        left = asyncio.all_tasks(loop)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()
    assert not left
    assert not wrong


@asynccontextmanager
async def grape() -> AsyncIterator[str]:
    """The URL of a grape that runs on this loop."""
    reactor = acquire()
    config = attrs.evolve(GrapeConfig(host="127.0.0.1", dht_port=0, api_port=0))
    service = GrapeService(config, reactor, random.Random("asyncio"))
    service.startService()
    try:
        yield f"http://127.0.0.1:{service.api_port}"
    finally:
        await wait(service.stopService())
        release(reactor)


async def until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    """Wait until ``condition`` holds."""
    for _ in range(int(timeout_s / 0.01)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come true in time")
