"""What the README tells people to type works, in a place of its own and on free ports."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import sysconfig
import textwrap
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.rst").read_text()
SCRIPTS = sysconfig.get_path("scripts")
DEADLINE_S = 120.0
pytestmark = pytest.mark.network


def printed(wanted: str, said: str) -> bool:
    """Whether it was said; ``...`` stands for anything, blanks count as one."""
    pattern = re.escape(" ".join(wanted.split())).replace(r"\.\.\.", ".*")
    return re.search(pattern, " ".join(said.split())) is not None


class Shell:
    """A folder, free ports in the place of the README's, and what was started there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: list[subprocess.Popen[bytes]] = []
        self.environ = {
            "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),
            "COLUMNS": "100",
        }
        with ExitStack() as held:
            self.ports = {}
            for port in sorted(set(re.findall(r"\b(?:[2-5]000[1-3]|7[01]7[01]|7080)\b", README))):
                holder = held.enter_context(socket.create_server(("127.0.0.1", 0)))
                self.ports[port] = str(holder.getsockname()[1])

    def moved(self, text: str) -> str:
        return re.sub(
            r"\b\d{4,5}\b", lambda found: self.ports.get(found.group(), found.group()), text
        )

    def start(self, command: str) -> None:
        # `exec`, so that terminating the shell terminates the daemon.
        with (self.folder / f"{len(self.running)}.log").open("wb") as log:
            self.running.append(
                subprocess.Popen(
                    ["sh", "-c", f"exec {self.moved(command)}"],
                    cwd=self.folder,
                    env=self.environ,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            )

    def until(self, wanted: str, *command: str) -> str:
        """Type ``command`` again and again until it prints ``wanted``."""
        words = [self.moved(word) for word in command]
        give_up = time.monotonic() + DEADLINE_S
        while True:
            done = subprocess.run(
                words,
                cwd=self.folder,
                env=self.environ,
                capture_output=True,
                text=True,
                timeout=DEADLINE_S,
                check=False,
            )
            if done.returncode == 0 and printed(self.moved(wanted), done.stdout):
                return done.stdout
            if time.monotonic() > give_up or done.returncode == 2:  # 2: it was typed wrongly
                logs = "\n".join(log.read_text() for log in sorted(self.folder.glob("*.log")))
                pytest.fail(f"{words}: {done.stdout}{done.stderr}\n{logs}")
            time.sleep(0.1)

    def type(self, wanted: str, line: str) -> str:
        return self.until(wanted, "sh", "-c", line)


@contextmanager
def shell(folder: Path) -> Iterator[Shell]:
    made = Shell(folder)
    try:
        yield made
    finally:
        for process in made.running:
            process.terminate()
        for process in made.running:
            try:
                process.wait(DEADLINE_S)
            finally:
                process.kill()
                process.wait()


def lines(pattern: str) -> list[str]:
    """Return the README's indented lines that match, continued ones joined."""
    joined = README.replace("\\\n", " ")
    return [
        line.strip().removeprefix("$ ") for line in re.findall(f"(?m)^    {pattern}.*$", joined)
    ]


def test_the_three_grapes_the_shell_and_the_python_examples(tmp_path: Path) -> None:
    with shell(tmp_path) as typed:
        grapes = lines("grape ")
        assert len(grapes) == 3
        for line in grapes:
            typed.start(line)
        announce, lookup = lines(r"\$ grenache ")
        typed.type("", announce)
        assert "1337" in typed.type("1337", lookup)

        examples = re.findall(r"\.\. code-block:: python\n\n((?:    .*\n|\n)+)", README)
        assert ["asyncio" in example for example in examples] == [False, True]
        for example in examples:
            program = textwrap.dedent(example)
            assert typed.until("2 * 21 = ", sys.executable, "-c", program) == "2 * 21 = 42\n"


def test_two_peers_trade(tmp_path: Path) -> None:
    with shell(tmp_path) as typed:
        first, second = lines("twistd -n")
        # The one thing that is not as in the README: the first peer's ports, to be left alone.
        here = "interface=127.0.0.1"
        own = f" --client tcp:7070:{here} --peer tcp:7071:{here} --http none"
        typed.start(first + own)
        typed.start(second)
        sell, buy, trades = lines("exchange ")
        typed.environ["EXCHANGE_CONNECT"] = typed.moved("127.0.0.1:7070")
        typed.until("7071", "exchange", "--connect", "127.0.0.1:7170", "peers")
        typed.type("", sell)
        typed.until("1.5", "exchange", "--connect", "127.0.0.1:7170", "book", "BTC-USD")
        typed.type("filled", buy)
        assert typed.type("1.5", trades).count("1.5") == 1


VOLATILE = re.compile(r'"(order_id|time|updated|checksum)":("[0-9a-f]{32}"|\d+)')


def test_the_session_by_hand(tmp_path: Path) -> None:
    (session,) = re.findall(r"(?m)^    \$ telnet .*\n((?:    .*\n)+)", README)
    said = [line.strip() for line in session.splitlines()]
    with shell(tmp_path) as typed:
        here = "interface=127.0.0.1"
        ports = f"--client tcp:7070:{here} --peer tcp:7071:{here} --http none"
        typed.start(f"twistd -n --pidfile= exchange {ports}")
        port = int(typed.moved("7070"))
        typed.until("BTC-USD", "exchange", "--connect", "127.0.0.1:7070", "markets")
        with (
            socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as connection,
            connection.makefile("rw", encoding="utf-8", newline="\n") as stream,
        ):
            for command, answer in zip(said[::2], said[1::2], strict=True):
                stream.write(f"{command}\r\n")
                stream.flush()
                real = stream.readline().rstrip("\n")
                assert VOLATILE.sub(r'"\1":...', real) == VOLATILE.sub(r'"\1":...', answer)
            assert stream.readline() == ""
