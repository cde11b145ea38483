"""
``make release`` in a clone of this tree: what it refuses, and what it makes.

The refusals need nothing. The rest, with RELEASE=1 (``make test-release``), builds, asks an index
for what the package needs, and makes the image where containers can be tested.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import grenache_py
from tests.containers import engine

ROOT = Path(__file__).parents[2]
VERSION = grenache_py.__version__


def git(repository: Path, *arguments: str) -> None:
    who = ("-c", "user.name=tests", "-c", "user.email=tests@example.org", "-c", "commit.gpgsign=no")
    subprocess.run(
        ["git", *who, *arguments], cwd=repository, check=True, capture_output=True, timeout=60
    )


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """This tree's last commit, with this script, as it is when a release is due."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout of git")
    made = tmp_path / "clone"
    git(ROOT, "clone", "--quiet", "--no-tags", str(ROOT), str(made))
    shutil.copy(ROOT / ".ci/release", made / ".ci")
    for note in (made / "changelog.d").glob("*.rst"):
        note.unlink()
    with (made / "CHANGELOG.rst").open("a") as log:
        log.write(f"\n{VERSION} (2026-12-01)\n------------------\n")
    git(made, "add", "--all")
    git(made, "commit", "--quiet", "--message", "Release")
    return made


@pytest.fixture
def key(tmp_path: Path) -> str:
    path = str(tmp_path / "key")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


def release(clone: Path, timeout_s: float = 60, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [clone / ".ci/release"],
        env={**os.environ, "PYTHON": sys.executable, **environ},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def refusal(clone: Path, **environ: str) -> str:
    done = release(clone, **environ)
    assert done.returncode == 1 and not (clone / "dist").exists()
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


def test_a_dirty_tree_is_refused(clone: Path) -> None:
    (clone / "new.py").touch()
    assert "the work tree has changes" in refusal(clone)


def test_versions_that_differ_are_refused(clone: Path) -> None:
    init = clone / "grenache_py/__init__.py"
    init.write_text(init.read_text().replace(VERSION, "7.0.0"))
    assert f"says version {VERSION}, grenache_py/__init__.py says 7.0.0" in refusal(clone)
    project = clone / "pyproject.toml"
    project.write_text(project.read_text().replace(VERSION, "7.0.0", 1))
    assert "Dockerfile has another" in refusal(clone)


def test_a_version_that_is_tagged_is_refused(clone: Path) -> None:
    git(clone, "tag", f"v{VERSION}")
    assert f"v{VERSION} is tagged already" in refusal(clone)


def test_notes_that_wait_are_refused(clone: Path) -> None:
    (clone / "changelog.d/more.feature.rst").write_text("More.\n")
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "--message", "More")
    assert "collect them with make changelog" in refusal(clone)


def test_no_key_is_refused(clone: Path) -> None:
    assert "name the key that signs" in refusal(clone, KEY="", GPG_KEY="")
    assert "cannot be read" in refusal(clone, KEY=str(clone / "nothing"))


@pytest.mark.skipif(not os.environ.get("RELEASE"), reason="RELEASE is not set: make test-release")
def test_a_release_is_built_checked_and_signed(clone: Path, key: str, tmp_path: Path) -> None:
    lacking = "SHORT=1" if os.environ.get("SHORT") else engine.missing()
    image = {"IMAGE": "no"}
    if lacking is None:
        limits = " ".join(f"--ulimit {name}={most}" for name, most in engine.limits().items())
        image = {
            "BASE": engine.base_image(),
            "PODMAN_BUILD": "--isolation chroot --network host",
            "PODMAN_RUN": f"--network none {limits}",
        }
    done = release(clone, 1200, KEY=key, **image)
    assert done.returncode == 0, done.stdout + done.stderr
    dist = clone / "dist" / VERSION
    made = {
        f"grenache_py-{VERSION}-py3-none-any.whl",
        f"grenache_py-{VERSION}.tar.gz",
        "SHA256SUMS",
        "SHA256SUMS.sig",
    }
    if lacking is None:
        made.add(f"grenache-py-{VERSION}.oci.tar")
    assert {file.name for file in dist.iterdir()} == made
    # As docs/upgrades.rst tells users to check it.
    signers = tmp_path / "allowed_signers"
    signers.write_text(f"releases@example.org {Path(key + '.pub').read_text()}")
    verify = "ssh-keygen -Y verify -f {} -I releases@example.org -n file -s SHA256SUMS.sig"
    with (dist / "SHA256SUMS").open() as sums:
        subprocess.run(verify.format(signers).split(), cwd=dist, stdin=sums, check=True)
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=dist, check=True)
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as wheel:
        assert "grenache_py/exchange/storage/schema/0001.sql" in wheel.namelist()
    assert f"{dist} exists" in release(clone, KEY=key).stderr
