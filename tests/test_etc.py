"""The files an operator copies do what they say: units, configurations, alerts, dashboards."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from benchmarks.panels import Series, asked, drawn, named
from grenache_py.exchange.settings import config as exchange_config
from grenache_py.grape import config as grape_config
from grenache_py.options import LOGGING

ETC = Path(__file__).parent.parent / "etc"
SCRIPTS = Path(sysconfig.get_path("scripts"))
DASHBOARDS = sorted((ETC / "grafana").iterdir())
UNITS = sorted((ETC / "systemd").iterdir())
#: 0 is not the least that these can be.
BELOW_0 = {"exchange_announced_seconds_ago", "exchange_clock_offset_seconds"}
DEADLINE_S = 120.0


def test_systemd_accepts_every_unit(tmp_path: Path) -> None:
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("needs systemd-analyze")
    for unit in UNITS:
        text = unit.read_text().replace("/opt/grenache/bin", str(SCRIPTS))
        # The user is made by sysusers.d, not on the machine that runs the tests.
        text = re.sub("^(User|Group)=exchange$", r"\1=root", text, flags=re.M)
        (tmp_path / unit.name).write_text(text)
    done = subprocess.run(
        [verify, "verify", "--man=no", *(tmp_path / unit.name for unit in UNITS)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_example_configurations_are_accepted() -> None:
    grape = grape_config.from_settings(
        without_logging(grape_config.TABLE.from_toml((ETC / "grenache/grape.toml").read_text()))
    )
    assert grape.metrics
    assert grape.bootstrap == ("10.0.0.2:20001", "10.0.0.3:20001")
    exchange = exchange_config.from_settings(
        without_logging(
            exchange_config.TABLE.from_toml((ETC / "grenache/exchange.toml").read_text())
        )
    )
    assert [market.symbol for market in exchange.markets] == ["BTC-USD", "ETH-USD"]
    assert exchange.advertise == "exchange.example.org:7071"
    assert exchange.dht_port != grape.dht_port  # both may run on one machine


def without_logging(settings: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in settings.items() if name not in LOGGING}


def test_the_socket_files_name_the_endpoints_their_comments_say() -> None:
    for unit in UNITS:
        if unit.suffix == ".socket":
            text = unit.read_text()
            (name,) = re.findall("^FileDescriptorName=(.*)$", text, re.M)
            assert f'{name} = "systemd:domain=INET:name={name}"' in text


class Daemon:
    """What a unit starts, with this test in the place of systemd."""

    def __init__(self, command: list[str], folder: Path, notify: socket.socket) -> None:
        self.notify = notify
        self.log = folder / "log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={
                    "PATH": os.environ["PATH"],
                    "NOTIFY_SOCKET": notify.getsockname(),
                    "STATE_DIRECTORY": str(folder),
                    "WATCHDOG_USEC": "30000000",
                },
            )

    def heard(self, wanted: bytes) -> None:
        """Wait until the daemon tells systemd ``wanted``."""
        give_up = time.monotonic() + DEADLINE_S
        said: list[bytes] = []
        while time.monotonic() < give_up:
            try:
                said.append(self.notify.recv(9999))
            except TimeoutError:
                if self.process.poll() is not None:
                    break
            else:
                if wanted in said[-1].splitlines():
                    return
        pytest.fail(f"{wanted!r} was not among {said}; log:\n{self.log.read_text()}")

    def reload(self) -> None:
        self.process.send_signal(signal.SIGHUP)
        self.heard(b"RELOADING=1")
        self.heard(b"READY=1")

    def stop(self) -> None:
        self.process.terminate()
        self.heard(b"STOPPING=1")
        # systemd counts both as a clean end.
        assert self.process.wait(DEADLINE_S) in (0, -15)


@contextmanager
def started(command: list[str], folder: Path) -> Iterator[Daemon]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(folder / "notify"))
        notify.settimeout(0.2)
        daemon = Daemon(command, folder, notify)
        try:
            daemon.heard(b"READY=1")
            yield daemon
            daemon.stop()
        finally:
            daemon.process.kill()
            daemon.process.wait()


def command_of(unit: str, folder: Path, **settings: str) -> list[str]:
    """Return the unit's command, with a copy of its configuration that takes free ports."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read(ETC / "systemd" / unit)
    words = shlex.split(parser["Service"]["ExecStart"])
    for number, word in enumerate(words):
        if word.startswith("/etc/grenache/"):
            text = (ETC / "grenache" / Path(word).name).read_text()
            for name, value in settings.items():
                text, found = re.subn(rf"^{name} = .*$", f"{name} = {value}", text, flags=re.M)
                assert found == 1, name
            words[number] = str(folder / Path(word).name)
            Path(words[number]).write_text(text)
    words = [word.replace("${STATE_DIRECTORY}", str(folder)) for word in words]
    return [word.replace("/opt/grenache/bin", str(SCRIPTS)) for word in words]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def metric_names(port: int) -> set[str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return set(re.findall("^# TYPE ([a-z0-9_]+)", answer.read().decode(), re.M))


def metrics_read(prefix: str) -> set[str]:
    """Every metric that an alert or a dashboard reads."""
    rules = yaml.safe_load((ETC / "prometheus/grenache.rules.yml").read_text())
    expressions = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    for file in DASHBOARDS:
        expressions += [
            target["expr"]
            for panel in json.loads(file.read_text())["panels"]
            for target in panel["targets"]
        ]
    names = re.findall(rf"\b{prefix}_[a-z0-9_]+", " ".join(expressions))
    assert names
    return {name.removesuffix("_bucket") for name in names}


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_a_dashboard_says_of_each_panel_what_it_shows(file: Path) -> None:
    dashboard = json.loads(file.read_text())
    for panel in dashboard["panels"]:
        assert panel["description"] and panel["targets"], panel["title"]
        for target in panel["targets"]:
            assert '{instance=~"$instance"' in target["expr"], panel["title"]
            assert target["expr"].count("(") == target["expr"].count(")")
            if "min" in panel["fieldConfig"]["defaults"]:  # Grafana shows nothing below it
                assert not any(name in target["expr"] for name in BELOW_0), panel["title"]
    places = [tuple(panel["gridPos"].values()) for panel in dashboard["panels"]]
    assert len(set(places)) == len(places)


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_the_picture_in_the_guide_is_of_this_dashboard(file: Path) -> None:
    """``make dashboards`` draws it."""
    dashboard = json.loads(file.read_text())
    lines = [Series("peer-a", [(0.0, 0.0), (1.0, 3.5e9)]), Series("peer-b", [(0.5, 0.012)])]
    drawn_now = ElementTree.fromstring(drawn(dashboard, lambda panel: lines))
    in_the_guide = ElementTree.parse(ETC.parent / f"docs/dashboard-{file.stem}.svg").getroot()
    titles = {panel["title"] for panel in dashboard["panels"]}
    for picture in (drawn_now, in_the_guide):
        assert titles <= {element.text for element in picture.iter()}
    (target, *_) = dashboard["panels"][-1]["targets"]
    ((expression, legend), *_) = asked(dashboard["panels"][-1], "5s")
    assert "$" in target["expr"] and "$" not in expression
    assert named({"instance": "peer-a"}, legend).startswith("peer-a")


@pytest.mark.network
def test_the_grapes_unit_starts_one_with_every_metric_that_is_read(tmp_path: Path) -> None:
    port = free_port()
    command = command_of(
        "grape.service",
        tmp_path,
        dht_port="0",
        bootstrap="[]",
        api=f'"tcp:{port}:interface=127.0.0.1"',
    )
    with started(command, tmp_path) as grape:
        assert metrics_read("grape") <= metric_names(port) | {
            "grape_dht_round_trip_seconds"  # there once a neighbour has answered
        }
        grape.reload()
        assert "grape_alarm" in metric_names(port)
    assert (tmp_path / "state").exists()  # where the unit says


@pytest.mark.network
def test_the_exchanges_unit_starts_one_with_every_metric_that_is_read(tmp_path: Path) -> None:
    port = free_port()
    command = command_of(
        "exchange.service",
        tmp_path,
        dht="0",
        bn="[]",
        client='"tcp:0:interface=127.0.0.1"',
        peer='"tcp:0:interface=127.0.0.1"',
        http=f'"tcp:{port}:interface=127.0.0.1"',
    )
    with started(command, tmp_path) as exchange:
        assert metrics_read("exchange") <= metric_names(port) | {
            "exchange_clock_offset_seconds",  # there once a neighbour has told its clock
            "exchange_holder_silent_seconds",  # with its store in a database
        }
        exchange.reload()
        assert "exchange_alarm" in metric_names(port)
    assert (tmp_path / "identity.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.network
def test_systemd_may_hold_the_grapes_port(tmp_path: Path) -> None:
    activate = shutil.which("systemd-socket-activate")
    if activate is None:
        pytest.skip("needs systemd-socket-activate")
    port = free_port()
    command = command_of(
        "grape.service",
        tmp_path,
        dht_port="0",
        bootstrap="[]",
        api='"systemd:domain=INET:name=api"',
    )
    socket_file = (ETC / "systemd/grape.socket").read_text()
    (name,) = re.findall("^FileDescriptorName=(.*)$", socket_file, re.M)
    environ = [f"--setenv={key}" for key in ("NOTIFY_SOCKET", "STATE_DIRECTORY", "PATH")]
    hold = [activate, f"--listen=127.0.0.1:{port}", f"--fdname={name}", *environ]
    # It starts the daemon when the first client comes.
    caller = subprocess.Popen(
        [
            "bash",
            "-c",
            f"until grep -q istening log 2>/dev/null; do sleep 0.1; done; {knock(port)}",
        ],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with started([*hold, *command], tmp_path):
            assert "grape_dht_contacts" in metric_names(port)
        caller.wait(DEADLINE_S)
    finally:
        caller.kill()
        caller.wait()


def knock(port: int) -> str:
    return f"exec 3<>/dev/tcp/127.0.0.1/{port}"


def promtool(*arguments: str | Path) -> None:
    check = shutil.which("promtool")
    if check is None:
        pytest.skip("needs promtool")
    done = subprocess.run(
        [check, "check", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", ["prometheus/prometheus.yml", "container/prometheus.yml"])
def test_prometheus_accepts_the_configurations_and_the_rules(file: str, tmp_path: Path) -> None:
    for each in (file, "prometheus/grenache.rules.yml"):
        shutil.copy(ETC / each, tmp_path)
    promtool("config", tmp_path / "prometheus.yml")


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_prometheus_understands_what_a_dashboard_asks(file: Path, tmp_path: Path) -> None:
    panels = json.loads(file.read_text())["panels"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    filled = [expr.replace("$__rate_interval", "1m").replace("$instance", ".*") for expr in asked]
    rules = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(filled)]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "x", "rules": rules}]}))
    promtool("rules", tmp_path / "rules.yml")
