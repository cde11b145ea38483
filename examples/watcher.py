"""Watch a market: its book, and when that is not the book of now."""

import sys

from grenache_py.trading import Client


def main(market: str = "BTC-USD") -> None:
    with Client() as client:
        for book in client.book(market):
            print(book, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
