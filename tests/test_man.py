"""
The manual pages say what the commands say.

``python -m tests.test_man`` (``make man``) writes them.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.man_pages import pages

MAN = Path(__file__).parent.parent / "man"


def test_the_pages_are_what_the_commands_say() -> None:
    written = {path.name: path.read_text() for path in MAN.iterdir()}
    assert written == pages(), "run: make man"


@pytest.mark.parametrize("page", sorted(pages()))
def test_a_page_is_good_roff(page: str) -> None:
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("needs groff")
    command = [groff, "-man", "-Tutf8", "-ww", "-z", str(MAN / page)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def write() -> None:
    """Write every page."""
    MAN.mkdir(exist_ok=True)
    for name, text in pages().items():
        (MAN / name).write_text(text)


if __name__ == "__main__":
    write()
