"""
What a tutorial tells people to type prints what the tutorial says.

A line with ``$`` is typed; the lines below it are what must be printed, ``...`` standing for
anything. Blanks count as one.
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import pytest

from tests.test_readme import DEADLINE_S, Shell, printed, shell

ROOT = Path(__file__).parent.parent
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.rst"))
#: What runs until it is ended.
STAYS = ("twistd ", "grape ", "python examples/market_maker.py", "python examples/service.py")
pytestmark = pytest.mark.network


def steps(page: str) -> list[tuple[str, str]]:
    """Each command of a page with what it prints, in order."""
    page = page.replace("\\\n", "")
    blocks = re.findall(r"\.\. code-block:: console\n\n((?:    .*\n|\n)+)", page)
    typed = re.findall(r"^    \$ (.*)\n((?:    (?!\$ ).*\n)*)", "\n".join(blocks), re.M)
    assert len(typed) == page.count("    $ ") > 2
    return typed


def start(here: Shell, command: str, wanted: str) -> None:
    """Start what stays, and wait until its log has what is wanted."""
    here.start(command)
    log = here.folder / f"{len(here.running) - 1}.log"
    give_up = time.monotonic() + DEADLINE_S
    while not printed(here.moved(wanted), log.read_text()):
        assert time.monotonic() < give_up and here.running[-1].poll() is None, log.read_text()
        time.sleep(0.1)


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda path: path.stem)
def test_every_command_prints_what_the_page_says(page: Path, tmp_path: Path) -> None:
    with shell(tmp_path) as here:
        here.environ["EXCHANGE_CONNECT"] = here.moved("127.0.0.1:7070")
        for command, wanted in steps(page.read_text()):
            stays = command.startswith(STAYS)
            command = command.replace("python examples", f"{sys.executable} {ROOT}/examples")
            if stays and "exchange" in command and "--client" not in command:
                # The one thing that is not as on the page: ports, to leave the usual ones alone.
                for option, port in (("client", 7070), ("peer", 7071), ("http", 7080)):
                    command += f" --{option} tcp:{port}:interface=127.0.0.1"
            if stays:
                start(here, command, wanted)
            else:
                here.type(wanted, command)
