"""
The OpenRPC document: every method, with the parameters that it takes.

``python -m tests.exchange.client_port.test_description`` writes ``docs/openrpc.json`` anew.
"""

from __future__ import annotations

import json
from pathlib import Path

from grenache_py.exchange.client_port.methods import METHODS
from grenache_py.exchange.client_port.methods.description import described
from grenache_py.wire.jsonlines import LINE_BYTES_MAX
from tests.support.peer import Peer

FILE = Path(__file__).parents[3] / "docs" / "openrpc.json"


def as_text() -> str:
    return json.dumps(described(), indent=1) + "\n"


def test_the_file_is_what_the_table_of_methods_says() -> None:
    assert FILE.read_text() == as_text()


def test_a_daemon_describes_itself_on_one_line() -> None:
    client = Peer().connect()
    document = client.call("rpc.discover")
    assert document == json.loads(FILE.read_text())
    assert len(json.dumps(document)) < LINE_BYTES_MAX
    by_name = {method["name"]: method for method in document["methods"]}
    assert by_name.keys() == METHODS.keys()
    place = {each["name"]: each for each in by_name["order.place"]["params"]}
    assert place["market"]["required"] and not place["price"]["required"]
    assert place["side"]["schema"] == {"enum": ["buy", "sell"]}


if __name__ == "__main__":
    FILE.write_text(as_text())
