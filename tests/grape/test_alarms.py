"""Alarms of real grapes: what is wrong is said by ``/health``, the page, metrics and log."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
import pytest_twisted

from grenache_py.grape import pages
from tests.grape.test_command import GRAPE, ask, free_ports
from tests.support import rings
from tests.support.certificates import self_signed
from tests.support.dht_nodes import NOW, make_node

DEADLINE_S = 120.0
#: Nobody waits 20 minutes in a test.
HASTE = """
import msgspec
from grenache_py import alarms
from grenache_py.dht import service
from grenache_py.grape import pages
service.SAVE_EVERY_S, pages.UNASKED_S_MAX = 0.2, 1.0
alarms.GRAPE["grape-names"] = msgspec.structs.replace(alarms.GRAPE["grape-names"], hold_s=0.0)
"""


@contextmanager
def grape(folder: Path, *options: str) -> Iterator[Path]:
    """A grape of a process of its own; its log."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HASTE)
    with pytest.MonkeyPatch.context() as patch, (folder / "log").open("wb") as log:
        patch.setenv("PYTHONPATH", str(folder))
        process = subprocess.Popen([*GRAPE, *options], cwd=folder, stderr=log)
    try:
        yield folder / "log"
    finally:
        process.kill()
        process.wait()


def page(url: str, accept: str = "*/*") -> str:
    request = Request(url, headers={"Accept": accept})
    with urlopen(request, timeout=10, context=ssl._create_unverified_context()) as answer:
        return str(answer.read().decode())


def raised(url: str) -> dict[str, dict[str, Any]]:
    try:
        health = json.loads(page(f"{url}/health"))
    except OSError:
        return {}
    return {each["id"]: each for each in health["raised"]}


def until_raised(url: str, *ids: str) -> dict[str, dict[str, Any]]:
    give_up = time.monotonic() + DEADLINE_S
    while not set(ids) <= (found := raised(url)).keys():
        assert time.monotonic() < give_up, found
        time.sleep(0.1)
    return found


@pytest.mark.network
def test_a_grape_says_what_is_wrong_everywhere_in_the_same_words(tmp_path: Path) -> None:
    for name, content in zip(("key.pem", "cert.pem"), self_signed("localhost"), strict=True):
        (tmp_path / name).write_bytes(content)
    udp, other_udp, http, other_http = free_ports(4)
    pair = f"privateKey={tmp_path}/key.pem:certKey={tmp_path}/cert.pem"
    secure = f"ssl:{http}:interface=127.0.0.1:{pair}"
    state = tmp_path / "of the grape"
    state.mkdir()
    with ExitStack() as stack:
        start = stack.enter_context
        start(grape(tmp_path / "other", "--dp", str(other_udp), "--aph", str(other_http)))
        log = start(
            grape(
                tmp_path / "one",
                *("--dp", str(udp), "--api", secure, "--metrics", "--dht_maxValues", "1"),
                *("--bn", f"nobody.invalid:9,127.0.0.1:{other_udp}"),
                *("--state", str(state / "state")),
            )
        )
        url = f"https://127.0.0.1:{http}"
        until_raised(url, "grape-names", "grape-certificate", "grape-unasked")
        assert len(ask(other_http, "put", '{"v":"kept here"}')) == 42
        shutil.rmtree(state)
        found = until_raised(url, "grape-items", "grape-state", "grape-unasked")
        assert found.keys() == {
            *("grape-unasked", "grape-names", "grape-state", "grape-items", "grape-certificate")
        }
        assert found["grape-state"]["text"].endswith("state: No such file or directory")
        assert "nobody.invalid" in found["grape-names"]["text"]
        assert all(each["level"] == "warning" and each["for_s"] >= 0 for each in found.values())
        assert found["grape-state"]["text"] in page(url, "text/html")
        metrics = page(f"{url}/metrics")
        assert 'grape_alarm{id="grape-state",level="warning"} 1' in metrics
        assert 'grape_alarm{id="grape-alone",level="alarm"} 0' in metrics
        said = log.read_text()
        assert said.count("warning grape-state: the state file cannot be written") == 1
        state.mkdir()
        give_up = time.monotonic() + DEADLINE_S
        while "warning grape-state is over" not in log.read_text():
            assert time.monotonic() < give_up
            time.sleep(0.1)


@pytest.mark.network
def test_a_grape_that_finds_no_other_says_so(tmp_path: Path) -> None:
    udp, http = free_ports(2)
    options = ("--dp", str(udp), "--aph", str(http), "--bn", "127.0.0.1:9")
    with grape(tmp_path / "one", *options) as log:
        give_up = time.monotonic() + DEADLINE_S
        while "alarm grape-alone: no other grape answers" not in log.read_text():
            assert time.monotonic() < give_up, log.read_text()
            time.sleep(0.1)


@pytest.mark.network
@pytest_twisted.ensureDeferred
async def test_a_grape_with_as_many_clients_as_it_takes_says_so() -> None:
    async with rings.ring(1, connections_max=2) as (one,):
        client = await rings.connect(one.api_port)
        asking = await rings.connect(one.api_port)
        asking.transport.write(b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        await rings.until(lambda: asking.closed)
        assert b'"id":"grape-full"' in asking.received
        client.transport.abortConnection()


def test_in_an_idle_ring_everybody_is_asked_well_within_what_the_alarm_allows() -> None:
    nodes = {
        (f"10.0.0.{number}", 20001): make_node(node_id=bytes([number]) * 20, seed=number)
        for number in range(1, 4)
    }
    now, asked, longest = NOW, dict.fromkeys(nodes, NOW), 0.0

    def deliver() -> bool:
        nonlocal longest
        sent = [(a, *each) for a, node in nodes.items() for each in node.take_effects().datagrams]
        for source, data, target in sent:
            answer = nodes[target].receive_datagram(data, source, now)
            if answer is not None:  # it was a query
                longest, asked[target] = max(longest, now - asked[target]), now
                nodes[source].receive_datagram(answer, target, now)
        return bool(sent)

    first, *others = nodes
    for address in others:
        nodes[address].bootstrap([first], now)
    while now < NOW + 2 * pages.UNASKED_S_MAX:
        while deliver():
            pass
        now = max(now, min(node.next_deadline() for node in nodes.values()))
        for node in nodes.values():
            node.tick(now)
    assert all(node.table.good() == 2 for node in nodes.values())
    assert 0 < max(longest, *(now - at for at in asked.values())) < pages.UNASKED_S_MAX / 3
