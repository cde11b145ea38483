"""The ``grenache`` command as people and scripts see it: output, stderr and exit code."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import socketserver
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from click.testing import CliRunner, Result
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from grenache_py import errors
from grenache_py.cli import asking, running
from grenache_py.cli.commands import COMMANDS, grenache
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
        result = await deferToThread(self._typed, argv, stdin)  # what needs no reactor blocks
        if not isinstance(result.exception, Ready):
            assert isinstance(result.exception, SystemExit | type(None)), result.exc_info
            return result.exit_code, result.stdout, result.stderr
        code = 0
        out, err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            try:
                await result.exception.args[0](reactor)
            except SystemExit as end:
                code = int(end.code or 0)
        return code, out.getvalue(), err.getvalue()

    def _typed(self, argv: tuple[str, ...], stdin: str) -> Result:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(running, "react", ready)
            return CliRunner().invoke(grenache, argv, stdin, self.environ)

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
    code, out, err = await shell.run("--json", "lookup", "nobody")
    assert (code, out, json.loads(err)["error"]["exit"]) == (3, "[]\n", 3)
    assert await shell.run("call", "nobody", "1") == (3, "", complaint)
    code, out, err = await shell.run("get", "0" * 40)
    assert (code, out, err) == (3, "", f"grenache: nothing is stored under {'0' * 40}\n")


@pytest_twisted.ensureDeferred
async def test_dead_grapes_are_passed_over_and_named_when_there_are_no_others(shell) -> None:
    assert (await shell.run("--grape", "127.0.0.1:1", "lookup", "x"))[::2] == (
        5,
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
async def test_json_is_published_or_refused(shell: Shell) -> None:
    subscriber = await shell.start("sub", "feed", "--count", "2")
    publisher = await shell.start("pub", "--json", "feed", "--interface", "127.0.0.1")
    _, err = await deferToThread(publisher.communicate, '{"a": 1}\n[2]\n{a}\n"no"\n', 20)
    assert publisher.returncode == 2
    assert json.loads(err.splitlines()[-1])["error"]["message"].startswith("line 3 is not JSON")
    out, _ = await deferToThread(subscriber.communicate, None, 10)
    assert out == '{"a":1}\n[2]\n'


#: Answers a request for 5 with an error, ends at one for 6, doubles other numbers.
DOUBLER = """
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    number = request["payload"]["args"][0]
    if number == 6:
        sys.exit(7)
    answer = {"error": "too many"} if number == 5 else {"result": 2 * number}
    print("no reply", flush=True)
    print(json.dumps({"id": request["id"], **answer}), flush=True)
"""


@pytest_twisted.ensureDeferred
async def test_one_command_serves_all_requests_line_by_line(shell: Shell) -> None:
    server = await shell.start(
        "serve", "lines", "--json-lines", "--interface", "127.0.0.1", "--",
        sys.executable, "-c", DOUBLER,
    )  # fmt: skip
    assert (await shell.line(server.stderr)).startswith("lines on port ")
    while (await shell.run("lookup", "lines"))[0]:
        await rings.sleep(0.05)
    assert await shell.run("call", "lines", "double", "21") == (0, "42\n", "")
    assert "no reply" in await shell.line(server.stderr)
    assert await shell.run("call", "lines", "double", "5") == (1, "", "grenache: too many\n")
    code, _, err = await shell.run("-j", "call", "lines", "double", "6")
    assert (code, json.loads(err)["error"]) == (
        1,
        {"name": "RPCFailure", "message": "the command ended with 7", "exit": 1},
    )
    assert await deferToThread(server.wait, 10) == 1
    server = await shell.start("serve", "lines", "--json-lines", "--", "cat")
    assert (await shell.line(server.stderr)).startswith("lines on port ")
    server.send_signal(signal.SIGINT)
    assert await deferToThread(server.wait, 10) == 0


@pytest_twisted.ensureDeferred
async def test_changes_are_printed_as_they_are_seen(shell: Shell) -> None:
    watching = await shell.start("-j", "lookup", "seen", "--watch", "--every", "0.1")
    assert await shell.line(watching.stdout) == "[]"
    await shell.run("announce", "seen", "7")
    assert await shell.line(watching.stdout) == '["127.0.0.1:7"]'
    watching.send_signal(signal.SIGINT)
    assert await deferToThread(watching.wait, 10) == 130
    _, target, _ = await shell.run("put", "first")
    watching = await shell.start("get", target.strip(), "--watch", "--every", "0.1")
    assert await shell.line(watching.stdout) == "first"
    lost = await shell.start("-g", "127.0.0.1:1", "lookup", "x", "--watch", "--every", "0.1")
    assert "connection refused" in await shell.line(lost.stderr)


@pytest_twisted.ensureDeferred
async def test_how_the_grapes_are(shell: Shell) -> None:
    code, out, _ = await shell.run("doctor")
    assert code == 0 and out.count("finds what was announced at") == 2
    code, out, _ = await shell.run("-j", "doctor", "-g", "127.0.0.1:1")
    (finding,) = json.loads(out)
    assert (code, finding["verdict"], finding["found"]) == (1, "bad", "connection refused")
    code, out, _ = await shell.run("top", "--count", "2", "--every", "0.1")
    grape = f"http://{shell.environ['GRENACHE_GRAPES'].split(',')[0]}"
    assert code == 0 and len(re.findall(rf"(?m)^{grape} +ok +1 of 1 ", out)) == 2
    code, out, _ = await shell.run("-j", "top", "--count", "1", "-g", grape)
    assert json.loads(out)[0]["state"] == "ok"


@pytest_twisted.ensureDeferred
async def test_what_nobody_answered_may_have_happened(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:

        def hang_up() -> None:
            for _ in range(3):
                mute.accept()[0].close()

        hanging = deferToThread(hang_up)
        grape = f"127.0.0.1:{mute.getsockname()[1]}"
        assert (await shell.run("-g", grape, "announce", "x", "1"))[0] == 6
        assert (await shell.run("-g", grape, "put", "x"))[0] == 6
        assert (await shell.run("-g", grape, "lookup", "x"))[0] == 5, "a question changes nothing"
        await hanging


@contextmanager
def answering(made: Callable[[bytes], bytes]) -> Iterator[int]:
    """A port whose server reads a request, writes what is made of it, and hangs up."""

    class Once(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            size = 0
            while (line := self.rfile.readline()) not in {b"\r\n", b""}:
                if line.lower().startswith(b"content-length:"):
                    size = int(line.split(b":")[1])
            self.wfile.write(made(self.rfile.read(size)))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Once) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join(10)


def reply(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def doubled(request: bytes) -> bytes:
    rid, _, payload = json.loads(request)
    return reply(json.dumps([rid, None, 2 * payload]).encode())


@pytest_twisted.ensureDeferred
async def test_a_call_passes_over_who_accepts_no_connection(shell: Shell) -> None:
    with answering(doubled) as port:
        await shell.run("announce", "twice", "1")
        assert (await shell.run("call", "twice", "21"))[::2] == (
            5,
            "grenache: nobody announced as 'twice' accepts a connection:"
            " 127.0.0.1:1: connection refused\n",
        )
        await shell.run("announce", "twice", str(port))
        for _ in range(4):  # they are tried in any order
            assert await shell.run("call", "twice", "21") == (0, "42\n", "")


@pytest.mark.parametrize(
    ("made", "code", "words"),
    [
        (lambda request: b"", 6, "the connection to 127.0.0.1:PORT was lost"),
        (lambda request: b"SSH-2.0\r\n", 1, "127.0.0.1:PORT: it speaks no HTTP (BadStatusLine)"),
        (lambda request: reply(b"{}"), 1, "127.0.0.1:PORT: answered with HTTP 200: a reply is"),
        (lambda request: reply(b'["x",null,1]'), 1, "answered another request than was sent"),
        (lambda request: reply(b'["x","no"]'), 1, "grenache: no\n"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_becomes_of_a_call(
    shell: Shell, made: Callable[[bytes], bytes], code: int, words: str
) -> None:
    with answering(made) as port:
        await shell.run("announce", "svc", str(port))
        got, out, err = await shell.run("call", "svc", "1")
    assert (got, out) == (code, "")
    assert words.replace("PORT", str(port)) in err


@pytest_twisted.ensureDeferred
async def test_a_call_waits_as_long_as_it_says_and_is_sent_again_where_that_is_asked_for(
    shell: Shell,
) -> None:
    given_up, asked = threading.Event(), list[bytes]()

    def late(request: bytes) -> bytes:
        asked.append(request)
        if len(asked) == 1:
            given_up.wait(60)
        return doubled(request)

    with answering(late) as port:
        await shell.run("announce", "slow", str(port))
        code, out, err = await shell.run("call", "slow", "1", "--timeout", "0.2")
        given_up.set()
        late_by = f"grenache: no answer to 'slow' from 127.0.0.1:{port} in 0.2 s\n"
        assert (code, out, err) == (6, "", late_by)
        given_up.clear()
        asked.clear()
        again = await shell.run("call", "slow", "1", "--timeout", "2", "--retries", "1")
        given_up.set()
        assert again == (0, "2\n", "") and len(asked) == 2


def test_who_reads_when_the_connection_is_cut_sees_that_it_was_too_late() -> None:
    """The timer's own thread lives a moment longer than the connection."""
    too_late, seen = threading.Event(), list[bool]()

    class Reader:
        def shutdown(self, how: int) -> None:
            seen.append(too_late.is_set())

    asking._cut(Reader(), too_late)  # type: ignore[arg-type]
    assert seen == [True]


def test_a_grape_that_answers_byte_by_byte_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            with server.accept()[0] as client, suppress(OSError):
                for byte in b"HTTP/1.1 200 OK\r\n" + b"x" * 1000:
                    client.sendall(bytes([byte]))
                    time.sleep(0.05)

        thread = threading.Thread(target=drip)
        thread.start()
        with pytest.raises(TimeoutError):
            asking.exchanged(f"http://127.0.0.1:{server.getsockname()[1]}/health", timeout_s=0.5)
        thread.join(10)
        assert not thread.is_alive()


@pytest_twisted.ensureDeferred
async def test_who_is_interrupted_before_the_answer_ends_with_130(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        grape = f"127.0.0.1:{mute.getsockname()[1]}"
        for words in (("call", "x", "1"), ("lookup", "x")):
            process = await shell.start("-g", grape, *words)
            asked = (await deferToThread(mute.accept))[0]
            process.send_signal(signal.SIGINT)
            assert await deferToThread(process.wait, 10) == 130
            asked.close()


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
        (["lokup", "x"], 2, "Did you mean 'lookup'?"),
        (["-j", "lookup"], 2, '{"error": {"name": "Usage"'),
        (["completion", "bash"], 0, "_GRENACHE_COMPLETE=bash_complete"),
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
        2,
        "grenache: a key file holds hexadecimal digits only\n",
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_is_there(name: str) -> None:
    result = CliRunner().invoke(grenache, [name, "--help"])
    assert result.exit_code == 0 and "--grape" in result.output


def test_every_error_that_has_an_exit_code_exists() -> None:
    import grenache_py.link
    import grenache_py.rpc
    from grenache_py.cli import outcomes

    known = {*vars(errors), *vars(asking), *grenache_py.link.__all__, *grenache_py.rpc.__all__}
    assert outcomes._EXIT.keys() <= known


def test_a_command_that_asks_only_a_grape_brings_no_twisted() -> None:
    program = (
        "import sys\nfrom grenache_py.cli.commands import grenache\n"
        "try: grenache.main(sys.argv[1:])\nexcept SystemExit: pass\n"
        "print('twisted' in sys.modules)"
    )
    for words in (
        ["lookup", "x"], ["put", "x"], ["call", "x", "1"], ["top", "--count", "1"], ["doctor"],
        ["call", "--help"],
    ):  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", program, *words, "-g", "127.0.0.1:1"],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        assert done.stdout.splitlines()[-1] == "False", words
