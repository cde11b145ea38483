"""
Hosts of our own, as network namespaces: each with its address, joined by a switch, some behind NAT.

Needs root and iproute2 (and nftables for NAT); tests are skipped, saying so, where these are
missing. Nothing outside the namespaces made here is touched, but their own files in /etc/netns.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

SCRIPTS = Path(sysconfig.get_path("scripts"))
DEADLINE_S = 120.0


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, timeout=20)


def missing() -> str | None:
    """Return what this machine lacks, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not shutil.which("ip"):
        return "network namespaces need iproute2"
    made = subprocess.run(
        ["ip", "netns", "add", f"gpy{os.getpid()}try"], capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        return f"no network namespace can be made here: {made.stderr.strip()}"
    ip("netns", "del", f"gpy{os.getpid()}try")
    _sweep()
    return None


def _sweep() -> None:
    """Remove what runs that were killed with -9 have left: their names say whose they were."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
    for name in re.findall(r"^gpy\d+n\d\S*", listed.stdout, re.MULTILINE):
        owner = re.match(r"gpy(\d+)n", name)
        if owner is not None and not Path("/proc", owner[1]).exists():
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
            shutil.rmtree(Path("/etc/netns", name), ignore_errors=True)


class Host:
    """One namespace, in which programs run as on a machine of their own."""

    def __init__(self, namespace: str, folder: Path) -> None:
        self.namespace = namespace
        self.folder = folder
        self.address = ""
        self.etc = Path("/etc/netns", namespace)
        self.running: list[tuple[subprocess.Popen[bytes], Path]] = []
        ip("netns", "add", namespace)
        ip("-n", namespace, "link", "set", "lo", "up")
        folder.mkdir()

    def command(self, *command: str) -> list[str]:
        program, *arguments = command
        script = SCRIPTS / program
        return [
            *("ip", "netns", "exec", self.namespace),
            str(script) if script.exists() else program,
            *arguments,
        ]

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a daemon; its output is shown when the test fails, and it is ended at the end."""
        log = self.folder / f"{len(self.running)}-{Path(command[0]).name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                self.command(*command),
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**os.environ, "HOME": str(self.folder)},
            )
        self.running.append((process, log))
        return process

    def ask(self, *command: str, input: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program to its end."""
        return subprocess.run(
            self.command(*command),
            capture_output=True,
            text=True,
            input=input,
            timeout=DEADLINE_S,
            cwd=self.folder,
            check=False,
        )

    def until(self, wanted: str, *command: str, input: str | None = None) -> str:
        """Run a program again and again until its output contains ``wanted``."""
        started = time.monotonic()
        while True:
            done = self.ask(*command, input=input)
            if done.returncode == 0 and wanted in done.stdout:
                return done.stdout
            if time.monotonic() - started > DEADLINE_S:
                logs = [f"{log.name}: {log.read_text()}" for _, log in self.running]
                pytest.fail(
                    f"{' '.join(command)} on {self.namespace} did not say {wanted!r} within"
                    f" {DEADLINE_S:g} s, but {done.stdout!r} {done.stderr!r}\n" + "\n".join(logs)
                )
            time.sleep(0.1)

    def close(self) -> None:
        for process, _ in self.running:
            process.terminate()
        for process, _ in self.running:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        ip("netns", "del", self.namespace)
        shutil.rmtree(self.etc, ignore_errors=True)


class Network:
    """
    A switch with hosts on it, and a second switch that leads nowhere; addresses are 10.77.0.0/24.
    """

    counter = itertools.count()

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.hosts: list[Host] = []
        self.prefix = f"gpy{os.getpid()}n{next(self.counter)}"
        self._ports: dict[str, str] = {}
        self.switch = self._host("switch")
        for bridge in ("br0", "br1"):
            ip("-n", self.switch.namespace, "link", "add", bridge, "type", "bridge")
            ip("-n", self.switch.namespace, "link", "set", bridge, "up")

    def _host(self, name: str) -> Host:
        host = Host(f"{self.prefix}{name}", self.folder / name)
        self.hosts.append(host)
        return host

    def host(self, name: str, address: str) -> Host:
        """Make a host with ``address`` on the switch."""
        host = self._host(name)
        port = self._ports[host.namespace] = f"p{len(self.hosts)}"
        self._cable(host, "eth0", address, self.switch, port)
        ip("-n", self.switch.namespace, "link", "set", port, "master", "br0", "up")
        return host

    def unplug(self, host: Host) -> None:
        """Take the host's cable out of the switch; what is sent meanwhile is lost."""
        ip("-n", self.switch.namespace, "link", "set", self._ports[host.namespace], "down")

    def plug(self, host: Host) -> None:
        """Put it back."""
        ip("-n", self.switch.namespace, "link", "set", self._ports[host.namespace], "up")

    def part(self, hosts: Iterable[Host]) -> None:
        """These hosts reach only each other from now on, and all others only the others."""
        self._move(hosts, "br1")

    def join(self, hosts: Iterable[Host]) -> None:
        """They are back among the others."""
        self._move(hosts, "br0")

    def _move(self, hosts: Iterable[Host], bridge: str) -> None:
        for host in hosts:
            port = self._ports[host.namespace]
            ip("-n", self.switch.namespace, "link", "set", port, "master", bridge)

    def name_hosts(self, hosts: Mapping[str, Host]) -> None:
        """Let all hosts know each other by name."""
        lines = ["127.0.0.1 localhost", *(f"{host.address} {name}" for name, host in hosts.items())]
        for host in hosts.values():
            # `ip netns exec` shows a program this file as its /etc/hosts.
            host.etc.mkdir(parents=True)
            (host.etc / "hosts").write_text("\n".join(lines) + "\n")

    def behind_nat(
        self, name: str, public: str, tcp: Mapping[int, int], udp: Mapping[int, int]
    ) -> Host:
        """
        Make a host that others see as ``public``, with some of its ports forwarded to it.

        The router hides the host's own address on the way out, as Docker's bridge does.
        """
        router = self.host(f"{name}-router", public)
        host = self._host(name)
        self._cable(host, "eth0", "192.168.77.2", router, "eth1", "192.168.77.1")
        ip("-n", host.namespace, "route", "add", "default", "via", "192.168.77.1")
        forwarded = "\n".join(
            f'iifname "eth0" {kind} dport {outside} dnat to 192.168.77.2:{inside}'
            for kind, ports in (("tcp", tcp), ("udp", udp))
            for outside, inside in ports.items()
        )
        rules = f"""
            table ip nat {{
              chain leaving {{
                type nat hook postrouting priority 100
                oifname "eth0" masquerade
              }}
              chain arriving {{
                type nat hook prerouting priority -100
                {forwarded}
              }}
            }}
        """
        for command, text in (
            (["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"], None),
            (["nft", "-f", "-"], rules),
        ):
            done = router.ask(*command, input=text)
            assert done.returncode == 0, done.stderr
        return host

    def _cable(
        self, a: Host, a_port: str, a_address: str, b: Host, b_port: str, b_address: str = ""
    ) -> None:
        ip(
            *("link", "add", a_port, "netns", a.namespace, "type", "veth"),
            *("peer", "name", b_port, "netns", b.namespace),
        )
        for host, port, address in ((a, a_port, a_address), (b, b_port, b_address)):
            if address:
                ip("-n", host.namespace, "addr", "add", f"{address}/24", "dev", port)
                host.address = host.address or address
            ip("-n", host.namespace, "link", "set", port, "up")

    def close(self) -> None:
        for host in reversed(self.hosts):
            host.close()
