"""
Podman as the tests use it: an image, containers, networks, all of them with a name of this run.

Needs root, podman with netavark, and a base image: BASE names one, else Docker's registry is asked,
else mmdebstrap or debootstrap makes one, which is kept for the next run. Everything else is removed
at the end, also what runs that were killed have left.
"""

from __future__ import annotations

import os
import random
import re
import resource
import shutil
import socket
import subprocess
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from tests.support import waiting

ROOT = Path(__file__).parents[2]
PREFIX = "gpyctr"
#: Kept between runs.
OWN_BASE = "localhost/grenache-py-base:bookworm"
OWN_DEBIAN = "localhost/grenache-py-debian:bookworm"
#: What makes a folder with Debian's Python. The first only unpacks packages: 7 s of CPU, not 40.
PACKAGES = (
    "base-files,base-passwd,coreutils,dash,debianutils,findutils,grep,libc-bin,python3-venv,sed"
)
MAKERS = (
    ("mmdebstrap", "--quiet", "--variant=extract", f"--include={PACKAGES}"),
    ("debootstrap", "--variant=minbase", "--include=python3,python3-venv"),
)
#: And what one with apt.
DEBIAN_MAKERS = (
    ("mmdebstrap", "--quiet", "--variant=apt"),
    ("debootstrap", "--variant=minbase", "--include=apt"),
)
DEADLINE_S = 120.0
BUILD_S = 600.0

#: As Prometheus's own image is.
PROMETHEUS = """
FROM {base}
COPY prometheus /bin/prometheus
RUN mkdir /prometheus && chown 65534:65534 /prometheus
USER 65534:65534
VOLUME /prometheus
ENTRYPOINT ["/bin/prometheus", "--config.file=/etc/prometheus/prometheus.yml", \\
    "--storage.tsdb.path=/prometheus"]
"""

until = partial(waiting.until, deadline_s=DEADLINE_S)


def missing() -> str | None:
    """Return what this machine lacks, or None."""
    if os.geteuid() != 0:
        return "containers need root here"
    lacking = [program for program in ("podman", "iptables", "nft") if not shutil.which(program)]
    if lacking:
        return f"containers need {', '.join(lacking)}"
    done = podman("info", "--format", "{{.Host.NetworkBackend}}", check=False)
    if done.returncode:
        return f"podman does not work here: {done.stderr.strip()}"
    return None


def podman(
    *arguments: str, check: bool = True, timeout_s: float = DEADLINE_S
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        ["podman", *arguments], capture_output=True, text=True, timeout=timeout_s, check=False
    )
    assert not check or done.returncode == 0, f"podman {arguments}: {done.stdout}{done.stderr}"
    return done


def limits() -> dict[str, int]:
    """Limits that this machine lets a container have; podman would ask for more than it may."""
    wanted = {"nofile": (resource.RLIMIT_NOFILE, 65536), "nproc": (resource.RLIMIT_NPROC, 4096)}
    found = {name: (resource.getrlimit(kind)[1], most) for name, (kind, most) in wanted.items()}
    return {name: most if hard < 0 else min(hard, most) for name, (hard, most) in found.items()}


def free_port() -> int:
    """A port that nobody has, and that the kernel gives nobody until a container takes it."""
    while True:
        port = random.randrange(24_000, 32_000)  # below those of the kernel's own choice
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def base_image() -> str:
    """Return a base that is there; make one where no registry is reached."""
    return os.environ.get("BASE") or _base_of("etc/container/Dockerfile", OWN_BASE, MAKERS)


def _base_of(file: str, own: str, makers: tuple[tuple[str, ...], ...]) -> str:
    (default,) = re.findall("^ARG BASE=(.*)$", (ROOT / file).read_text(), re.M)
    for image in (default, own):
        if podman("image", "exists", image, check=False).returncode == 0:
            return str(image)
    try:
        if podman("pull", "--quiet", default, check=False).returncode == 0:
            return str(default)
    except subprocess.TimeoutExpired:
        pass
    found = [maker for maker in makers if shutil.which(maker[0])]
    if not found:
        pytest.skip("no registry is reached, and there is no mmdebstrap; BASE names an image")
    return _made_base(found[0], own)


def _made_base(maker: tuple[str, ...], image: str) -> str:
    folder = Path("/var/tmp", f"{PREFIX}{os.getpid()}")
    # The package index may be reached through something that this machine trusts.
    trusted = Path("etc/ssl/certs/ca-certificates.crt")
    try:
        command = ["timeout", f"{BUILD_S:g}", *maker, "bookworm", str(folder)]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"no base image: {maker[0]}: {done.stderr.decode(errors='replace')[-500:]}")
        compiled = ["python3", "-m", "compileall", "-q", "/usr/lib/python3.11"]
        if (folder / "usr/bin/python3").exists():
            subprocess.run(["chroot", folder, *compiled], check=True, timeout=DEADLINE_S)
        (folder / trusted).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy("/" / trusted, folder / trusted)
        packed = subprocess.run(
            f"tar -C {folder} -c . | podman import --change 'ENV PIP_CERT=/{trusted}' - {image}",
            shell=True,
            capture_output=True,
            text=True,
            timeout=BUILD_S,
            check=False,
        )
        assert packed.returncode == 0, packed.stderr
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return image


class Engine:
    """
    One run: its image, and whatever it starts.

    Attributes:
        image: built from this tree.
    """

    def __init__(self) -> None:
        self.name = f"{PREFIX}{os.getpid()}"
        self.image = f"localhost/{self.name}"

    def build(self) -> None:
        self._build(self.image, "etc/container/Dockerfile", base_image())

    def database(self) -> str:
        """An image of a database host."""
        image, file = f"{self.image}-database", "etc/container/standby/Dockerfile"
        self._build(image, file, _base_of(file, OWN_DEBIAN, DEBIAN_MAKERS))
        return image

    @staticmethod
    def _build(image: str, file: str, base: str) -> None:
        podman(
            *("build", "--isolation", "chroot", "--network", "host", "--format", "docker"),
            *("--layers=false", "--build-arg", f"BASE={base}", "--tag", image),
            *("--file", str(ROOT / file), str(ROOT)),
            timeout_s=BUILD_S,
        )

    def prometheus(self, folder: Path) -> str | None:
        """An image with this machine's Prometheus, for where no registry is reached."""
        program = shutil.which("prometheus")
        if program is None:
            return None
        shutil.copy(program, folder / "prometheus")
        (folder / "Dockerfile").write_text(PROMETHEUS.format(base=base_image()))
        image = f"{self.image}-prometheus"
        podman(
            *("build", "--isolation", "chroot", "--layers=false", "--tag", image, str(folder)),
            timeout_s=BUILD_S,
        )
        return image

    def network(self, name: str, *options: str) -> str:
        podman("network", "create", *options, f"{self.name}-{name}")
        return f"{self.name}-{name}"

    def start(self, name: str, *options: str, command: tuple[str, ...] = ()) -> Container:
        """Start a container; ``options`` are podman's, ``command`` the image's."""
        container = Container(f"{self.name}-{name}")
        podman("run", "--detach", *self.options(container.name), *options, self.image, *command)
        return container

    def run(self, *command: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run the image to its end."""
        given = ["--rm", "--network", "none", "--no-healthcheck", *options]
        given += self.options(f"{self.name}-run")
        return podman("run", *given, self.image, *command, check=False)

    @staticmethod
    def options(name: str) -> list[str]:
        return [
            *("--name", name, "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"),
            *(f"--ulimit={limit}={most}" for limit, most in limits().items()),
        ]

    def close(self) -> None:
        """Remove what this run made, and what runs that were killed have left."""
        listed = podman("ps", "--all", "--format", "{{.Names}}").stdout.split()
        self._each("rm", "--force", "--volumes", "--time", "0", names=listed)
        listed = podman("network", "ls", "--format", "{{.Name}}").stdout.split()
        self._each("network", "rm", "--force", names=listed)
        listed = podman("volume", "ls", "--format", "{{.Name}}").stdout.split()
        self._each("volume", "rm", "--force", names=listed)
        listed = podman("secret", "ls", "--format", "{{.Name}}").stdout.split()
        self._each("secret", "rm", names=listed)
        listed = podman("images", "--format", "{{.Repository}}").stdout.split()
        self._each("rmi", "--force", names=listed)

    @staticmethod
    def _each(*command: str, names: list[str]) -> None:
        for name in names:
            found = re.match(rf"(?:localhost/)?{PREFIX}(\d+)", name)
            if found and (found[1] == str(os.getpid()) or not Path("/proc", found[1]).exists()):
                podman(*command, name, check=False)


class Container:
    """One container."""

    def __init__(self, name: str) -> None:
        self.name = name

    def exec(self, *command: str) -> subprocess.CompletedProcess[str]:
        return podman("exec", self.name, *command, check=False)

    def until(self, wanted: str, *command: str) -> str:
        """Run a program in it until it succeeds and says ``wanted``."""

        def look() -> str | None:
            done = self.exec(*command)
            said.append(done.stdout + done.stderr)
            return done.stdout or " " if not done.returncode and wanted in done.stdout else None

        said: list[str] = []
        try:
            return until(f"{wanted!r} from {command} in {self.name}", look)
        except pytest.fail.Exception as failed:
            pytest.fail(f"{failed}\nlast: {said[-1]}\nlog: {self.log()}")

    def inspect(self, what: str) -> str:
        return podman("inspect", "--format", f"{{{{{what}}}}}", self.name).stdout.strip()

    def log(self) -> str:
        done = podman("logs", self.name, check=False)
        return done.stdout + done.stderr

    def port(self, inside: int) -> int:
        return int(podman("port", self.name, f"{inside}/tcp").stdout.rpartition(":")[2])

    def in_its_network(self, *command: str) -> None:
        """Run a program of this machine in the container's network."""
        pid = self.inspect(".State.Pid")
        subprocess.run(
            ["nsenter", "--target", pid, "--net", *command], check=True, timeout=DEADLINE_S
        )

    def stop(self) -> int:
        """Stop it as engines do; its exit code, which is 137 when it was not gone after 10 s."""
        podman("stop", "--time", "10", self.name)
        return int(self.inspect(".State.ExitCode"))
