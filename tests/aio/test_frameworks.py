"""Inside FastAPI under uvicorn and inside aiohttp, and what is left of it all in a process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from grenache_py import aio
from tests.support.loops import LOOPBACK, grape, run, until

pytestmark = pytest.mark.network
ROOT = Path(__file__).parents[2]


async def double(request: Any) -> Any:
    await asyncio.sleep(0)
    return request.payload * 2


async def http_get(port: int, path: str) -> str:
    """The body of one answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.decode().partition("\r\n\r\n")[2]


# uvicorn's and Starlette's own imports of what is on its way out
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_in_fastapi_under_uvicorn() -> None:
    fastapi = pytest.importorskip("fastapi")
    uvicorn = pytest.importorskip("uvicorn")

    async def main() -> None:
        async with grape() as url, aio.Link(url) as serving:
            server = aio.RPCServer(serving, "double", double, endpoint=LOOPBACK)

            @asynccontextmanager
            async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
                async with aio.Link(url) as link, aio.RPCClient(link) as client:
                    yield {"client": client}

            app = fastapi.FastAPI(lifespan=lifespan)

            async def ask(request: Any, number: int) -> Any:
                return await request.state.client.request("double", number)

            ask.__annotations__ |= {"request": fastapi.Request, "number": int}
            app.get("/double/{number}")(ask)
            config = uvicorn.Config(app, port=0, log_level="error", lifespan="on")
            web = uvicorn.Server(config)
            async with server:
                await server.when_announced()
                serving_web = asyncio.ensure_future(web.serve())
                await until(lambda: web.started or serving_web.done())
                port = web.servers[0].sockets[0].getsockname()[1]
                assert await http_get(port, "/double/21") == "42"
                web.should_exit = True
                await serving_web

    run(main())


def test_in_aiohttp() -> None:
    web = pytest.importorskip("aiohttp.web")

    async def main() -> None:
        async with grape() as url, aio.Link(url) as serving:
            server = aio.RPCServer(serving, "double", double, endpoint=LOOPBACK)
            clients: list[aio.RPCClient] = []

            async def with_client(app: Any) -> AsyncIterator[None]:
                async with aio.Link(url) as link, aio.RPCClient(link) as client:
                    clients.append(client)
                    yield

            async def ask(request: Any) -> Any:
                number = int(request.match_info["number"])
                return web.json_response(await clients[0].request("double", number))

            app = web.Application()
            app.cleanup_ctx.append(with_client)
            app.router.add_get("/double/{number}", ask)
            runner = web.AppRunner(app)
            async with server:
                await server.when_announced()
                await runner.setup()
                site = web.TCPSite(runner, "127.0.0.1", 0)
                await site.start()
                port = runner.addresses[0][1]
                assert await http_get(port, "/double/21") == "42"
                await runner.cleanup()

    run(main())


PROGRAM = """
import asyncio, gc, logging, os, sys, threading, weakref
from grenache_py import aio

logging.basicConfig(format="%(levelname)s %(name)s %(message)s", stream=sys.stdout)
logging.getLogger("grenache_py.link").setLevel(logging.INFO)
before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0

async def echo(request):
    return request.payload

async def main():
    link = aio.Link("http://127.0.0.1:1", timeout_s=1)
    async with link, aio.RPCServer(None, "svc", echo) as server:
        for each in (link, aio.Link("http://localhost:1", timeout_s=1)):
            try:
                await each.lookup("svc")
            except Exception as error:
                print(type(error).__name__)
        link.start_announcing("svc", server.port)
        await asyncio.sleep(0.1)

async def forgetful():
    loops.append(weakref.ref(asyncio.get_running_loop()))
    link = aio.Link("http://127.0.0.1:1", timeout_s=0.1)
    await asyncio.gather(link.lookup("svc"), return_exceptions=True)

loops = []
for _ in range(3):
    asyncio.run(main())
    asyncio.run(forgetful())
gc.collect()
print([one() for one in loops])
after = len(os.listdir("/proc/self/fd")) if before else 0
print([one.name for one in threading.enumerate()], "twisted.internet.reactor" in sys.modules)
print(after - before)
"""


def test_a_process_keeps_no_thread_no_reactor_and_no_descriptor() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", PROGRAM],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,  # only a bug waits so long
        check=False,
    )
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[-3] == "[None, None, None]", "loops whose Link nobody closed"
    assert lines[-2] == "['MainThread'] False"
    assert int(lines[-1]) <= 1, "Twisted keeps one file open until the end"
    assert lines.count("GrapeUnreachable") == 6


def test_the_log_is_the_programs() -> None:
    program = """
import logging, sys, warnings
from twisted.logger import Logger
from grenache_py.aio.logs import begin_logging
logging.basicConfig(level="INFO", format="%(levelname)s %(name)s %(message)s", stream=sys.stdout)
shown = warnings.showwarning
begin_logging()
begin_logging()
assert warnings.showwarning is shown
Logger("twisted.internet").info("a port opens")
Logger("twisted.internet").warn("trouble {n}", n=1)
Logger("grenache_py.rpc").info("two\\nlines")
Logger("grenache_py.rpc").debug("not asked for")
try:
    1 / 0
except ZeroDivisionError:
    Logger("grenache_py.rpc").failure("it failed")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[:3] == [
        "WARNING twisted.internet trouble 1",
        "INFO grenache_py.rpc two\\nlines",
        "CRITICAL grenache_py.rpc it failed",
    ]
    assert lines[-1] == "ZeroDivisionError: division by zero"


def test_no_thread_is_left_in_this_process() -> None:
    before = set(threading.enumerate())

    async def main() -> None:
        async with grape() as url, aio.Link(url.replace("127.0.0.1", "localhost")) as link:
            await link.lookup("svc")

    run(main())
    assert set(threading.enumerate()) <= before
