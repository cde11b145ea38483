"""
A machine that systemd runs: namespaces of its own over a copy-on-write view of this machine.

Needs root, systemd and unshare. What would touch this machine beyond the namespaces is masked:
kernel settings, devices, file systems, timers of the distribution. Everything is gone in the end.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest

from tests.exchange.storage.stores.make import VERSIONS
from tests.support import waiting
from tests.support.source_trees import source_tree

ROOT = Path(__file__).parents[2]
SYSTEMD = "/lib/systemd/systemd"
PREFIX = "gpysystemd"
PATH = "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
DEADLINE_S = 60.0
#: Where systemd keeps its groups: version 2, or the named hierarchy of version 1.
CGROUPS = ("/sys/fs/cgroup", "/sys/fs/cgroup/systemd")
#: What is left of what a system starts with.
KEPT = re.compile(r"systemd-journald.*|.*\.target")
#: Where the source tree is on the machine, and one of the version before.
SOURCE, OLDER = "/source", "/older"

BOOT = """
for group in $2; do echo $$ > "$group/cgroup.procs"; done
exec unshare --cgroup --fork --kill-child --pid --mount --uts --ipc --net sh -euc '
    root=$1/root
    mount --make-rprivate /
    mount -t tmpfs machine "$1"
    mkdir "$root" "$1/upper" "$1/work"
    mkdir -p "$1/upper/etc/systemd/system"
    for unit in $2; do ln -s /dev/null "$1/upper/etc/systemd/system/$unit"; done
    mkdir "$1/upper/etc/systemd/journald.conf.d"
    printf "[Journal]\nStorage=volatile\n" > "$1/upper/etc/systemd/journald.conf.d/tests.conf"
    cp -r "$5" "$1/upper/source"
    if [ -d "$6" ]; then cp -r "$6" "$1/upper/older"; fi
    mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" machine "$root"
    mount -t proc proc "$root/proc"
    mount -t sysfs sysfs "$root/sys"
    if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
        mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
    else
        mount -t tmpfs -o mode=755 cgroups "$root/sys/fs/cgroup"
        mkdir "$root/sys/fs/cgroup/systemd"
        mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"
    fi
    mount -t tmpfs -o mode=755 run "$root/run"
    mount -t tmpfs -o mode=755 dev "$root/dev"
    for device in null zero full random urandom tty; do
        touch "$root/dev/$device"
        mount --bind "/dev/$device" "$root/dev/$device"
    done
    ln -s /proc/self/fd "$root/dev/fd"
    ln -s pts/ptmx "$root/dev/ptmx"
    ip link set lo up
    hostname machine
    cd "$root"
    pivot_root . mnt
    umount -l mnt
    exec env -i PATH="$3" container=tests "$4" --system --unit=basic.target
' sh "$1" "$3" "$4" "$5" "$6" "$7"
"""

until = partial(waiting.until, deadline_s=DEADLINE_S)


def missing() -> str | None:
    """Return what this machine lacks, or None."""
    if os.geteuid() != 0:
        return "a machine of its own needs root"
    if not Path(SYSTEMD).exists() or not shutil.which("systemctl"):
        return "needs systemd"
    if not shutil.which("unshare") or not shutil.which("ip"):
        return "needs unshare (util-linux) and ip (iproute2)"
    if subprocess.run(["unshare", "-fpmuinC", "true"], capture_output=True, check=False).returncode:
        return "no namespaces can be made here"
    if not any(Path(place, "cgroup.procs").exists() for place in CGROUPS):
        return "no control groups of systemd's are mounted here"
    return None


def _cgroups() -> list[Path]:
    """Where this process is in each hierarchy of control groups."""
    mounted: dict[str, str] = {}
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, options, *_ = line.split()
        if kind in {"cgroup", "cgroup2"}:
            mounted.update(dict.fromkeys(options.split(",") if kind == "cgroup" else [""], place))
    groups = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, group = line.split(":", 2)
        place = mounted.get(controllers.partition(",")[0])
        if place is not None:
            groups.append(Path(f"{place}{group}"))
    return groups


class Machine:
    """One machine; its files are this one's, and what it writes is gone with it."""

    def __init__(self, folder: Path) -> None:
        self._groups = [place / f"{PREFIX}{os.getpid()}" for place in _cgroups()]
        for group in self._groups:
            group.mkdir()
            for needed in ("cpuset.cpus", "cpuset.mems"):  # empty at first in version 1
                if (group / needed).exists() and not (group / "cgroup.controllers").exists():
                    (group / needed).write_text((group.parent / needed).read_text())
        folder.mkdir()
        source = folder.with_name("source")
        ignored = shutil.ignore_patterns(
            ".*", "__pycache__", "*.egg-info", "tests", "build", "secrets"
        )
        shutil.copytree(ROOT, source, ignore=ignored)
        older = folder.with_name("older")
        #: Whether `OLDER` has the package as it was with the schema of the store before this one.
        self.has_older = source_tree(VERSIONS[max(VERSIONS)], older, ()) is not None
        with (folder / "log").open("wb") as log:
            self._unshare = subprocess.Popen(
                [
                    "sh",
                    "-euc",
                    BOOT,
                    "sh",
                    folder,
                    " ".join(map(str, self._groups)),
                    _masked(),
                    PATH,
                    SYSTEMD,
                    source,
                    older,
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd="/",
            )
        try:
            self._pid = until("a first process", self._first_process)
            until("systemd answers", self._answers)
        except BaseException:
            print((folder / "log").read_text())
            self.close()
            raise

    def _first_process(self) -> str | None:
        pid = self._unshare.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return children[0] if children and self._unshare.poll() is None else None

    def _answers(self) -> bool:
        done = self.run("systemctl is-system-running")
        return done.stdout.strip() in {"running", "degraded"}

    def run(self, command: str, network: bool = False) -> subprocess.CompletedProcess[str]:
        """
        Run a shell command as root in the source tree, on this machine's view of it.

        Args:
            network: with the network of the machine outside, to install something from there.
        """
        spaces = ["--mount", "--pid", "--uts", "--ipc", "--cgroup", *([] if network else ["--net"])]
        return subprocess.run(
            [
                *("nsenter", "--target", self._pid, *spaces, "--root"),
                *("sh", "-c", f"cd {SOURCE} && {command}"),
            ],
            env={
                "PATH": PATH,
                "HOME": "/root",
                **{name: value for name, value in os.environ.items() if name.startswith("PIP_")},
            },
            capture_output=True,
            text=True,
            timeout=5 * DEADLINE_S,
            check=False,
        )

    def do(self, command: str, network: bool = False) -> str:
        """Run a command that must succeed; return what it said."""
        done = self.run(command, network)
        if done.returncode:
            pytest.fail(f"{command}: {done.stdout}{done.stderr}\n{self.journal()}")
        return done.stdout.strip()

    def until(self, wanted: str, command: str) -> str:
        """Run a command again and again until it succeeds and says ``wanted``."""

        def look() -> str | None:
            done = self.run(command)
            said.append(done.stdout + done.stderr)
            return done.stdout or " " if done.returncode == 0 and wanted in done.stdout else None

        said: list[str] = []
        try:
            return until(command, look)
        except pytest.fail.Exception as failed:
            pytest.fail(f"{failed}; the last time: {said[-1]}\n{self.journal()}")

    def show(self, unit: str, what: str) -> str:
        """One property of a unit."""
        return self.do(f"systemctl show --value --property={what} {unit}")

    def journal(self) -> str:
        return self.run("journalctl --no-pager --lines=40 -u grape -u exchange").stdout

    def close(self) -> None:
        self._unshare.send_signal(signal.SIGKILL)  # and with it everything inside
        self._unshare.wait()
        folders = [each for group in self._groups for each in (group, *group.rglob("*/"))]
        for folder in sorted(folders, key=lambda each: -len(each.parts)):
            give_up = time.monotonic() + 5
            while folder.exists() and time.monotonic() < give_up:
                try:
                    folder.rmdir()
                except OSError:
                    time.sleep(0.05)


def _masked() -> str:
    """Every unit that a start of the system would pull in and that is not needed here."""
    units = {
        unit.name
        for place in ("/lib/systemd/system", "/etc/systemd/system")
        for unit in Path(place).glob("*.wants/*")
    }
    return " ".join(sorted(name for name in units if not _kept(name)))


def _kept(name: str) -> bool:
    return KEPT.fullmatch(name) is not None
