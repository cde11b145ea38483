"""The image by itself: what is in it, whom it runs as, how it is reached, stopped, looked after."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sysconfig
import urllib.request
from pathlib import Path

import pytest

from grenache_py.exchange.cli.tool import EXIT_NOT_ALLOWED
from tests.containers.engine import DEADLINE_S, Container, Engine, podman, until
from tests.containers.test_compose import commands

SCRIPTS = Path(sysconfig.get_path("scripts"))
DAEMON = ("twistd", "-n", "--pidfile=", "exchange", "--config", "/etc/grenache/exchange.toml")
PUBLISHED = ("--publish", "127.0.0.1::7070", "--publish", "127.0.0.1::7080")
TOKEN = "a token of the tests"
#: The init that Podman puts into a container.
INIT = shutil.which("catatonit", path=f"{os.defpath}:/usr/libexec/podman")
pytestmark = pytest.mark.slow


def tool(port: int, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run this machine's ``exchange`` at a published port."""
    return subprocess.run(
        [SCRIPTS / "exchange", "--connect", f"127.0.0.1:{port}", *words],
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def ready(container: Container) -> Container:
    container.until("", "healthy")
    return container


def test_every_command_is_one_of_the_image(engine: Engine) -> None:
    for command in ("exchange status --help", "grape --version"):
        done = engine.run(*command.split())
        assert done.returncode == 0 and done.stdout, done.stderr
    others = ("exchange --version", "grenache --version", "twistd --version", "twistd grape --help")
    done = engine.run("sh", "-exc", "; ".join(others))
    assert done.returncode == 0, done.stderr


def test_nothing_is_in_it_that_only_a_build_or_a_test_needs(engine: Engine) -> None:
    found = engine.run("sh", "-c", "find /opt/grenache -name tests -o -name pip; id -u; which gcc")
    assert found.stdout == "7071\n"
    labels = json.loads(podman("inspect", "--format", "{{json .Labels}}", engine.image).stdout)
    assert labels["org.opencontainers.image.title"] == "grenache-py"
    assert podman("inspect", "--format", "{{.User}}", engine.image).stdout == "7071:7071\n"


def test_a_peer_is_read_through_its_ports_and_traded_at_from_inside(engine: Engine) -> None:
    peer = ready(engine.start("peer", *PUBLISHED))
    port = peer.port(7070)
    done = tool(port, "sell", "BTC-USD", "1", "@", "100")
    assert done.returncode == EXIT_NOT_ALLOWED
    assert "outside of its container, only read" in done.stderr
    assert peer.exec("exchange", "sell", "BTC-USD", "1.5", "@", "100").returncode == 0
    assert "1.5" in tool(port, "book", "BTC-USD").stdout
    with urllib.request.urlopen(f"http://127.0.0.1:{peer.port(7080)}/", timeout=5) as page:
        assert b"<!doctype html>" in page.read()
    assert "telnet 127.0.0.1 7070" in peer.log()
    assert peer.stop() == 0


def test_the_guides_commands_for_one_peer(engine: Engine) -> None:
    """As they stand, with Podman, free ports, and names of this run."""
    _, run, book, sell, doctor = (line.split() for line in commands("one peer"))
    name = f"{engine.name}-one"
    assert run[:5] == ["docker", "run", "--detach", "--name", "peer"] and run.pop() == "grenache-py"
    options = [
        f"127.0.0.1::{word.split(':')[-1]}"
        if word[0].isdigit()
        else word.replace("peer:", f"{name}:")
        for word in run[5:]
    ]
    peer = ready(engine.start("one", *options))
    done = tool(peer.port(7070), *book[1:])
    assert done.returncode == 0, done.stderr
    for command in (sell, doctor):
        assert command[:3] == ["docker", "exec", "peer"]
        peer.until("", *command[3:])
    assert "1.5" in tool(peer.port(7070), *book[1:]).stdout


def test_a_secret_of_the_engine_is_a_token_file(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f'[[token]]\ntoken = "{TOKEN}"\nscopes = ["read", "trade"]\n')
    secret = f"{engine.name}-tokens"
    podman("secret", "create", secret, str(file))
    peer = ready(
        engine.start("secret", *PUBLISHED, "--secret", secret, "--tmpfs", "/run/secrets",
                     command=(*DAEMON, "--tokens", f"/run/secrets/{secret}"))
    )  # fmt: skip
    assert "444" in peer.exec("stat", "-L", "-c", "%a", f"/run/secrets/{secret}").stdout
    assert tool(peer.port(7070), "book", "BTC-USD").returncode == EXIT_NOT_ALLOWED
    sold = tool(peer.port(7070), "sell", "BTC-USD", "1", "@", "100", EXCHANGE_TOKEN=TOKEN)
    assert sold.returncode == 0, sold.stderr
    file.chmod(0o600)
    named = (*DAEMON, "--tokens", "/run/secrets/tokens")
    refused = engine.run(*named, options=("--volume", f"{file}:/run/secrets/tokens"))
    assert refused.returncode == 1
    assert "belongs to uid 0 (mode 600), and this daemon runs as uid 7071" in refused.stderr


def test_any_user_will_do_that_owns_the_folder(engine: Engine, tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    mine = ("--user", "12345:12345", "--volume", f"{data}:/data")
    refused = engine.run(options=mine)
    assert refused.returncode == 1
    assert "belongs to uid 0 (mode 700), and this daemon runs as uid 12345" in refused.stderr
    os.chown(data, 12345, 12345)
    peer = ready(engine.start("user", *mine))
    assert peer.stop() == 0
    assert (data / "identity.key").stat().st_uid == 12345


@pytest.mark.parametrize(
    "init",
    [(), pytest.param(("--init",), marks=pytest.mark.skipif(not INIT, reason="no catatonit"))],
    ids=["alone", "init"],
)
def test_a_stop_waits_for_no_name_server(engine: Engine, init: tuple[str, ...]) -> None:
    silent = engine.start(
        f"silent{len(init)}",
        *("--user", "0", "--cap-add", "NET_BIND_SERVICE", "--no-healthcheck"),
        command=("python3", "-c", "import socket, time; s = socket.socket(type=socket.SOCK_DGRAM);"
                 " s.bind(('', 53)); time.sleep(600)"),
    )  # fmt: skip
    address = silent.inspect(".NetworkSettings.IPAddress")
    peer = ready(
        engine.start(
            f"waiting{len(init)}",
            *init,
            *("--dns", address),
            command=(*DAEMON, "--bn", "one.example:20001", "--connect", "two.example:7071"),
        )
    )
    assert peer.stop() == 0, peer.log()


def test_a_peer_port_that_is_dead_is_unhealthy(engine: Engine) -> None:
    peer = ready(engine.start("deaf"))
    check = ("healthcheck", "run", peer.name)
    assert podman(*check, check=False).returncode == 0
    peer.in_its_network("nft", "add table ip deaf; add chain ip deaf in { type filter hook input"
                        " priority 0; }; add rule ip deaf in tcp dport 7071 drop")  # fmt: skip
    assert podman(*check, check=False).returncode == 1
    peer.in_its_network("nft", "delete table ip deaf")
    until("healthy again", lambda: podman(*check, check=False).returncode == 0)
