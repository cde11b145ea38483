"""A service with Twisted, until Ctrl-C: python examples/service.py [GRAPE]"""

import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from grenache_py.link import Link
from grenache_py.rpc import Request, RPCServer

GRAPE = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:30001"


def double(request: Request) -> Any:
    return 2 * request.payload


async def main(reactor: Any) -> None:
    link = Link([GRAPE], reactor)
    server = RPCServer(link, "double", double, reactor)
    await server.start()
    await server.when_announced()
    print("double is announced", flush=True)
    await Deferred[None]()  # for ever


react(main)
