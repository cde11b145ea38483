"""What a browser may ask of a local port: its own page may, a stranger's page may not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grenache_py.wire.same_origin import host_is_ours, refusal


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:7072", "[::1]:7072", "10.1.2.3", "localhost:7072", "grape-1:30001", "peer.local",
     "peer.internal:80", "LOCALHOST", "a.localhost."],
)  # fmt: skip
def test_names_that_no_stranger_can_register_are_ours(host: str) -> None:
    assert host_is_ours(host)
    assert refusal(host, None) == ""


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:7072", "local.evil.example", "", "[::1"]
)
def test_a_rebound_name_is_refused(host: str) -> None:
    assert "name in the Host header" in refusal(host, None)
    assert refusal(host, f"http://{host}")


def test_a_name_that_the_operator_gave_is_ours() -> None:
    assert refusal("peer.example:7072", "http://peer.example:7072", {"peer.example"}) == ""
    assert refusal("Peer.Example", None, {"peer.example"}) == ""


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:7072", "http://127.0.0.1:7072"),
        ("localhost", "http://localhost"),
        ("localhost:80", "http://localhost"),
        ("localhost", "https://localhost:443"),
        ("[::1]:7072", "http://[::1]:7072"),
    ],
)
def test_the_ports_own_page_may_ask(host: str, origin: str) -> None:
    assert refusal(host, origin) == ""


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "", "http://127.0.0.1:8080", "https://127.0.0.1:7072x",
     "file://", "http://localhost:7072", "ftp://127.0.0.1:7072", "http://[::1", "127.0.0.1:7072"],
)  # fmt: skip
def test_a_page_of_another_site_is_refused(origin: str) -> None:
    assert "other sites" in refusal("127.0.0.1:7072", origin)


def test_programs_that_are_no_browsers_send_no_origin_and_are_served() -> None:
    assert refusal(None, None) == ""
    assert refusal("prometheus-target:9090", None) == ""


@given(st.text(max_size=40), st.text(max_size=40))
def test_whatever_the_headers_say_there_is_an_answer(host: str, origin: str) -> None:
    assert isinstance(refusal(host, origin), str)
