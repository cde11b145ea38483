"""The three clients: the same methods, and the same behaviour at a real daemon."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from grenache_py.trading import (
    AsyncClient,
    BadStep,
    Client,
    NotConnected,
    OrderClosed,
    OutcomeUnknown,
    PlaceOptions,
)
from grenache_py.trading.tx import TwistedClient
from tests.exchange.daemon.test_daemon import Daemon

pytestmark = pytest.mark.network

ROOT = Path(__file__).parents[2]
#: Only a bug waits so long.
DEADLINE_S = 120.0


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("daemon")) as running:
        yield running


def methods(client: type) -> dict[str, list[inspect.Parameter]]:
    """The public methods of a client and their parameters."""
    return {
        name: list(inspect.signature(function).parameters.values())
        for name, function in inspect.getmembers(client, inspect.isfunction)
        if not name.startswith("_") and function.__module__.startswith("grenache_py.trading")
    }


def test_the_clients_have_the_same_methods_with_the_same_parameters() -> None:
    own = (
        {"close", "detach", "poll", "wait_until"},
        {"close"},
        {"startService", "stopService", "ready"},
    )
    shared = [
        {name: found for name, found in methods(client).items() if name not in ones}
        for client, ones in zip((Client, AsyncClient, TwistedClient), own, strict=True)
    ]
    assert shared[0] == shared[1] == shared[2]
    assert {"place", "buy", "cancel_all", "dead_man", "fills", "call"} <= shared[0].keys()


def test_an_orders_options_are_those_of_the_daemon() -> None:
    from grenache_py.exchange.client_port.methods.params import PlaceOrder

    named = {"market", "side", "quantity", "price", "wait_ms", "valid_until"}
    assert set(PlaceOrder.__struct_fields__) == named | PlaceOptions.__annotations__.keys()


def test_the_library_is_imported_without_twisted() -> None:
    found = "any(name.startswith('twisted') for name in sys.modules)"
    program = f"import grenache_py.trading, sys; sys.exit({found})"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, timeout=DEADLINE_S)


def test_a_users_program_is_checked_by_mypy() -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "tests/trading/typed.py"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_client_that_waits(daemon: Daemon) -> None:
    with Client(daemon.path, account="w1") as client, Client(daemon.path) as other:
        with client.fills() as fills, client.orders() as orders, client.book("btc/usd") as books:
            assert books.get(DEADLINE_S).current
            order = client.sell("BTC-USD", "1", 100)
            assert client.open_orders == {order.order_id: order}
            taken = other.buy("btc/usd", Decimal("0.25"), type="market")
            assert (taken.status, taken.average_price) == ("filled", 100)
            assert (fills.get(DEADLINE_S).quantity, fills.seq) == (Decimal("0.25"), 1)
            statuses = [orders.get(DEADLINE_S).status for _ in range(2)]
            assert statuses == ["new", "partially_filled"]
            assert client.cancel(order).status == "cancelled"
            with pytest.raises(OrderClosed):
                client.cancel(order)
            with pytest.raises(BadStep) as error:
                client.buy("BTC-USD", 1, "98.005")
            assert error.value.field == "price"
            with pytest.raises(TimeoutError):
                fills.get(0.01)
        (fill,) = client.get_fills()
        assert (fill.side, fill.role, fill.at.tzinfo is not None) == ("sell", "maker", True)
        placed = [client.buy("BTC-USD", 1, price).order_id for price in range(1, 31)]
        listed = [order.order_id for order in client.get_orders("BTC-USD")]
        assert listed == placed[::-1]
        assert client.replace(placed[0], price=2).price == 2
        assert client.get_order(placed[5]).price == 6
        assert client.cancel_all("BTC-USD") == 30
        assert client.get_ticker("BTC-USD").last == 100
        assert client.get_trades("BTC-USD")[-1].market == "BTC-USD"
        assert client.get_candles("BTC-USD")[-1].close == 100
        assert client.status().serving and client.ping() < DEADLINE_S
        assert not client.get_book("BTC-USD").current
        assert client.call("ping", {}, changes=False)["time"] > 0
        stream = client.trades("BTC-USD")
        stream.close()
        assert list(stream) == []
    with pytest.raises(NotConnected):
        client.ping()


def test_every_client_finds_the_daemon_that_is_there(daemon: Daemon, tmp_path: Path) -> None:
    several = [str(tmp_path / "nobody"), daemon.path]
    with Client(several, timeout_s=DEADLINE_S) as client:
        assert client.ping() < DEADLINE_S
    with Client(",".join(several), reconnect=False) as client:
        assert client.ping() < DEADLINE_S

    async def main() -> None:
        async with AsyncClient(several, timeout_s=DEADLINE_S) as other:
            assert await other.ping() < DEADLINE_S

    asyncio.run(main())


@pytest_twisted.ensureDeferred
async def test_the_client_for_twisted_too(daemon: Daemon, tmp_path: Path) -> None:
    client = TwistedClient([str(tmp_path / "nobody"), daemon.path], timeout_s=DEADLINE_S)
    client.startService()
    try:
        await client.ready()
        assert await client.ping() < DEADLINE_S
    finally:
        await client.stopService()


def test_the_client_for_asyncio(daemon: Daemon) -> None:
    async def main() -> None:
        async with (
            AsyncClient(daemon.path, account="a1") as client,
            AsyncClient(daemon.path) as other,
            client.fills() as fills,
        ):
            async with client.book("BTC-USD") as books:
                orders = await asyncio.gather(
                    *(client.sell("BTC-USD", 1, 100 + n, post_only=True) for n in range(20))
                )
                assert len({order.order_id for order in orders}) == 20
                async for book in books:
                    if len(book.asks) == 20:
                        break
            await other.buy("BTC-USD", 1, type="market")
            assert (await fills.get(DEADLINE_S)).price == 100
            assert [fill.seq async for fill in client.get_fills(after=0)] == [1]
            assert len([order async for order in client.get_orders()]) == 19
            with pytest.raises(TimeoutError):
                await fills.get(0.01)
            async with client.dead_man(60):
                assert await client.cancel_all() == 19
            with pytest.raises(asyncio.TimeoutError):
                async with client.trades("BTC-USD") as trades:
                    await asyncio.wait_for(trades.get(), 0.01)
            assert await client.ping() < DEADLINE_S

    asyncio.run(main())
    asyncio.run(main_again(daemon))


async def main_again(daemon: Daemon) -> None:
    """In a second loop of the same process."""
    async with AsyncClient(daemon.path) as client:
        assert client.state == "live"


@pytest_twisted.ensureDeferred
async def test_the_client_for_twisted(daemon: Daemon) -> None:
    client, other = TwistedClient(daemon.path, account="t1"), TwistedClient(daemon.path)
    for each in (client, other):
        each.startService()
        await each.ready()
    try:
        fills, books = client.fills(), client.book("BTC-USD")
        order = await client.sell("BTC-USD", 1, 100)
        assert (await books.get(DEADLINE_S)).current
        await other.buy("BTC-USD", "0.5", type="market")
        assert (await fills.get(DEADLINE_S)).order_id == order.order_id
        assert [each.order_id async for each in client.get_orders()] == [order.order_id]
        with pytest.raises(TimeoutError):
            await fills.get(0.01)
        async with client.dead_man(60):
            assert await client.cancel_all() == 1
        assert (await client.get_book("BTC-USD")).seq and await client.ping() < DEADLINE_S
        with pytest.raises(BadStep):
            await client.buy("BTC-USD", 1, "98.005")
        fills.close()
        assert [fill async for fill in fills] == []
    finally:
        for each in (client, other):
            await each.stopService()


def test_nobody_there_is_told_as_such(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nobody.sock")
    assert repr(Client(nowhere)) == f"<Client {nowhere}, waiting>"
    with (
        pytest.raises(NotConnected, match=rf"^no connection to {nowhere}[^:]*: No such file"),
        Client(nowhere, timeout_s=0.2),
    ):
        pass
    with pytest.raises(NotConnected), Client(nowhere, reconnect=False):
        pass

    async def main() -> None:
        async with AsyncClient(nowhere, timeout_s=0.2):
            pass

    with pytest.raises(NotConnected):
        asyncio.run(main())
    for wrong in ("nowhere", "host:", "host:99999", ":1"):
        with pytest.raises(ValueError, match="is not HOST:PORT"):
            Client(wrong)


def test_a_client_that_is_entered_again_says_so_and_goes_on(daemon: Daemon) -> None:
    """It was a line that never answered, and a call that waited for it."""
    again = "a client is entered once"
    with Client(daemon.path) as client:
        with pytest.raises(RuntimeError, match=again):
            client.__enter__()
        assert client.status()

    async def twice() -> None:
        async with AsyncClient(daemon.path) as client:
            with pytest.raises(RuntimeError, match=again):
                await client.__aenter__()
            assert await client.status()

    asyncio.run(twice())


def test_a_connection_can_be_given_away(daemon: Daemon) -> None:
    with Client(daemon.path) as client, client.detach() as connection:
        assert client.state == "closed"
        connection.settimeout(DEADLINE_S)
        connection.sendall(b"ping\n")
        assert b"time" in connection.recv(1000)
        with pytest.raises(NotConnected):
            client.detach()


def test_a_frozen_daemon_is_told_and_is_live_again_when_it_thaws(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon, Client(daemon.path) as client:
        client.buy("BTC-USD", 1, 90, client_order_id="before")
        os.kill(daemon.process.pid, signal.SIGSTOP)
        try:
            with pytest.raises(OutcomeUnknown) as error:
                client.place("BTC-USD", "buy", 1, 91, client_order_id="frozen", timeout_s=0.3)
            assert error.value.client_order_id == "frozen"
        finally:
            os.kill(daemon.process.pid, signal.SIGCONT)
        # Its time was over when the daemon saw it: it is not placed behind its caller's back.
        names = [order.client_order_id for order in client.get_orders()]
        assert names == ["before"]


def test_a_killed_daemon_costs_nothing_but_time(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon, Client(daemon.path, timeout_s=DEADLINE_S) as client:
        books, orders = client.book("BTC-USD"), client.orders()
        placed: list[str] = []
        for part in range(3):
            for number in range(10):
                order: Any = client.buy("BTC-USD", 1, 10 + part, client_order_id=f"{part}-{number}")
                placed.append(order.order_id)
            daemon.kill()
            while client.state == "live":
                client.wait_until(lambda: client.state != "live", DEADLINE_S)
            assert not books.get(DEADLINE_S).current
            daemon.start()
        book = books.get(DEADLINE_S)
        while not book.current:
            book = books.get(DEADLINE_S)
        assert [level.orders for level in book.bids] == [10, 10, 10]
        told = [orders.get(DEADLINE_S) for _ in range(30)]
        assert [order.order_id for order in told] == placed and orders.missed == 0
        assert client.reconnects == 3
        assert client.cancel_all() == 30


def test_orders_end_with_their_client_if_it_says_so_and_positions_are_exact(daemon: Daemon) -> None:
    account = "ends"
    with Client(daemon.path, account=account, cancel_on_disconnect=True) as client:
        client.sell("BTC-USD", "0.3", "500", client_order_id="ends-1")
        assert client.buy("BTC-USD", "0.1", "500", account="").status == "filled"
        (position,) = client.get_positions()
        assert (position.market, position.position) == ("BTC-USD", Decimal("-0.1"))
    with Client(daemon.path, account=account) as client:
        kept = client.sell("BTC-USD", "0.3", "600")
        assert client.get_order("ends-1").status == "cancelled"
    with Client(daemon.path, account=account) as client:
        assert client.get_order(kept).status == "new"
        client.cancel(kept)
