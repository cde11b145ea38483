"""Under a flood of HTTP clients and requests memory stays bounded, and others are served."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import pytest
import pytest_twisted

from tests.support import rings
from tests.support.rings import connect, post

pytestmark = pytest.mark.network
HEAD = b"POST /lookup HTTP/1.1\r\nHost: a\r\n"


def request(data: bytes) -> bytes:
    return HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(data), data)


@pytest_twisted.ensureDeferred
async def test_a_client_that_never_reads_is_cut_off_and_costs_little() -> None:
    """It pipelines requests as fast as it can; the answers fill its socket, and no more."""
    async with rings.ring(1, idle_timeout_s=1.0) as (grape,):
        client = await connect(grape.api_port)
        transport: Any = client.transport
        transport.pauseProducing()
        chunk = request(b'{"data":5}') * 500
        gc.collect()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            sent = 0
            while grape._site.clients.connections and sent < 400:
                if transport._tempDataLen + len(transport.dataBuffer) < 1 << 20:
                    transport.write(chunk)
                    sent += 1
                await rings.sleep(0.001)
            held = tracemalloc.get_traced_memory()[0] - before
            pending = transport._tempDataLen + len(transport.dataBuffer)
        finally:
            tracemalloc.stop()
        assert held - 2 * pending < 2 << 20, "answers that nobody reads pile up"
        assert await post(grape.api_port, "lookup", "svc") == []
        for _ in range(400):
            if not grape._site.clients.connections:
                break
            await rings.sleep(0.01)
        assert not grape._site.clients.connections, "it still holds its connection"
        transport.abortConnection()


@pytest_twisted.ensureDeferred
async def test_half_sent_requests_do_not_keep_others_out() -> None:
    async with rings.ring(1, connections_max=20, request_timeout_s=0.5) as (grape,):
        slow = [await connect(grape.api_port) for _ in range(25)]
        for client in slow:
            client.transport.write(HEAD)
        assert grape._site.clients.sockets.fileno() >= 0, "all are read by one look at the kernel"
        for client in slow:
            await client.read(1 << 20, 4.0)
            assert client.closed
        statuses = sorted(client.received[9:12] for client in slow)
        assert statuses == [b"408"] * 20 + [b"503"] * 5
        assert await post(grape.api_port, "lookup", "svc") == []


@pytest_twisted.ensureDeferred
async def test_a_flood_of_names_and_values_fills_the_tables_and_no_more() -> None:
    async with rings.ring(2, dht_max_values=50, dht_max_tables=50) as (grape, other):
        for number in range(300):
            await grape.dht.lookup(b"name %d" % number)
            await grape.dht.announce(b"name %d" % number, 5)
        for number in range(300):
            assert len(await post(grape.api_port, "put", f"value {number}")) == 40
        for each in (grape, other):
            status = each.dht.status()
            assert status.items <= 50
            assert status.announce_tables <= 50
            assert status.operations == 0
