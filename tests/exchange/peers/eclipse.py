"""
How far strangers can surround a peer by telling it addresses: an attack on its address book.

    python -m tests.exchange.peers.eclipse

prints the table of docs/design/gossip.rst#eclipse. A peer knows 40 honest addresses in 40 networks.
An attacker adds addresses of its own, and as many more that do not exist. Then the peer dials until
it has eight links. Attackers always answer, and so do honest peers.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from grenache_py.exchange.peers.address_book import AddressBook
from grenache_py.exchange.signed_log.keys import Ed25519
from grenache_py.exchange.signed_log.merkle import Verifier
from tests.exchange.peers.test_networks import NOW, record

__all__ = ["LINKS", "surrounded"]

#: Links that a peer dials.
LINKS = 8
HONEST = 40
#: Honest neighbours that tell a part of the honest addresses each.
HONEST_TELLERS = 4


def evil_addresses(count: int, networks: int) -> list[str]:
    """``count`` addresses, spread over ``networks`` /24s."""
    return [
        f"66.{n % networks // 250}.{n % networks % 250}.{n // networks % 250 + 1}:{7000 + n // 250}"
        for n in range(count)
    ]


def surrounded(count: int, networks: int, way: str, seed: int) -> int:
    """
    How many of the eight links lead to the attacker.

    Args:
        way: "grapes": it announces its addresses beside the honest ones; "neighbour": it is one of
            five neighbours that tell records.
    """
    rng = random.Random(f"{count} {networks} {way} {seed}")
    book = AddressBook("", Verifier(Ed25519(), "main"), rng)
    honest = [f"8.{n}.1.1:7071" for n in range(HONEST)]
    evil = evil_addresses(count, networks)
    if way == "grapes":
        mixed = honest + evil
        rng.shuffle(mixed)
        book.hint(mixed, NOW)
    else:
        for number, address in enumerate(evil):
            book.learn(record(address, number + 1_000), NOW, "66.0.0.1:9")
        for number, address in enumerate(honest):
            book.learn(record(address, number + 1), NOW, f"9.{number % HONEST_TELLERS}.1.1:9")
    linked: dict[str, str] = {}
    for address in _dials(book, linked):
        linked[address] = address
        book.reached(address, address, NOW)
        if len(linked) == LINKS:
            break
    return sum(address.startswith("66.") for address in linked)


def _dials(book: AddressBook, linked: dict[str, str]) -> Iterator[str]:
    while due := book.due(linked, NOW):
        for address in due[:4]:  # dials begun at once
            book.dial(address, NOW)
            yield address


def table(seeds: int = 40) -> str:
    """The figures, as lines of text: links of the attacker (mean), and how often all eight."""
    lines = []
    for count in (10, 100, 1_000):
        for networks in (1, 10, 100):
            if networks > count:
                continue
            cells = []
            for way in ("grapes", "neighbour"):
                found = [surrounded(count, networks, way, seed) for seed in range(seeds)]
                mean, whole = sum(found) / seeds, sum(each == LINKS for each in found)
                cells.append(f"{mean:4.1f} {whole / seeds:5.0%}")
            lines.append(f"{count:6,} {networks:6} {'   '.join(cells)}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
