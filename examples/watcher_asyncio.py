"""Watch a market with asyncio: its book, and when that is not the book of now."""

import asyncio
import sys

from grenache_py.trading import AsyncClient


async def main(market: str = "BTC-USD") -> None:
    async with AsyncClient() as client:
        async for book in client.book(market):
            print(book, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
