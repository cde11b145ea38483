"""Programs of users import the client from the package, and need not know its modules."""

from __future__ import annotations

from grenache_py.exchange import client
from grenache_py.exchange.client.blocking import CannotReach, Client, Refused
from grenache_py.exchange.client.book_mirror import BookMirror


def test_the_package_gives_all_that_a_program_of_a_user_needs() -> None:
    assert set(client.__all__) == {"BookMirror", "CannotReach", "Client", "Refused"}
    assert (client.BookMirror, client.CannotReach) == (BookMirror, CannotReach)
    assert (client.Client, client.Refused) == (Client, Refused)
