"""
What a tutorial tells people to type prints what the tutorial says.

A line with ``$`` is typed; the lines below it are what must be printed, ``...`` standing for
anything. Blanks count as one. Python is run after that. (What needs a machine with systemd is in
``tests/systemd/test_tutorial.py``.)
"""

from __future__ import annotations

import re
import shutil
import socket
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from tests.interop.conftest import cache_folder, install
from tests.test_readme import DEADLINE_S, Shell, printed, shell
from tests.test_services_guide import checked

ROOT = Path(__file__).parent.parent
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.rst"))
#: What runs until it is ended.
STAYS = ("twistd ", "grape ", "node service.js", "python examples/market_maker.py",
         "python examples/service.py")  # fmt: skip
pytestmark = pytest.mark.network


def steps(page: str) -> list[tuple[str, str]]:
    """Each command of a page with what it prints, in order."""
    page = page.replace("\\\n", "")
    blocks = re.findall(r"\.\. code-block:: console\n\n((?:    .*\n|\n)+)", page)
    typed = re.findall(r"^    \$ (.*)\n((?:    (?!\$ ).*\n)*)", "\n".join(blocks), re.M)
    assert len(typed) == page.count("    $ ") > 0
    return typed


def start(here: Shell, command: str, wanted: str) -> None:
    """Start what stays, and wait until its log has what is wanted."""
    here.start(command)
    log = here.folder / f"{len(here.running) - 1}.log"
    give_up = time.monotonic() + DEADLINE_S
    while not printed(here.moved(wanted), log.read_text()):
        assert time.monotonic() < give_up and here.running[-1].poll() is None, log.read_text()
        time.sleep(0.1)


@pytest.mark.parametrize(
    "page", [path for path in TUTORIALS if path.stem != "systemd"], ids=lambda path: path.stem
)
def test_every_command_prints_what_the_page_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "$ npm" in page.read_text() and not (shutil.which("npm") and shutil.which("node")):
        pytest.skip("npm is not installed here")
    with shell(tmp_path) as here:
        with socket.create_server(("127.0.0.1", 0)) as holder:
            here.ports["1337"] = str(holder.getsockname()[1])
        here.environ["EXCHANGE_CONNECT"] = here.moved("127.0.0.1:7070")
        for command, wanted in steps(page.read_text()):
            if command.startswith("npm install"):
                install(cache_folder())  # the same packages, once
                (tmp_path / "node_modules").symlink_to(cache_folder() / "node_modules")
                continue
            stays = command.startswith(STAYS)
            command = command.replace("python examples", f"{sys.executable} {ROOT}/examples")
            command = command.replace("/path/to/grenache-py", str(ROOT))
            if stays and "exchange" in command and "--client" not in command:
                # The one thing that is not as on the page: ports, to leave the usual ones alone.
                for option, port in (("client", 7070), ("peer", 7071), ("http", 7080)):
                    command += f" --{option} tcp:{port}:interface=127.0.0.1"
            if stays:
                start(here, command, wanted)
            else:
                here.type(wanted, command)
        if python := snippets(page.read_text()):
            here.until("BTC-USD", "exchange", "markets")
            monkeypatch.setenv("EXCHANGE_CONNECT", here.environ["EXCHANGE_CONNECT"])
            run(python)


def snippets(page: str) -> list[str]:
    """The Python of a page, in order."""
    blocks = re.findall(r"\.\. code-block:: python\n\n((?:    .*\n|\n)+)", page)
    return [textwrap.dedent(block) for block in blocks]


def run(python: list[str]) -> None:
    """Run what a page has, and hold each line with ``# ->`` to what that says."""
    promises = 0

    def check(got: Any, promised: Any) -> None:
        nonlocal promises
        promises += 1
        assert got == promised

    names: dict[str, Any] = {"__check__": check}
    for snippet in python:
        exec(compile(checked(snippet), "page", "exec"), names)
    assert promises == sum(snippet.count("  # ->") for snippet in python)
