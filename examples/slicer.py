"""Buy in slices, each once: kill -9 it at any time, and start it again: it goes on where it was."""

import sys
import time

from grenache_py.trading import Client


def main(
    job: str = "job-1", market: str = "BTC-USD", size: str = "0.01", price: str = "101"
) -> None:
    with Client(account="slicer") as client:
        for number in range(20):
            # The daemon keeps an order under this name: sent again, it is not placed again.
            order = client.buy(market, size, price, client_order_id=f"{job}-{number}")
            print(number, order.status, flush=True)
            time.sleep(0.05)
        fills = client.get_fills(market, after=0)
        mine = [fill for fill in fills if (fill.client_order_id or "").startswith(f"{job}-")]
        print("bought", sum(fill.quantity for fill in mine), "in", len(mine), "trades", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
