"""The files an operator copies: units, configurations and alert rules do what they say."""

from __future__ import annotations

import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

ETC = Path(__file__).parent.parent / "etc"
SCRIPTS = Path(sysconfig.get_path("scripts"))
UNITS = sorted((ETC / "systemd").iterdir())


def test_systemd_accepts_every_unit(tmp_path: Path) -> None:
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("needs systemd-analyze")
    for unit in UNITS:
        text = unit.read_text().replace("/opt/grenache/bin", str(SCRIPTS))
        # The user is made by sysusers.d, not on the machine that runs the tests.
        text = re.sub("^(User|Group)=exchange$", r"\1=root", text, flags=re.M)
        (tmp_path / unit.name).write_text(text)
    done = subprocess.run(
        [verify, "verify", "--man=no", *(tmp_path / unit.name for unit in UNITS)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
