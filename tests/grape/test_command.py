"""The grape command: what an operator types, and what they are told when it cannot be."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from grenache_py import __version__
from grenache_py.grape.config import TABLE
from grenache_py.grape.tap import Options

MAIN = "import sys; from grenache_py.grape.tap import main; sys.exit(main(sys.argv[1:]))"
GRAPE = [sys.executable, "-c", MAIN]
TWISTD = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]
TWISTD += ["-n", "--pidfile="]
TWIST = [sys.executable, "-m", "twisted"]


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def running() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def parse(*argv: str) -> Options:
    options = Options()
    options.parseOptions(list(argv))
    return options


def free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def ask(port: int, command: str, data: str) -> str:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/{command}", b'{"rid":"r","data":%b}' % data.encode()
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.read().decode()


def wait_for(port: int, contacts: int, process: subprocess.Popen[str]) -> None:
    for _ in range(400):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as health:
                if f'"good":{contacts}'.encode() in health.read():
                    return
        except OSError:
            assert process.poll() is None, process.communicate()
        time.sleep(0.025)
    raise AssertionError("the grape did not come up")


# -- options


def test_the_options_of_the_node_command_in_both_spellings() -> None:
    short = parse(
        "-b", "127.0.0.1", "--dp", "1", "--dc", "2", "--aph", "3", "--bn", "a:4,b:5",
        "--dpa", "6000", "--dnl", "7000", "--dht_maxTables", "8", "--dht_maxValues", "9",
        "--cache_maxAge", "10", "--check_maxPayloadSize", "11",
    )  # fmt: skip
    long = parse(
        "--bind=127.0.0.1", "--dht_port=1", "--dht_concurrency=2", "--api_port=3",
        "--bootstrap=a:4", "--bn=b:5", "--dht_peer_maxAge=6000", "--dht_nodeLiveness=7000",
        "--dht_maxTables=8", "--dht_maxValues=9", "--cache_maxAge=10",
        "--check_maxPayloadSize=11",
    )  # fmt: skip
    assert short.grape == long.grape
    assert short.grape.bootstrap == ("a:4", "b:5")
    assert parse("--b", "127.0.0.1").grape.host == "127.0.0.1"


def test_a_toml_file_says_the_same_and_the_command_line_wins(tmp_path: Path) -> None:
    file = tmp_path / "grape.toml"
    file.write_text('dp = 5\naph = 6\nmetrics = true\nlog-format = "json"\nlog_level = "warn"\n')
    options = parse("--config", str(file), "--dht_port", "7", "--log-format=text")
    assert (options.grape.dht_port, options.grape.api_port) == (7, 6)
    assert options.grape.metrics
    assert (options.log_format, str(options.levels)) == ("text", "warn")


def test_a_host_name_becomes_an_address() -> None:
    assert parse("-b", "localhost").grape.host == "127.0.0.1"
    assert parse("-b", "0.0.0.0").grape.announce_host is None
    assert parse("-b", "::1").grape.announce_host is None


def test_the_node_id_is_kept_without_being_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert parse().grape.node_id_file == str(tmp_path / "state/grenache-py/grape.key")
    assert parse("--node-id-file", "x").grape.node_id_file == "x"
    assert parse("--state", "x").grape.node_id_file is None
    assert parse("--dp", "0").grape.node_id_file is None
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nowhere")
    assert parse().grape.node_id_file is None


def test_help_lists_each_option_once_and_every_alias(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        parse("--help")
    assert not left.value.code
    shown = " ".join(capsys.readouterr().out.split())
    for option in TABLE.options:
        entry = f" --{option.name}=" if option.takes else f" --{option.name} "
        assert shown.count(entry) == 1, option.name
        for alias in option.aliases:
            assert f"--{alias}" in shown or f"-{alias}," in shown
    with pytest.raises(SystemExit):
        parse("--version")
    assert capsys.readouterr().out == f"{__version__}\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--dp", "x"], "dht_port must be a port, 0 to 65535, not 'x'"),
        (["--dp"], "option --dp requires argument"),
        (["--nope"], "option --nope not recognized"),
        (["extra"], "no argument 'extra' is expected"),
        (["--bn", "nowhere"], "bootstrap must be host:port, not 'nowhere'"),
        (["-b", "no.such.host.invalid"], "bind address 'no.such.host.invalid'"),
        (["--config", "/no/such/file"], "config file /no/such/file: No such file or directory"),
        (["--log-format", "xml"], "log-format must be text or json"),
        (["--log-level", "loud"], "no log level 'loud'"),
    ],
)
def test_a_bad_option_is_one_line_and_exit_code_1(
    capfd: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as left:
        parse(*argv)
    assert left.value.code == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("grape: ")
    assert message in line


# -- running


@pytest.mark.network
def test_three_grapes_typed_as_in_the_manual_find_each_other(
    running: list[subprocess.Popen[str]],
) -> None:
    dht, http = free_ports(3), free_ports(3)
    at = [f"127.0.0.1:{port}" for port in dht]
    lines = [
        f"-b 127.0.0.1 --dp {dht[0]} --dc 32 --aph {http[0]} --bn {at[1]},{at[2]}",
        f"--dp {dht[1]} --aph {http[1]} --dc 32 --bn {at[0]},{at[2]}",
        f"--dp {dht[2]} --aph {http[2]} --dc 32 --bn {at[0]},{at[1]}",
    ]
    for line in (lines[2], lines[0], lines[1]):
        running.append(subprocess.Popen([*GRAPE, *line.split()], stderr=subprocess.PIPE, text=True))
    for port, process in zip((http[2], http[0], http[1]), running, strict=True):
        wait_for(port, 2, process)
    for number, here in enumerate(http):
        assert ask(here, "announce", f'["svc{number}",{4000 + number}]') == "2"
        for there in http:
            assert ask(there, "lookup", f'"svc{number}"') == f'["127.0.0.1:{4000 + number}"]'
    for process, number in zip(running, (15, 2, 15), strict=True):
        process.send_signal(number)
    for process in running:
        _, log = process.communicate(timeout=10)
        assert process.returncode == 0
        assert "Traceback" not in log


@pytest.mark.network
@pytest.mark.parametrize("command", [GRAPE, [*TWISTD, "grape"], [*TWIST, "grape"]])
def test_every_runner_starts_a_grape_and_refuses_a_used_port_in_one_line(
    running: list[subprocess.Popen[str]], command: list[str]
) -> None:
    (dht,), (http,) = free_ports(1), free_ports(1)
    options = ["--dp", str(dht), "--aph", str(http), "-b", "127.0.0.1", "--metrics"]
    first = subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    running.append(first)
    wait_for(http, 0, first)
    with urllib.request.urlopen(f"http://127.0.0.1:{http}/metrics", timeout=5) as page:
        assert b"\ngrape_http_connections 1\n" in page.read()
    for clash in ("--dp", "--aph"):
        others = dict(zip(options[::2], options[1::2], strict=False))
        others["--aph" if clash == "--dp" else "--dp"] = str(free_ports(1)[0])
        argv = [each for pair in others.items() for each in pair if "metrics" not in pair[0]]
        second = subprocess.run(
            [*command, *argv], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            timeout=20, check=False,
        )  # fmt: skip
        assert second.returncode == 1
        (line,) = second.stderr.splitlines()
        assert line.startswith("grape: ")
        assert "Address already in use" in line
    first.send_signal(signal.SIGTERM)
    log, _ = first.communicate(timeout=10)
    assert "Traceback" not in log
    assert first.returncode == 0


@pytest.mark.network
def test_an_unwritable_state_file_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [*GRAPE, "--dp", "0", "--aph", "0", "--state", str(tmp_path / "no" / "such" / "file")],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        env={**os.environ},
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("grape: state file ")
