"""
Every command, snippet and protocol line of the documents is run by a test.

A new one fails the first test below until it is run, or is said to be no such thing. What no other
test runs is run here.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docutils import nodes
from docutils.core import publish_doctree
from twisted.internet.testing import MemoryReactorClock

from grenache_py.exchange.settings.secret_files import read_tokens
from grenache_py.trading import Client
from tests.exchange.client_port.test_text_answers import seen
from tests.exchange.daemon.test_daemon import DEADLINE_S, Daemon
from tests.exchange.daemon.test_relay import linked, until
from tests.support.certificates import self_signed
from tests.support.peer import Peer
from tests.test_docs import DOCUMENTS, ROOT, SITE, _OnTheSite
from tests.test_readme import Shell, printed, shell

HERE = "tests/test_snippets.py"
#: Documents of which one test runs all.
WHOLE = {
    "README.rst": "tests/test_readme.py",
    "docs/services.rst": "tests/test_services_guide.py",
    "docs/exchange-wire.rst": "tests/sim/exchange/test_wire_examples.py",
    "docs/tutorials/systemd.rst": "tests/systemd/test_tutorial.py",
}
#: Of the others, what a block begins with and the test that runs it; none for what is no command.
PARTS = {
    "ARCHITECTURE.rst": {"bytes -> wire": "", "wire <- dht": "", "tap": "", "": ""},
    "README.rst": {"make demo": "tests/test_demo.py"},
    "docs/client-protocol.rst": {
        "-->": "tests/exchange/client_port/test_protocol_document.py",
        "[[token]]": HERE,
        '{"jsonrpc":"2.0","method":"gap"': "tests/exchange/client_port/test_feed.py",
        "buy MARKET": "tests/exchange/client_port/test_protocol_document.py",
        "format text": HERE,
    },
    "docs/containers.rst": {
        "etc/container/make-secrets": "tests/containers/test_compose.py",
        "export EXCHANGE_TOKEN": "tests/containers/test_compose.py",
        "docker build": "tests/containers/test_image.py",
        "docker run ...": "",
        "kubectl": "",  # its objects: tests/test_container_files.py
    },
    "docs/design/fills.rst": {"taker's home": ""},
    "docs/exchange-wire.rst": {"openssl": HERE, "payload     text": ""},
    "docs/high-availability.rst": {
        "CREATE ROLE": "tests/exchange/storage/test_guide.py",
        "twistd exchange --store": "tests/exchange/daemon/test_on_postgresql.py",
        "exchange --connect there:7070 promote": "tests/exchange/daemon/test_on_postgresql.py",
        "exchange store copy": "tests/exchange/storage/test_moving.py",
        "etc/container/standby": "tests/containers/test_standby.py",
        "pg_dump": "tests/exchange/storage/test_guide.py",
        "psql -c": "tests/exchange/storage/test_guide.py",
    },
    "docs/operator.rst": {
        "python3 -m venv": "tests/systemd/test_units.py",
        "install": "tests/systemd/test_units.py",
        "systemctl": "tests/systemd/test_units.py",
        "/opt/grenache/bin/exchange backup": "tests/systemd/test_units.py",
        "openssl": HERE,
        "# tokens.toml": HERE,
        "2026-11-22T": "",
        "/var/log/exchange.log": "tests/test_signals.py",
        "2026-11-28": "tests/exchange/audit/test_trace.py",
        "journalctl": "tests/exchange/audit/test_trace.py",
        "exchange backup": HERE,
    },
    "docs/services.rst": {
        "from twisted.internet import task": "",  # the frame of the examples
        "from pathlib": HERE,
        "import asyncio": "",
        "grenache lookup": "tests/test_cli.py",
        "$ grenache": HERE,
    },
    "docs/settlement.rst": {"$ exchange receipt": HERE, '{"receipt"': ""},
    "docs/simulator.rst": {".venv/bin/python -m tests.sim": HERE},
    "docs/trading.rst": {"from grenache_py.trading": HERE},
    "docs/upgrades.rst": {
        "no link with": "tests/interop/test_older_peers.py",
        "ssh-keygen": "tests/release/test_release.py",
    },
}


@pytest.fixture(autouse=True)
def sites_directives(monkeypatch: pytest.MonkeyPatch) -> None:
    from docutils.parsers.rst import directives

    for name in SITE:
        monkeypatch.setitem(directives._directives, name, _OnTheSite)  # type: ignore[attr-defined]


def blocks(document: Path | str) -> list[str]:
    """The literal blocks of a document, in order."""
    text = (ROOT / document).read_text()
    tree = publish_doctree(text, settings_overrides={"report_level": 4})
    return [block.astext() for block in tree.findall(nodes.literal_block)]


def block(document: str, begins: str) -> str:
    """The one block of a document that begins so."""
    (found,) = (each for each in blocks(document) if each.startswith(begins))
    return found


@pytest.mark.parametrize(
    "document",
    [path for path in DOCUMENTS if "changelog.d" not in path.parts],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_each_snippet_has_a_test(document: Path) -> None:
    name = document.relative_to(ROOT).as_posix()
    whole = WHOLE.get(name, "tests/test_tutorials.py" if "/tutorials/" in name else None)
    parts = PARTS.get(name, {})
    for test in filter(None, (whole, *parts.values())):
        assert (ROOT / test).exists(), test
    found = blocks(document)
    unused = [begins for begins in parts if not any(each.startswith(begins) for each in found)]
    assert unused == []
    if not whole:
        assert [each for each in found if not each.startswith(tuple(parts))] == []


# The files of tokens, and the line of commands with them.


@pytest.mark.parametrize(
    ("document", "begins"),
    [("docs/client-protocol.rst", "[[token]]"), ("docs/operator.rst", "# tokens.toml")],
)
def test_a_file_of_tokens_is_read(document: str, begins: str, tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    file.write_text(block(document, begins))
    file.chmod(0o600)
    (token,) = re.findall('token = "(.*)"', file.read_text())
    grant = read_tokens(str(file)).grant(token)
    assert grant is not None and (grant.account, len(grant.scopes)) == ("alice", 2)


@pytest.mark.network
@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
def test_a_peer_that_asks_for_tokens_over_tls(tmp_path: Path) -> None:
    with shell(tmp_path) as here:

        def local(text: str) -> str:
            port = here.moved("7070")
            text = text.replace("exchange.example.org", "localhost").replace("7073", port)
            return text.replace("/run/exchange", str(tmp_path))

        certificate, daemon = (
            line for line in joined(block("docs/operator.rst", "openssl req")) if line
        )
        subprocess.run(["sh", "-c", local(certificate)], cwd=tmp_path, check=True)
        (tmp_path / "tokens.toml").write_text(block("docs/operator.rst", "# tokens.toml"))
        (tmp_path / "tokens.toml").chmod(0o600)
        (tmp_path / "mine").write_text("of 16 characters or more")
        here.start(local(daemon) + " --peer none --http none")
        (ask,) = re.findall(r"``(exchange --connect \S+ --ca [^`]*)``",
                            (ROOT / "docs/operator.rst").read_text())  # fmt: skip
        here.type("BTC-USD", local(ask))


def joined(commands: str) -> list[str]:
    """Lines that end with a backslash go on."""
    return commands.replace("\\\n", " ").splitlines()


# What a stranger, an operator and a person at telnet type.


@pytest.mark.network
@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
def test_a_peer_port_is_looked_at_with_tools_only(tmp_path: Path) -> None:
    key, certificate, talk = joined(block("docs/exchange-wire.rst", "openssl genpkey"))
    for command in (key, certificate):
        subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True, capture_output=True)
    with Daemon(tmp_path) as daemon:
        address = "{}:{}".format(*daemon.address("peer"))
        with subprocess.Popen(
            ["sh", "-c", f"exec {talk.replace('HOST:PORT', address)}"],
            cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        ) as process:  # fmt: skip
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(b'{"jsonrpc":"2.0","id":1,"method":"peer.ping","params":{}}\n')
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["jsonrpc"] == "2.0"
            process.kill()


def test_the_session_for_people() -> None:
    client = Peer().connect()
    for order in ("sell BTC-USD 1 @ 111", "buy BTC-USD 0.75 @ 99"):
        seen(client, order)
    lines = block("docs/client-protocol.rst", "format text").splitlines()
    while lines:
        command = lines.pop(0)
        told = seen(client, command)
        assert told == lines[: len(told)], command
        del lines[: len(told)]


@pytest.mark.network
@pytest.mark.skipif(not shutil.which("nc"), reason="needs nc")
def test_a_backup_is_made_with_the_tool_and_without(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon, shell(tmp_path) as here:
        host, port = daemon.address()
        here.environ["EXCHANGE_CONNECT"] = f"{host}:{port}"
        for command in joined(block("docs/operator.rst", "exchange backup")):
            moved = command.replace("/var/lib/exchange", str(tmp_path))
            done = subprocess.run(
                ["sh", "-c", moved.replace(f"{host} 7070", f"{host} {port}")], env=here.environ,
                capture_output=True, text=True, timeout=DEADLINE_S, check=True,
            )  # fmt: skip
            assert '"error"' not in done.stdout
        for copy in ("copy", "b"):
            here.type("proven yes", f"exchange replay {tmp_path}/{copy}.sqlite")


@pytest.fixture
def grapes(tmp_path: Path) -> Iterator[Shell]:
    """A shell beside the two grapes of the tutorial."""
    with shell(tmp_path) as here:
        here.start("grape -b 127.0.0.1 --dp 20001 --aph 30001 --bn 127.0.0.1:20002")
        here.start("grape --dp 20002 --aph 40001 --bn 127.0.0.1:20001")
        here.environ["GRENACHE_GRAPES"] = here.moved("127.0.0.1:30001")
        here.until("finds what was announced", "grenache", "doctor")
        yield here


@pytest.mark.network
@pytest.mark.skipif(not shutil.which("jq"), reason="needs jq")
def test_services_of_the_shell(grapes: Shell) -> None:
    sessions = [each for each in blocks("docs/services.rst") if each.startswith("$ grenache")]
    assert len(sessions) == 2
    for session in sessions:
        serve, call, answer = session.splitlines()
        grapes.start(serve.removeprefix("$ ").removesuffix(" &"))
        grapes.type(answer, call.removeprefix("$ "))


def test_secure_mode_as_the_guide_has_it(tmp_path: Path, monkeypatch: Any) -> None:
    key, certificate = self_signed("secret.example")
    for name, pem in (("key", key), ("cert", certificate), ("ca", certificate)):
        (tmp_path / f"{name}.pem").write_bytes(pem)
    monkeypatch.chdir(tmp_path)
    from grenache_py.link import Link
    from grenache_py.rpc import RPCClient, RPCServer

    reactor = MemoryReactorClock()
    names = {
        "RPCServer": RPCServer,
        "RPCClient": RPCClient,
        "link": Link(["http://127.0.0.1:1"], reactor),
        "handler": print,
        "reactor": reactor,
    }
    exec(block("docs/services.rst", "from pathlib"), names)


def test_the_frames_of_examples_are_python() -> None:
    for begins in ("from twisted.internet import task", "import asyncio\n\nasync def main():"):
        ast.parse(block("docs/services.rst", begins))


@pytest.mark.network
def test_the_program_of_the_guide_to_trading(tmp_path: Path) -> None:
    program = block("docs/trading.rst", "from grenache_py.trading")
    with Daemon(tmp_path) as daemon:
        with Client(daemon.path) as client:
            client.buy("BTC-USD", "0.5", "99.8")
            client.sell("BTC-USD", "0.5", "100.2")
        with subprocess.Popen(
            [sys.executable, "-u", "-c", textwrap.dedent(program)],
            stdout=subprocess.PIPE, text=True, env={"EXCHANGE_CONNECT": daemon.path},
        ) as process:  # fmt: skip
            assert process.stdout is not None
            first = process.stdout.readline().strip()
            process.kill()
        assert first == "<Book BTC-USD 0.5 @ 99.8 / 0.5 @ 100.2>" and first in program


@pytest.mark.network
def test_a_trade_as_a_document(tmp_path: Path) -> None:
    """What is different in each run is: ids, keys, times, numbers of log entries."""
    page = block("docs/settlement.rst", "$ exchange receipt")
    receipt, verify = page.split("$ exchange verify receipt-0d06ec43.json\n")
    volatile = r"[0-9a-f]{64}|[0-9a-f]{32}|[0-9-]{10} [0-9:.]{12}|entry \d+/\d+|receipt-\w{8}"
    with shell(tmp_path) as here:
        for name in "ab":
            (tmp_path / name).mkdir()
        with Daemon(tmp_path / "a") as a:
            address = "{}:{}".format(*a.address("peer"))
            with Daemon(tmp_path / "b", "--connect", address) as b:
                until(lambda: linked(a) and linked(b))
                with Client(a.path) as maker, Client(b.path) as taker:
                    maker.sell("BTC-USD", "1", "100")
                    until(lambda: taker.get_book("BTC-USD").asks)
                    taker.buy("BTC-USD", "1", "100")
                    (trade,) = until(lambda: taker.get_trades("BTC-USD"))
                id = trade.trade_id[:8]
                data = tmp_path / "b" / "data"
                here.type(re.sub(volatile, "...", receipt.splitlines()[1]),
                          f"exchange receipt {id} {data}")  # fmt: skip
        shown = subprocess.run(
            ["exchange", "verify", f"receipt-{id}.json"], cwd=tmp_path, env=here.environ,
            capture_output=True, text=True, timeout=DEADLINE_S, check=True,
        ).stdout  # fmt: skip
        assert printed(re.sub(volatile, "...", verify), shown)


@pytest.mark.parametrize(
    "command",
    [each for each in blocks("docs/simulator.rst") if each.startswith(".venv/bin/python")],
)
def test_a_seed_is_played_as_the_page_says(command: str) -> None:
    command = command.replace(".venv/bin/python", sys.executable)
    command = command.replace("--seeds 20", "--seeds 1")  # the same, for less long
    done = subprocess.run(
        ["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout
