"""SIGHUP and SIGUSR1 at real daemons: what changes, what is said, and that nothing ends."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from grenache_py.errors import ConfigError, GrenacheError
from grenache_py.logs import Levels
from grenache_py.pid_file import take_over
from grenache_py.trading import NotAuthorised
from tests.support.certificates import self_signed
from tests.support.wire_client import WireClient

SCRIPTS = Path(sysconfig.get_path("scripts"))
DEADLINE_S = 120.0
TOKEN = '[[token]]\ntoken = "{}"\nscopes = ["read", "trade", "admin"]\n'


class Running:
    """A daemon, its configuration file, and its log file."""

    def __init__(self, folder: Path, command: list[str], log: Path) -> None:
        self.folder, self.log = folder, log
        self.config = folder / "daemon.toml"
        with (folder / "output").open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=folder, stdout=output, stderr=subprocess.STDOUT
            )

    def output(self) -> str:
        return (self.folder / "output").read_text()

    def send(self, number: signal.Signals, says: str) -> None:
        """Send a signal and wait until the log says ``says`` once more."""
        before = self.said().count(says)
        self.process.send_signal(number)
        self.until(lambda: self.said().count(says) > before, says)

    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def until(self, holds: Callable[[], bool], what: str) -> None:
        give_up = time.monotonic() + DEADLINE_S
        while not holds():
            assert self.process.poll() is None, self.output() + self.said()
            assert time.monotonic() < give_up, f"{what}; log:\n{self.said()}{self.output()}"
            time.sleep(0.02)

    def client(self, token: str | None = None) -> WireClient:
        return WireClient(str(self.folder / "sock"), token)

    def serves(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.call("ping"))
        except NotAuthorised:
            return True
        except GrenacheError:
            return False


@contextmanager
def running(folder: Path, command: list[str], log: str = "output") -> Iterator[Running]:
    daemon = Running(folder, command, folder / log)
    try:
        yield daemon
        daemon.process.terminate()
        assert daemon.process.wait(DEADLINE_S) in (0, -signal.SIGTERM), daemon.output()
    finally:
        daemon.process.kill()
        daemon.process.wait()


EXCHANGE = (
    "data = 'data'\nclient = ['unix:sock'{more}]\npeer = 'tcp:0:interface=127.0.0.1'\n"
    "http = 'none'\ndht = 0\n"
)
LOGGING = ["--logfile=daemon.log"]


def exchange(folder: Path, settings: str = "", more: str = "") -> list[str]:
    (folder / "daemon.toml").write_text(EXCHANGE.format(more=more) + settings)
    twistd = [str(SCRIPTS / "twistd"), "-n", "--pidfile=", *LOGGING]
    return [*twistd, "exchange", "--config", "daemon.toml"]


@pytest.mark.network
def test_sighup_takes_up_what_changed_and_says_what_takes_a_restart(tmp_path: Path) -> None:
    (tmp_path / "tokens.toml").write_text(TOKEN.format("the first of two"))
    (tmp_path / "tokens.toml").chmod(0o600)
    command = exchange(tmp_path, "tokens = 'tokens.toml'\n")
    with running(tmp_path, command, "daemon.log") as daemon:
        daemon.until(daemon.serves, "it serves")
        with daemon.client("the first of two") as old:
            (tmp_path / "tokens.toml").write_text(TOKEN.format("the second of two"))
            exchange(
                tmp_path,
                "tokens = 'tokens.toml'\nlog-level = 'debug'\nclients-max = 7\n"
                "market = ['BTC-USD:tick=0.01,lot=0.0001', 'ETH-USD:tick=0.01,lot=0.001']\n"
                "connect = '127.0.0.1:9'\n",
            )
            daemon.send(signal.SIGHUP, "settings read again: tokens, by which 1 connections")
            with pytest.raises(GrenacheError):  # its token is gone
                old.call("ping")
        log = daemon.said()
        assert "connect to 127.0.0.1:9; market ETH-USD added; log-level is debug" in log
        assert "these settings have changed too, and take a restart: clients-max" in log

        def trades() -> bool:
            with daemon.client("the second of two") as client:
                try:
                    order = client.call(
                        "order.place", market="ETH-USD", side="buy", quantity="1", price="5"
                    )
                except GrenacheError:
                    return False  # it begins anew, and listens first
                assert "ETH-USD" in client.call("hello")["markets"]
            return bool(order["status"] == "new")

        daemon.until(trades, "the market that was added takes orders")


@pytest.mark.network
@pytest.mark.parametrize(
    ("mistake", "says"),
    [
        ("colour = 1\n", "no setting 'colour'"),
        ("market = 'BTC-USD'\n", "tick is missing"),
        ("market = ['BTC-USD:tick=1,lot=1', 'BTC-USD:tick=2,lot=1']\n", "each symbol once"),
        ("tokens = 'open.toml'\n", "token file open.toml: can be used by others"),
        ("log-level = 'loud'\n", "no log level 'loud'"),
        ("data = \n", "not TOML"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(tmp_path: Path, mistake: str, says: str) -> None:
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(TOKEN.format("the one and only"))
    tokens.chmod(0o600)
    (tmp_path / "open.toml").write_text(TOKEN.format("sixteen letters!"))
    (tmp_path / "open.toml").chmod(0o644)
    command = exchange(tmp_path, "tokens = 'tokens.toml'\n")
    with running(tmp_path, command, "daemon.log") as daemon:
        daemon.until(daemon.serves, "it serves")
        named = "" if "tokens" in mistake else "tokens = 'tokens.toml'\n"
        exchange(tmp_path, f"{named}connect = '127.0.0.1:9'\n{mistake}")
        daemon.send(signal.SIGHUP, "settings were not read again, and nothing is changed: ")
        (line,) = [line for line in daemon.said().splitlines() if "not read again" in line]
        assert says in line and " error " in line
        assert "Traceback" not in daemon.said()
        with daemon.client("the one and only") as client:
            assert client.call("hello")["markets"] == ["BTC-USD"]


@pytest.mark.network
def test_a_token_that_has_ended_closes_its_connections_and_is_told_of(tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    file.write_text(TOKEN.format("the first of two") + TOKEN.format("the second of two"))
    file.chmod(0o600)
    command = exchange(tmp_path, "tokens = 'tokens.toml'\n")
    with running(tmp_path, command, "daemon.log") as daemon:
        daemon.until(daemon.serves, "it serves")
        with daemon.client("the first of two") as first, daemon.client("the second of two") as last:
            assert first.call("status")["token_ends"] is None
            file.write_text(
                TOKEN.format("the second of two")
                + TOKEN.format("the first of two")
                + "ends = 2026-01-31\n"
            )
            daemon.send(signal.SIGHUP, "settings read again: tokens")

            def told() -> bool:
                return "1 connections were closed: their token has ended" in daemon.said()

            daemon.until(told, "its connection is closed")
            with pytest.raises(GrenacheError):
                first.call("ping")
            (alarm,) = last.call("status")["raised"]
            assert alarm["id"] == "token-expires" and alarm["text"] == (
                "token number 2 of the token file ended on 2026-01-31 00:00:00 UTC"
            )
        with pytest.raises(NotAuthorised, match="This token ended on 2026-01-31"):
            daemon.client("the first of two").__enter__()


@pytest.mark.network
def test_certificates_are_renewed_while_the_port_listens(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"

    def make(name: str) -> None:
        for path, content in zip((key, certificate), self_signed(name), strict=True):
            path.write_bytes(content)

    def shown(port: int) -> bytes:
        with (
            socket.create_connection(("127.0.0.1", port), 5) as plain,
            ssl._create_unverified_context().wrap_socket(plain) as secure,
        ):
            return secure.getpeercert(binary_form=True) or b""

    make("old.example")
    secure = f", 'ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}'"
    with running(tmp_path, exchange(tmp_path, more=secure), "daemon.log") as daemon:
        daemon.until(daemon.serves, "it serves")
        with daemon.client() as client:
            port = int(client.call("status")["listen"]["client"][1].rpartition(":")[2])
        assert b"old.example" in shown(port)
        make("new.example")
        daemon.send(signal.SIGHUP, "settings read again: 1 TLS certificates")
        assert b"new.example" in shown(port)
        key.write_bytes(self_signed("another.example")[0])
        daemon.send(signal.SIGHUP, "certificate and key are not PEM, or no pair")
        key.unlink()
        daemon.send(signal.SIGHUP, f"{key}: No such file or directory")
        assert b"new.example" in shown(port)


def grape(folder: Path, runner: str) -> list[str]:
    (folder / "daemon.toml").write_text(
        "dht_port = 0\nbootstrap = []\nbind = '127.0.0.1'\napi_port = 0\nnode-id-file = 'id'\n"
    )
    if runner == "grape":
        return [str(SCRIPTS / "grape"), "--config", "daemon.toml"]
    return [str(SCRIPTS / runner), *(["-n", "--pidfile="] * (runner == "twistd")),
            "grape", "--config", "daemon.toml"]  # fmt: skip


@pytest.mark.network
@pytest.mark.parametrize("runner", ["grape", "twistd", "twist"])
def test_a_grape_takes_both_signals_too_by_whatever_it_is_run(tmp_path: Path, runner: str) -> None:
    with running(tmp_path, grape(tmp_path, runner)) as daemon:
        daemon.until(lambda: "HTTP API on" in daemon.output(), "it listens")
        daemon.send(signal.SIGUSR1, "everything is logged now, until the next SIGUSR1")
        daemon.send(signal.SIGUSR1, "logged is again what was before SIGUSR1")
        daemon.send(signal.SIGHUP, "settings read again: none changed")
        with daemon.config.open("a") as config:
            config.write("log-level = 'warn'\ndht_maxValues = 5\n")
        daemon.send(signal.SIGHUP, "take a restart: dht_maxValues")
        daemon.config.unlink()
        daemon.send(signal.SIGHUP, "config file daemon.toml: No such file or directory")


@pytest.mark.network
@pytest.mark.parametrize("how", ["reopen", "copytruncate"])
def test_a_log_file_is_rotated_by_the_guides_recipe(tmp_path: Path, how: str) -> None:
    command = grape(tmp_path, "twistd")
    command[1:1] = LOGGING
    log, old = tmp_path / "daemon.log", tmp_path / "daemon.log.1"
    with running(tmp_path, command, "daemon.log") as daemon:
        daemon.until(lambda: "HTTP API on" in daemon.said(), "it listens")
        if how == "reopen":
            log.rename(old)
            daemon.send(signal.SIGHUP, "settings read again")
        else:
            old.write_bytes(log.read_bytes())
            os.truncate(log, 0)
            daemon.send(signal.SIGUSR1, "everything is logged now")
        assert "HTTP API on" in old.read_text() and "HTTP API on" not in daemon.said()
        assert b"\0" not in log.read_bytes()


def test_debug_is_toggled_and_the_levels_of_before_come_back() -> None:
    levels = Levels("warn,grenache_py.dht=error")
    told: list[tuple[bool, str]] = []

    def toggle() -> str:
        levels.toggle_debug(lambda everything: told.append((everything, str(levels))))
        return str(levels)

    everything = "debug,grenache_py.dht=debug"
    assert toggle() == everything
    assert toggle() == "warn,grenache_py.dht=error"
    assert told == [(True, everything), (False, everything)]  # whatever the level: it is in the log
    toggle()
    levels.follow(Levels("info"))
    assert str(levels) == "info"
    assert toggle() == "debug"  # what the file says ended the other


class Processes:
    """What the kernel shows of processes, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "proc"
        (self.folder / "self").mkdir(parents=True)

    def runs(self, pid: int, *words: str) -> None:
        (self.folder / str(pid)).mkdir()
        command = b"".join(word.encode() + b"\0" for word in words)
        (self.folder / str(pid) / "cmdline").write_bytes(command)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "is empty"),
        ("soon\n", "holds no process id"),
        ("4000001", "names process 4000001, which is gone"),
        ("4000002", "which is another program (/usr/bin/vi twistd.pid)"),
        ("{own}", "which is this one's own"),
    ],
)
def test_a_pid_file_that_nobody_runs_with_is_taken_over(
    tmp_path: Path, content: str, why: str
) -> None:
    processes, file = Processes(tmp_path), tmp_path / "twistd.pid"
    processes.runs(4000002, "/usr/bin/vi", "twistd.pid")
    file.write_text(content.format(own=os.getpid()))
    said = take_over(str(file), processes.folder)
    assert said == f"pid file {file} {said.partition(f'{file} ')[2]}" and why in said
    assert said.endswith(": removed") and not file.exists()
    assert take_over(str(file), processes.folder) == ""


def test_a_pid_file_of_a_daemon_that_runs_is_left_alone_and_explained(tmp_path: Path) -> None:
    processes, file = Processes(tmp_path), tmp_path / "twistd.pid"
    processes.runs(4000003, "/usr/bin/python3", "/opt/bin/twistd", "-n", "grape")
    file.write_text("4000003\n")
    with pytest.raises(ConfigError, match=r"process 4000003 .*twistd -n grape.* --pidfile"):
        take_over(str(file), processes.folder)
    assert file.exists()


@pytest.mark.network
def test_twistd_starts_with_an_empty_pid_file_and_explains_one_that_is_true(tmp_path: Path) -> None:
    pid_file = tmp_path / "twistd.pid"
    pid_file.write_text("")
    command = [part for part in grape(tmp_path, "twistd") if part != "--pidfile="]
    with running(tmp_path, command) as daemon:
        daemon.until(lambda: "HTTP API on" in daemon.output(), "it listens")
        assert f"grape: pid file {pid_file} is empty: removed" in daemon.output()
        assert pid_file.read_text() == str(daemon.process.pid)
        second = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert second.returncode == 1 and second.stderr.count("\n") == 1
        assert f"grape: process {daemon.process.pid} " in second.stderr
    assert not pid_file.exists()


@pytest.mark.network
def test_systemd_is_told_that_settings_are_read_and_when_that_is_over(tmp_path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(DEADLINE_S)
        command = ["env", f"NOTIFY_SOCKET={tmp_path}/notify", *grape(tmp_path, "grape")]
        with running(tmp_path, command) as daemon:
            assert systemd.recv(999).startswith(b"READY=1")
            daemon.process.send_signal(signal.SIGHUP)
            assert systemd.recv(999).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
            assert systemd.recv(999).startswith(b"READY=1")


@pytest.mark.network
def test_what_a_first_run_says_can_be_typed(tmp_path: Path) -> None:
    command = exchange(tmp_path)
    command = [*command, "--client", "tcp:0"]
    with running(tmp_path, command) as daemon:
        daemon.until(lambda: "telnet" in daemon.output(), "it introduces itself")
        (line,) = [line for line in daemon.output().splitlines() if "telnet" in line]
        host, port = line.split()[2:4]
        assert host == "127.0.0.1"
        with socket.create_connection((host, int(port)), 5) as client:
            client.sendall(b"ping\n")
            assert b"result" in client.recv(999)
