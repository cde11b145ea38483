"""
The examples of ``docs/client-protocol.rst`` come from a run, and still come out like that.

``python -m tests.exchange.client_port.test_protocol_document`` writes the answers into it anew.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from grenache_py.exchange.client_port.inline import COMMANDS
from grenache_py.exchange.client_port.methods import METHODS
from tests.support.peer import Peer

DOCUMENT = Path(__file__).parents[3] / "docs" / "client-protocol.rst"
SENT, RECEIVED = "    --> ", "    <-- "


def replayed(text: str) -> str:
    """The document with every answer as a peer gives it now."""
    client = Peer().connect()
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("    <--"):
            continue
        lines.append(line)
        if line.startswith(SENT):
            client.peer.clock.advance(0.5)
            client.send(line.removeprefix(SENT).encode() + b"\n")
            for answer in client.received():
                lines.append(RECEIVED + json.dumps(answer, separators=(",", ":")))
    return "\n".join(lines) + "\n"


def without_names(text: str) -> str:
    """Ids and times differ from run to run when anything before them changes."""
    return re.sub(r"\b([0-9a-f]{64}|[0-9a-f]{32}|\d{13})\b", "...", text)


def test_the_examples_are_what_a_peer_answers() -> None:
    text = DOCUMENT.read_text()
    assert without_names(replayed(text)) == without_names(text)


def test_every_method_command_and_error_is_in_the_document() -> None:
    from grenache_py.exchange import errors

    text = DOCUMENT.read_text()
    for name in METHODS:
        assert f"``{name}``" in text, name
    for name in COMMANDS:
        assert re.search(rf"\b{name}\b", text), name
    for value in vars(errors).values():
        if isinstance(value, int):
            assert f"\n{value} " in text, value


if __name__ == "__main__":
    DOCUMENT.write_text(replayed(DOCUMENT.read_text()))
