"""docs/design/identity.rst#handshake: no signature here is good for TLS, nor the reverse."""

from __future__ import annotations

import ast
from pathlib import Path

import attrs
import pytest

from grenache_py.exchange.peers.certificate import identity_context
from grenache_py.exchange.signed_log.keys import Ed25519, Identity
from tests.support.peers import Network

PACKAGE = Path(__file__).parents[3] / "grenache_py"


class Noted(Ed25519):
    """Keeps what was signed."""

    def __init__(self) -> None:
        self.signed: list[bytes] = []

    def sign(self, secret: bytes, message: bytes) -> bytes:
        self.signed.append(message)
        return super().sign(secret, message)


def test_all_that_the_key_signs_begins_with_the_programs_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noted, original = Noted(), Identity.from_seed
    monkeypatch.setattr(
        Identity, "from_seed", lambda seed: attrs.evolve(original(seed), scheme=noted)
    )
    net = Network(2)
    net.link(0, 1)
    for number, side in ((0, "sell"), (1, "buy")):
        net.place(number, side, 5, 100)
    net.run(12.0)
    assert len(noted.signed) > 4
    assert {message[:17] for message in noted.signed} == {b"grenache-exchange"}


def test_the_secret_leaves_the_identity_in_one_place_only() -> None:
    """For the certificate; TLS signs 64 blanks first, and a certificate begins with 0x30."""
    users = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr == "seed":
                users.append(path.name)
    assert users == ["service.py"]
    assert identity_context(Identity.from_seed(b"\1" * 32).seed)
