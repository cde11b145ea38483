"""The documentation lists every path of the three HTTP servers, and the servers have them all."""

from __future__ import annotations

from pathlib import Path

import pytest

from grenache_py.exchange.daemon.http_port.http import ROUTES as EXCHANGE
from grenache_py.exchange.daemon.http_port.market_pages import MARKET_ROUTES
from grenache_py.exchange.daemon.http_port.static_pages import static_pages
from grenache_py.grape import answers, api
from grenache_py.grape.pages import ROUTES as GRAPE
from grenache_py.rpc.http.replies import ROUTES as RPC
from grenache_py.wire.http.routes import routes_rst

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize(
    ("page", "routes"),
    [("grape-http.rst", GRAPE), ("client-protocol.rst", EXCHANGE), ("services.rst", RPC)],
)
def test_the_documentation_has_the_table(page: str, routes: tuple) -> None:
    assert routes_rst(routes) in (DOCS / page).read_text()


def test_the_grape_has_these_commands() -> None:
    pages = {"/", "/health", "/metrics"}
    for route in GRAPE:
        found = api.call(route.path, b'{"data": ""}') != answers.NOT_FOUND
        assert found != (route.path in pages), route.path
    assert set(api._COMMANDS) | pages == {route.path for route in GRAPE}


def test_the_exchange_has_these_pages() -> None:
    paths = {route.path for route in EXCHANGE}
    market = {route.path for route in MARKET_ROUTES}
    assert paths == {*static_pages(), *market, "/alarms", "/health", "/metrics", "/ws"}
