"""A Grenache service on the web, with aiohttp: python examples/aiohttp_app.py [GRAPE [PORT]]"""

import sys
from collections.abc import AsyncIterator

from aiohttp import web

from grenache_py.aio import Link, RPCClient, RPCServer
from grenache_py.errors import GrenacheError
from grenache_py.rpc import Request

GRAPE = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:30001"
PORT = int(sys.argv[2]) if len(sys.argv) > 2 else 8802
CLIENT = web.AppKey("client", RPCClient)


async def add(request: Request) -> int:
    return sum(request.payload)


# The service usually runs elsewhere; it is here so that this example is whole.
async def service(app: web.Application) -> AsyncIterator[None]:
    async with Link(GRAPE) as link, RPCServer(link, "add", add), RPCClient(link) as client:
        app[CLIENT] = client
        yield


async def ask(request: web.Request) -> web.Response:
    numbers = [int(request.match_info[name]) for name in "ab"]
    try:
        answer = await request.app[CLIENT].request("add", numbers, timeout_s=5, retries=2)
        return web.json_response(answer)
    except GrenacheError as error:
        raise web.HTTPServiceUnavailable(text=str(error)) from None


app = web.Application()
app.cleanup_ctx.append(service)
app.router.add_get(r"/add/{a:\d+}/{b:\d+}", ask)
web.run_app(app, host="127.0.0.1", port=PORT, print=None)
