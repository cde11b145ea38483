"""The rules of docs/design/identity.rst#handshake, each switched off: its test notices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cryptography.x509.oid import NameOID

from grenache_py.exchange.daemon.connections import peer_connection
from grenache_py.exchange.daemon.connections.line_connection import LineConnection
from grenache_py.exchange.peers import certificate
from grenache_py.exchange.peers.address_book import AddressBook
from grenache_py.exchange.peers.door import Door, Visitor
from grenache_py.exchange.peers.outgoing import Outgoing
from grenache_py.exchange.peers.peer_exchange import PeerExchange
from grenache_py.exchange.peers.peering import Peering
from tests.exchange.daemon import test_connections as connections
from tests.exchange.daemon.connections import test_secure_channel as channel
from tests.exchange.peers import test_address_book as addresses
from tests.exchange.peers import test_admission as admission
from tests.exchange.peers import test_door as door
from tests.exchange.peers import test_link_under_load as load


def name_of(connection: Any) -> str:
    """Who the certificate says that it is."""
    subject = connection.get_peer_certificate(as_cryptography=True).subject
    return str(subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def newcomers_go(self: Door, address: str) -> tuple[Visitor, Visitor | None]:
    """When it is full, whoever comes is sent away."""
    visitor = Visitor(address, 0)
    if self._waiting >= 64:
        self.refused["crowded"] += 1
        return visitor, visitor
    self._of[address][visitor] = None
    self._waiting += 1
    return visitor, None


def first_is_believed(self: PeerExchange, link: Any, address: str) -> None:
    self._host = self._host or address.rpartition(":")[0]


ABLATIONS: dict[str, tuple[Any, str, Any, Callable[[], None]]] = {
    "the name in a certificate is believed": (
        peer_connection, "key_of", name_of,
        lambda: channel.test_a_name_in_a_certificate_is_not_believed(channel.OTHER.key),
    ),
    "any point is a key": (
        certificate, "crypto_core_ed25519_is_valid_point", lambda raw: True,
        lambda: channel.test_a_key_under_which_anybody_can_sign_is_none("01" + "00" * 31),
    ),
    "an answer to a hello waits its turn": (
        Outgoing, "greet", Outgoing.send,
        load.test_the_answer_to_a_hello_leaves_before_gossip,
    ),
    "newcomers are refused when the door is full": (
        Door, "enter", newcomers_go,
        door.test_a_newcomer_is_let_in_and_the_oldest_of_the_fullest_network_goes,
    ),
    "who is thrown out may stay": (
        LineConnection, "_must_be_gone", lambda self: None,
        connections.test_a_peer_that_never_says_its_farewell_is_cut_off,
    ),
    "a line that is no message is free": (
        Peering, "not_a_message", lambda self, number, now: None,
        admission.test_a_million_lines_that_are_no_messages_cost_what_ten_malformed_ones_do,
    ),
    "an address that led to ourselves never does anything else": (
        AddressBook, "is_named", lambda self, address: False,
        addresses.test_an_address_the_operator_named_is_tried_again_though_it_led_to_ourselves,
    ),
    "one neighbour says where this peer is": (
        PeerExchange, "seen_from", first_is_believed,
        admission.test_one_neighbour_cannot_say_where_this_peer_is,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ABLATIONS)
def test_without_the_rule_its_test_fails(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, attribute, instead, test = ABLATIONS[name]
    test()
    monkeypatch.setattr(owner, attribute, instead)
    with pytest.raises(AssertionError):
        test()
