"""A Grenache service on the web, with FastAPI: python examples/fastapi_app.py [GRAPE [PORT]]"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request

from grenache_py.aio import Link, RPCClient, RPCServer
from grenache_py.errors import GrenacheError

GRAPE = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:30001"
PORT = int(sys.argv[2]) if len(sys.argv) > 2 else 8801


async def double(request: Any) -> Any:
    return 2 * request.payload


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    # The service usually runs elsewhere; it is here so that this example is whole.
    async with Link(GRAPE) as link, RPCServer(link, "double", double), RPCClient(link) as client:
        yield {"client": client}


app = FastAPI(lifespan=lifespan)


@app.get("/double/{number}")
async def ask(number: int, request: Request) -> Any:
    try:
        return await request.state.client.request("double", number, timeout_s=5, retries=2)
    except GrenacheError as error:
        raise HTTPException(503, str(error)) from None


uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning")
