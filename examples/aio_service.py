"""A service and its caller in one asyncio program: python examples/aio_service.py [GRAPE]"""

import asyncio
import sys

from grenache_py.aio import Link, RPCClient, RPCServer
from grenache_py.rpc import Request, RPCFailure

GRAPE = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:30001"


async def square(request: Request) -> int:
    number = request.payload
    if not isinstance(number, int):
        raise RPCFailure("only whole numbers", {"got": number})
    await asyncio.sleep(0.01)  # a database, another service: whatever asyncio can wait for
    return number * number


async def main() -> None:
    async with Link(GRAPE) as link, RPCServer(link, "square", square) as server:
        await server.when_announced()
        async with RPCClient(link, timeout_s=5) as client:
            print("12 * 12 =", await client.request("square", 12))
            print(
                "squares:", await asyncio.gather(*(client.request("square", n) for n in range(5)))
            )
            try:
                await client.request("square", "twelve")
            except RPCFailure as error:
                print(error.message, error.data)


asyncio.run(main())
