"""The ``grenache`` command as people and scripts see it: output, stderr and exit code."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from click.testing import CliRunner
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from grenache_py.cli import settings
from grenache_py.cli.commands import grenache
from grenache_py.link.keys import ItemKey
from tests.support import rings

pytestmark = pytest.mark.network
PROGRAM = [sys.executable, "-c", "from grenache_py.cli import grenache; grenache()"]


class Ready(Exception):
    """A command was parsed and would now run the reactor."""


def ready(main: Any) -> None:
    raise Ready(main)


class Shell:
    """Runs the command beside the grapes: in this process, or as a process of its own."""

    def __init__(self, urls: list[str]) -> None:
        self.environ = {**os.environ, "GRENACHE_GRAPES": ",".join(urls), "COLUMNS": "120"}
        self.started: list[subprocess.Popen[str]] = []

    async def run(self, *argv: str, stdin: str = "") -> tuple[int, str, str]:
        """Return exit code, stdout and stderr."""
        environ, code = self.environ, 0
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Ready) as parsed:
            patch.setattr(settings, "react", ready)
            CliRunner().invoke(grenache, argv, stdin, environ, catch_exceptions=False)
        out, err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            try:
                await parsed.value.args[0](reactor)
            except SystemExit as end:
                code = int(end.code or 0)
        return code, out.getvalue(), err.getvalue()

    async def start(self, *argv: str) -> subprocess.Popen[str]:
        """Start a command that stays, and wait for the line it says on stderr."""
        process = subprocess.Popen(
            [*PROGRAM, *argv],
            env=self.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    async def line(self, stream: Any) -> str:
        line: str = await deferToThread(stream.readline)
        return line.rstrip("\n")


@pytest.fixture
def shell() -> Iterator[Shell]:
    ring = rings.ring(2, "cli")
    grapes = pytest_twisted.blockon(Deferred.fromCoroutine(ring.__aenter__()))
    shell = Shell([f"127.0.0.1:{grape.api_port}" for grape in grapes])
    yield shell
    for process in shell.started:
        process.kill()
        process.communicate()
    pytest_twisted.blockon(Deferred.fromCoroutine(ring.__aexit__(None, None, None)))


@pytest_twisted.ensureDeferred
async def test_announce_then_look_up(shell: Shell) -> None:
    assert await shell.run("announce", "svc", "1337") == (0, "recorded by 1 other grape\n", "")
    assert await shell.run("lookup", "svc") == (0, "127.0.0.1:1337\n", "")
    for argv in (["--json", "lookup", "svc"], ["lookup", "svc", "--json"]):
        code, out, _ = await shell.run(*argv)
        assert (code, json.loads(out)) == (0, ["127.0.0.1:1337"])
    grape = shell.environ.pop("GRENACHE_GRAPES").split(",")[1]
    found = (0, "127.0.0.1:1337\n", "")
    assert await shell.run("lookup", "svc", "--grape", f"http://{grape}/") == found
    assert await shell.run("-g", "127.0.0.1:1", "lookup", "-g", grape, "svc") == found


@pytest_twisted.ensureDeferred
async def test_nothing_found_is_exit_code_3(shell: Shell) -> None:
    complaint = "grenache: nobody is announced as 'nobody'\n"
    assert await shell.run("lookup", "nobody") == (3, "", complaint)
    assert await shell.run("--json", "lookup", "nobody") == (3, "[]\n", complaint)
    assert await shell.run("call", "nobody", "1") == (3, "", complaint)
    code, out, err = await shell.run("get", "0" * 40)
    assert (code, out, err) == (3, "", f"grenache: nothing is stored under {'0' * 40}\n")


@pytest_twisted.ensureDeferred
async def test_dead_grapes_are_passed_over_and_named_when_there_are_no_others(shell) -> None:
    assert (await shell.run("--grape", "127.0.0.1:1", "lookup", "x"))[::2] == (
        1,
        "grenache: no grape answered: http://127.0.0.1:1: connection refused\n",
    )
    shell.environ["GRENACHE_GRAPES"] = f"127.0.0.1:1 {shell.environ['GRENACHE_GRAPES']}"
    assert (await shell.run("announce", "svc2", "80"))[0] == 0


@pytest_twisted.ensureDeferred
async def test_items(shell: Shell, tmp_path: Path) -> None:
    code, out, _ = await shell.run("put", "-", stdin="Hello World!")
    assert (code, out) == (0, "e5f96f6f38320f0f33959cb4d3d656452117aadb\n")
    assert await shell.run("get", out.strip()) == (0, "Hello World!\n", "")

    made = CliRunner().invoke(grenache, ["keygen", str(tmp_path / "key")])
    assert made.exit_code == 0
    public = made.stdout
    secret = (tmp_path / "key").read_text()
    assert len(secret) == 128, "the form of grenache-cli: expanded, without a newline"
    assert ItemKey.from_text(secret).public.hex() == public.strip()
    assert (tmp_path / "key.pub").read_text() == public.strip()
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600

    signed = ["--key", str(tmp_path / "key"), "--salt", "s"]
    code, target, _ = await shell.run("put", "v1", "--seq", "5", *signed)
    assert code == 0
    code, out, _ = await shell.run("--json", "get", target.strip(), "--salt", "s")
    assert json.loads(out) == {
        "value": "v1",
        "hash": target.strip(),
        "key": public.strip(),
        "seq": 5,
        "salt": "s",
    }
    code, out, err = await shell.run("put", "v0", "--seq", "4", *signed)
    assert (code, out) == (1, "")
    assert "refused: 302 sequence number less than current" in err
    assert (await shell.run("put", "v2", *signed))[0] == 0, "the time is a larger version"
    assert (await shell.run("get", target.strip(), "--salt", "s"))[1] == "v2\n"


@pytest_twisted.ensureDeferred
async def test_serve_and_call(shell: Shell) -> None:
    script = 'read x; test "$x" = 5 && { echo too many >&2; exit 3; }; echo "got $x"'
    options = ["serve", "--interface", "127.0.0.1"]
    text = await shell.start(*options, "text", "--", "sh", "-c", script)
    echo = await shell.start(*options, "--transport", "ws", "echo", "--", "cat")
    assert (await shell.line(text.stderr)).startswith("text on port ")
    assert (await shell.line(echo.stderr)).startswith("echo on port ")
    for name in ("text", "echo"):  # announced a moment after they listen
        while (await shell.run("lookup", name))[0]:
            await rings.sleep(0.05)
    payload = '{"a": [1, "é", null]}'
    assert await shell.run("call", "--transport", "ws", "echo", payload) == (0, f"{payload}\n", "")
    assert await shell.run("call", "text", "4", "--compress") == (0, '"got 4"\n', "")
    assert await shell.run("call", "text", "5") == (1, "", "grenache: too many\n")
    code, out, _ = await shell.run("--json", "call", "--map", "text", "-", stdin="6")
    assert code == 0
    assert json.loads(out)["value"] == "got 6"
    for process in (text, echo):
        process.send_signal(signal.SIGINT)
        assert await deferToThread(process.wait, 10) == 0


@pytest_twisted.ensureDeferred
async def test_a_process_that_a_command_leaves_behind_holds_up_nobody(shell: Shell) -> None:
    """A child that keeps the pipe open: the caller waited for it, and was told of a deadline."""
    script = "sleep 30 & echo $! >&2; cat"
    options = ["serve", "--interface", "127.0.0.1"]
    server = await shell.start(*options, "left", "--", "sh", "-c", script)
    assert (await shell.line(server.stderr)).startswith("left on port ")
    while (await shell.run("lookup", "left"))[0]:
        await rings.sleep(0.05)
    assert await shell.run("call", "left", "7") == (0, "7\n", "")
    assert "left a process behind" in await shell.line(server.stderr)
    server.send_signal(signal.SIGINT)
    assert await deferToThread(server.wait, 10) == 0


@pytest_twisted.ensureDeferred
async def test_publish_and_subscribe(shell: Shell) -> None:
    subscribers = [await shell.start("sub", "feed", "--count", "2") for _ in range(2)]
    publisher = await shell.start("pub", "feed", "--interface", "127.0.0.1", "--subscribers", "2")
    _, err = await deferToThread(publisher.communicate, "one\nzwölf", 20)
    assert publisher.returncode == 0, err
    for process in subscribers:
        out, _ = await deferToThread(process.communicate, None, 10)
        assert (process.returncode, out) == (0, "one\nzwölf\n")


@pytest_twisted.ensureDeferred
async def test_announce_every_goes_on_until_interrupted(shell: Shell) -> None:
    process = await shell.start("announce", "kept", "99", "--every", "1")
    assert await shell.line(process.stdout) == "recorded by 1 other grape"
    process.send_signal(signal.SIGINT)
    assert await deferToThread(process.wait, 10) == 0


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        ([], 2, "Usage"),
        (["--help"], 0, "Exit codes"),
        (["--version"], 0, "grenache"),
        (["nonsense"], 2, "No such command"),
        (["lookup"], 2, "Missing argument"),
        (["announce", "x", "70000"], 2, "70000"),
        (["--grape", "ftp://x", "lookup", "a"], 2, "http://127.0.0.1:30001"),
        (["call", "x", "{bad"], 2, "not JSON"),
        (["call", "x", "[" * 100_000], 2, "not JSON"),
        (["put", "x", "--seq", "1"], 2, "--key"),
        (["put", "x", "--key", "/nonexistent/key"], 1, "/nonexistent/key: No such file"),
        (["serve", "x", "--", "no-such-command-here"], 1, "no command 'no-such-command-here'"),
    ],
)
def test_what_is_wrong_is_said(argv: list[str], code: int, words: str) -> None:
    result = CliRunner().invoke(grenache, argv)
    assert result.exit_code == code, result.output
    assert words in result.output
    assert "Traceback" not in result.output


def test_a_bad_url_in_the_environment_is_wrong_usage_too() -> None:
    result = CliRunner().invoke(grenache, ["lookup", "x"], env={"GRENACHE_GRAPES": "ftp://x"})
    assert result.exit_code == 2
    assert "http://127.0.0.1:30001, not 'ftp://x'" in result.output


def test_keygen_keeps_the_key_that_is_there(tmp_path: Path) -> None:
    runner, path = CliRunner(), tmp_path / "key"
    assert runner.invoke(grenache, ["keygen", str(path)]).exit_code == 0
    before = path.read_text()
    result = runner.invoke(grenache, ["keygen", str(path)])
    assert (result.exit_code, result.output) == (
        1,
        f"grenache: {path} is there already; --force overwrites it\n",
    )
    assert path.read_text() == before
    assert runner.invoke(grenache, ["keygen", "--force", str(path)]).exit_code == 0
    assert path.read_text() != before
    path.with_name("bad").write_text("not a key")
    result = runner.invoke(grenache, ["put", "x", "--key", str(path.with_name("bad"))])
    assert (result.exit_code, result.output) == (
        1,
        "grenache: a key file holds hexadecimal digits only\n",
    )
