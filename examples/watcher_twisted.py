"""Watch a market with Twisted: its book, and when that is not the book of now."""

import sys
from typing import Any

from twisted.internet.task import react

from grenache_py.trading.tx import TwistedClient


async def main(reactor: Any, market: str = "BTC-USD") -> None:
    client = TwistedClient(reactor=reactor)
    client.startService()
    async for book in client.book(market):
        print(book, flush=True)


if __name__ == "__main__":
    react(main, sys.argv[1:])
