"""Alarms of real daemons: what is wrong is said by ``status``, doctor, health, metrics and log."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from grenache_py.trading import Refused
from tests.exchange.daemon.test_daemon import DEADLINE_S, Daemon
from tests.support.certificates import self_signed

pytestmark = pytest.mark.network

EXCHANGE = Path(sysconfig.get_path("scripts"), "exchange")
#: Another wall clock; and nobody waits for a minute in a test, nor commits 80,000 changes.
OTHER_MACHINE = """
import time
import msgspec
from grenache_py import alarms
from grenache_py.exchange.condition import symptoms
from grenache_py.exchange.storage import database, wal_checkpoints
real = time.time
time.time = lambda: real() + {ahead_s}
alarms.PEER = {{id: msgspec.structs.replace(kind, hold_s=0.0) for id, kind in alarms.PEER.items()}}
symptoms.LOG_HELD_S_MAX, database.CHECKPOINT_CHANGES, wal_checkpoints.AGAIN_S = 0.5, 3, 1.0
"""


def raised(daemon: Daemon) -> dict[str, str]:
    with daemon.client() as client:
        return {each["id"]: each["text"] for each in client.call("status")["raised"]}


def until(look: Callable[[], Any], wanted: Callable[[Any], bool]) -> Any:
    give_up = time.monotonic() + DEADLINE_S
    while not wanted(found := look()):
        assert time.monotonic() < give_up, found
        time.sleep(0.1)
    return found


def until_raised(daemon: Daemon, id: str) -> str:
    """Wait for an alarm; its text."""
    return str(until(lambda: raised(daemon), lambda found: id in found)[id])


def doctor(*words: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [EXCHANGE, "--json", *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, {
        finding["alarm"] or finding["what"]: finding for finding in json.loads(done.stdout)
    }


def page(daemon: Daemon, path: str) -> tuple[int, str]:
    host, port = daemon.address("http")
    try:
        with urlopen(f"http://{host}:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


@contextmanager
def machine(folder: Path, *options: str, ahead_s: float = 0.0) -> Iterator[Daemon]:
    """A daemon in haste whose wall clock is ``ahead_s`` before this machine's."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(OTHER_MACHINE.format(ahead_s=ahead_s))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        daemon = Daemon(folder, *options)
    with daemon:
        yield daemon


def test_what_is_wrong_outside_is_said_everywhere_in_the_same_words(tmp_path: Path) -> None:
    for name, content in zip(("key.pem", "cert.pem"), self_signed("localhost"), strict=True):
        (tmp_path / name).write_bytes(content)
    secure = f"ssl:0:interface=127.0.0.1:privateKey={tmp_path}/key.pem:certKey={tmp_path}/cert.pem"
    with Daemon(tmp_path, "--grape", "http://127.0.0.1:9", "--client", secure) as daemon:
        assert "127.0.0.1:9" in until_raised(daemon, "grapes-silent")
        assert raised(daemon).keys() == {"grapes-silent", "certificate-expires"}
        code, findings = doctor("--unix", daemon.path, "doctor")
        assert code == 1
        assert findings["grapes-silent"]["verdict"] == "warning"
        assert findings["certificate-expires"]["verdict"] == "warning"
        status, health = page(daemon, "/health")
        assert status == 200, "it takes orders"
        assert [each["id"] for each in json.loads(health)["raised"]] == [*raised(daemon)]
        metrics = page(daemon, "/metrics")[1]
        assert 'exchange_alarm{id="grapes-silent",level="warning"} 1' in metrics
        assert 'exchange_alarm{id="store-failed",level="alarm"} 0' in metrics
        assert "warning grapes-silent: http://127.0.0.1:9" in daemon.log.read_text()


def test_peers_that_do_not_fit_are_named_on_both_sides(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with ExitStack() as running:
        one = running.enter_context(Daemon(tmp_path))
        host, port = one.address("peer")
        market = ("--market", "BTC-USD:tick=1,lot=1", "--connect", f"{host}:{port}")
        other = running.enter_context(Daemon(tmp_path / "other", *market))
        for daemon in (one, other):
            assert "market BTC-USD has tick" in until_raised(daemon, "links-refused")
            code, findings = doctor("--unix", daemon.path, "doctor")
            assert code == 1 and "--network" in findings["links-refused"]["advice"]
            assert 'exchange_links_refused_total{reason="market"}' in page(daemon, "/metrics")[1]


@pytest.mark.parametrize(
    ("ahead_s", "id"),
    [(8, "clock-wrong"), (-8, "clock-wrong"), (2, "clock-differs"), (-2, "clock-differs")],
)
def test_a_clock_that_is_off_is_told_with_both_times(
    tmp_path: Path, ahead_s: float, id: str
) -> None:
    with ExitStack() as running:
        start = running.enter_context
        others = [start(machine(tmp_path / name)) for name in ("b", "c")]
        named = [f"{host}:{port}" for host, port in (each.address("peer") for each in others)]
        connect = [word for address in named for word in ("--connect", address)]
        wrong = start(machine(tmp_path / "a", *connect, ahead_s=ahead_s))
        # It may first be seen by the stamps of orders.
        text = until(lambda: raised(wrong).get(id, ""), lambda text: "neighbour" in text)
        assert text.count(" UTC") == 2 and "NTP" in text
        code, findings = doctor("--unix", wrong.path, "doctor")
        assert code == 1 and findings[id]["found"].count(" UTC") == 2
        assert "differs from this machine's" in findings["clock"]["found"], "the doctor's own"
        status, _ = page(wrong, "/health")
        assert status == (503 if id == "clock-wrong" else 200)
        offset = f"exchange_clock_offset_seconds {'-' if ahead_s < 0 else ''}"
        assert offset in page(wrong, "/metrics")[1]


def test_a_log_that_is_an_hour_ahead_is_told_of_by_its_home_and_its_neighbours(
    tmp_path: Path,
) -> None:
    """The machine's clock was wrong when orders were taken, and has been put right since."""
    order = {"market": "BTC-USD", "side": "buy", "quantity": "1", "price": "90"}
    with machine(tmp_path / "a", ahead_s=3600) as early, early.client() as client:
        client.call("order.place", **order)
    with ExitStack() as running:
        other = running.enter_context(machine(tmp_path / "b"))
        host, port = other.address("peer")
        home = running.enter_context(machine(tmp_path / "a", "--connect", f"{host}:{port}"))
        assert until_raised(home, "stamps-ahead").count(" UTC") == 3
        assert "it is not taken before" in until_raised(other, "home-ahead")
        with home.client() as client:
            until(lambda: client.call("status")["listening"], lambda listens: not listens)
            with pytest.raises(Refused, match="log is of"):
                client.call("order.place", **order)
        code, findings = doctor("--unix", home.path, "doctor")
        assert code == 1 and findings["stamps-ahead"]["verdict"] == "bad"
        assert page(home, "/health")[0] == 503 and page(other, "/health")[0] == 200
        assert 'exchange_alarm{id="home-ahead",level="warning"} 1' in page(other, "/metrics")[1]


class At(Daemon):
    """A daemon whose peer port is where a test says."""

    def __init__(self, folder: Path, peer: str, *options: str) -> None:
        folder.mkdir()
        self.folder, self.path, self.log = folder, str(folder / "client.sock"), folder / "log"
        self.options = (
            "--data", str(folder / "data"), "--client", f"unix:{self.path}", "--peer", peer,
            "--http", "tcp:0:interface=127.0.0.1", *options,
        )  # fmt: skip
        self.start()


def test_a_peer_finds_out_whether_those_who_look_it_up_find_it(tmp_path: Path) -> None:
    """A grape keeps the address that it sees, here 127.0.0.1; the peers behind it are elsewhere."""
    with ExitStack() as running:
        start = running.enter_context
        seen = start(At(tmp_path / "a", "tcp:0:interface=127.0.0.1"))
        _, port = seen.address("peer")
        met = {"address": f"127.0.0.1:{port}", "who": "itself", "reason": ""}
        with seen.client() as client:
            grapes = until(lambda: client.call("status")["grapes"], lambda g: g["met"] == [met])
        code, findings = doctor("--unix", seen.path, "doctor")
        assert code == 0 and f"answers at 127.0.0.1:{port}" in findings["announced"]["found"]
        assert 'exchange_met{who="itself"} 1' in page(seen, "/metrics")[1]
        assert f"lookups lead to this peer, at 127.0.0.1:{port}" in seen.log.read_text()

        elsewhere = ("--grape", grapes["urls"][0], "--network", "other")
        unseen = start(At(tmp_path / "b", "tcp:0:interface=127.0.0.2", *elsewhere))
        text = until_raised(unseen, "not-reachable")
        _, own_port = unseen.address("peer")
        assert f"nobody answers at 127.0.0.1:{own_port} (Connection was refused" in text
        code, findings = doctor("--unix", unseen.path, "doctor")
        assert code == 1 and "--advertise" in findings["not-reachable"]["advice"]
        assert 'exchange_alarm{id="not-reachable",level="warning"} 1' in page(unseen, "/metrics")[1]
        assert [e["id"] for e in json.loads(page(unseen, "/health")[1])["raised"]] == [
            "not-reachable"
        ]
        assert "warning not-reachable: lookups do not lead to this peer" in unseen.log.read_text()

        # At the address that the grape keeps for this one, another peer listens.
        hidden = start(At(tmp_path / "c", f"tcp:{port}:interface=127.0.0.2", *elsewhere))
        assert f"another peer answers at 127.0.0.1:{port}" in until_raised(hidden, "not-reachable")


def free_port(host: str) -> int:
    with socket.create_server((host, 0)) as found:
        return int(found.getsockname()[1])


def meets_itself(grapes: dict[str, Any]) -> bool:
    return any(each["who"] == "itself" for each in grapes["met"])


def test_peers_that_the_grape_sees_elsewhere_find_each_other_by_their_records(
    tmp_path: Path,
) -> None:
    """The set-up of the first system: grapes and peers in containers of their own."""
    with ExitStack() as running:
        start = running.enter_context
        with start(At(tmp_path / "grape", "none")).client() as client:
            (url,) = client.call("status")["grapes"]["urls"]
        peers = []
        for host in ("127.0.0.2", "127.0.0.3"):
            port = free_port(host)
            peers.append(
                start(
                    At(
                        tmp_path / host,
                        f"tcp:{port}:interface={host}",
                        *("--grape", url, "--network", "other", "--advertise", f"{host}:{port}"),
                    )
                )
            )
        for peer in peers:
            with peer.client() as client:
                until(lambda: client.call("status")["links"], lambda links: links == 1)
                grapes = until(lambda: client.call("status")["grapes"], meets_itself)
                assert grapes["record_s_ago"] is not None
                assert grapes["met"][-1]["address"] == client.call("status")["advertise"]
            assert "not-reachable" not in raised(peer)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root: it mounts a small disk")
def test_a_disk_that_is_nearly_full_is_told_of_before_it_is_full(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", str(data)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("cannot mount here")
    try:
        with Daemon(tmp_path) as daemon:
            assert "MiB are free" in until_raised(daemon, "disk-low")
            assert page(daemon, "/health")[0] == 200
            code, findings = doctor("--unix", daemon.path, "doctor")
            assert code == 1 and findings["disk-low"]["verdict"] == "warning"
    finally:
        subprocess.run(["umount", "-l", str(data)], check=True)


def test_the_doctor_works_without_a_daemon(tmp_path: Path) -> None:
    config = tmp_path / "exchange.toml"
    ports = "".join(f"{name} = 'tcp:0:interface=127.0.0.1'\n" for name in ("client", "peer"))
    config.write_text(f"data = '{tmp_path}/data'\nhttp = 'none'\n{ports}")
    nobody = ("--unix", str(tmp_path / "nobody.sock"), "doctor", "--config", str(config))
    code, findings = doctor(*nobody)
    assert code == 1 and findings["daemon"]["verdict"] == "bad"
    assert findings["directory"]["verdict"] == "note" and findings["disk"]["verdict"] == "good"
    with Daemon(tmp_path) as daemon:
        code, findings = doctor(*nobody)
        assert code == 1, "there is one, and it does not answer there"
        assert f"process {daemon.process.pid} uses" in findings["directory"]["found"]
        with daemon.client() as client:
            assert client.call("status")["peer"] in findings["identity"]["found"]
        host, port = daemon.address()
        daemon.stop()
        code, findings = doctor(*nobody)
        assert findings["directory"]["verdict"] == "good"
        config.write_text(
            f"data = '{tmp_path}/data'\nclient = 'tcp:{port}:interface={host}'\n"
            "peer = 'none'\nhttp = 'none'\n"
        )
        with socket.create_server((host, port)):
            code, findings = doctor(*nobody)
        assert code == 1 and "Address already in use" in findings["ports"]["found"]
    config.write_text("colour = 1\n")
    code, findings = doctor(*nobody)
    assert code == 1 and "no setting 'colour'" in findings["settings"]["found"]
