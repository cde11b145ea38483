"""The tutorial for systemd, typed as it stands on a machine of its own."""

from __future__ import annotations

import re
import time

import pytest

from tests.systemd.machine import DEADLINE_S, ROOT, Machine
from tests.test_readme import printed
from tests.test_tutorials import steps

PAGE = (ROOT / "docs" / "tutorials" / "systemd.rst").read_text()
#: What waits for others, and is typed again until they are there; the rest is typed once.
ASKS = re.compile(r"grenache|journalctl|systemctl is-active|exchange (peers|orders|doctor|.* book)")
pytestmark = [pytest.mark.network, pytest.mark.slow]


def test_every_command_prints_what_the_page_says(machine: Machine) -> None:
    exports: list[str] = []
    for command, wanted in steps(PAGE):
        if command.startswith("export "):
            exports.append(command)
            continue
        give_up = time.monotonic() + DEADLINE_S
        while True:
            done = machine.run(" && ".join([*exports, command]), network="pip" in command)
            if not done.returncode and printed(wanted, done.stdout):
                break
            if not ASKS.match(command) or time.monotonic() > give_up:
                pytest.fail(f"{command}: {done.stdout}{done.stderr}\n{machine.journal()}")
            time.sleep(0.2)
