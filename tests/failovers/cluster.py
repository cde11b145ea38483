"""
A database under real Patroni: an etcd and two hosts, as processes on loopback.

With the settings of ``etc/container/standby``. Needs root and Debian's packages.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from tests.failovers.scene import until
from tests.soak.daemons import free_port

__all__ = ["PASSWORD", "Cluster", "lacking"]

ROOT = Path(__file__).parents[2]
USER = "postgres"
PASSWORD = "exchange's"


def lacking() -> str:
    """Why there can be no cluster here; "" when there can."""
    if os.geteuid() != 0:
        return "Patroni is run as another user, which needs root"
    missing = [program for program in ("patroni", "etcd") if not shutil.which(program)]
    if missing or not _programs():
        return "needs apt install patroni python3-etcd etcd-server postgresql"
    return ""


def _programs() -> str:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return str(found[-1]) if found else ""


class Cluster:
    """
    Two hosts, each a Patroni with its PostgreSQL.

    Attributes:
        url: of the exchange's database, for libpq.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        shutil.chown(folder, USER, USER)
        self._account = pwd.getpwnam(USER)
        self._etcd, self._database = free_port(), [free_port(), free_port()]
        self._rest = [free_port(), free_port()]
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        hosts = ",".join(f"127.0.0.1:{port}" for port in self._database)
        self.url = f"postgresql://exchange@{hosts}/exchange"
        settings = yaml.safe_load((ROOT / "etc/container/standby/patroni.yml").read_text())
        shutil.copy(ROOT / "etc/container/standby/make-database", folder)
        settings["bootstrap"]["post_init"] = str(folder / "make-database")
        (folder / "patroni.yml").write_text(yaml.safe_dump(settings))
        try:
            self._start_etcd()
            for host in (0, 1):
                self.start(host)
                until(
                    f"host {host} runs", lambda host=host: self.says(host).get("state") == "running"
                )
            until("a synchronous standby", lambda: self.synchronous() is not None)
        except BaseException:
            self.close()
            raise

    def _start_etcd(self) -> None:
        here, peers = f"http://127.0.0.1:{self._etcd}", f"http://127.0.0.1:{free_port()}"
        self._run(
            "etcd",
            *("etcd", "--name=one", f"--initial-cluster=one={peers}"),
            *(f"--data-dir={self._folder}/etcd", f"--listen-client-urls={here}"),
            *(f"--advertise-client-urls={here}", f"--listen-peer-urls={peers}"),
            f"--initial-advertise-peer-urls={peers}",
        )

    def start(self, host: int) -> None:
        """Start a host that does not run."""
        rest, database = f"127.0.0.1:{self._rest[host]}", f"127.0.0.1:{self._database[host]}"
        environment = {
            "PATRONI_NAME": f"host{host}",
            "PATRONI_ETCD3_HOSTS": f"127.0.0.1:{self._etcd}",
            "PATRONI_RESTAPI_LISTEN": rest,
            "PATRONI_RESTAPI_CONNECT_ADDRESS": rest,
            "PATRONI_POSTGRESQL_LISTEN": database,
            "PATRONI_POSTGRESQL_CONNECT_ADDRESS": database,
            "PATRONI_POSTGRESQL_BIN_DIR": _programs(),
            "PATRONI_POSTGRESQL_DATA_DIR": str(self._data(host)),
            "PATRONI_SUPERUSER_USERNAME": USER,
            "PATRONI_SUPERUSER_PASSWORD": "superuser's",
            "PATRONI_REPLICATION_USERNAME": "replicator",
            "PATRONI_REPLICATION_PASSWORD": "replicator's",
            "EXCHANGE_PASSWORD": PASSWORD,
        }
        self._run(f"host{host}", "patroni", str(self._folder / "patroni.yml"), **environment)

    def _data(self, host: int) -> Path:
        return self._folder / f"host{host}"

    def _run(self, name: str, *command: str, **environment: str) -> None:
        # Libpq would prefer a password of the environment, which is the daemons', to Patroni's own.
        inherited = {key: value for key, value in os.environ.items() if key != "PGPASSWORD"}
        with (self._folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env=inherited | {"HOME": str(self._folder)} | environment,
                user=self._account.pw_uid,
                group=self._account.pw_gid,
                extra_groups=[],
            )

    def says(self, host: int) -> Mapping[str, Any]:
        """What its Patroni says of it; empty while it says nothing."""
        with (
            suppress(OSError, ValueError),
            urllib.request.urlopen(
                f"http://127.0.0.1:{self._rest[host]}/patroni", timeout=2
            ) as answer,
        ):
            found: dict[str, Any] = json.load(answer)
            return found
        return {}

    def primary(self) -> int:
        """The host that takes writes."""
        found: list[int] = []

        def look() -> bool:
            found[:] = [
                host for host in (0, 1) if self.says(host).get("role") in {"master", "primary"}
            ]
            return len(found) == 1

        until("a primary", look)
        return found[0]

    def synchronous(self) -> int | None:
        """The host that commits wait for; None when there is none."""
        found = [host for host in (0, 1) if self.says(host).get("sync_standby")]
        return found[0] if found else None

    def kill_server(self, host: int) -> None:
        """End PostgreSQL there, as by a crash; its Patroni lives."""
        pid = int((self._data(host) / "postmaster.pid").read_text().split("\n")[0])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for each in (pid, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)

    def kill(self, host: int) -> None:
        """End the whole host, as by a power cut."""
        process = self._running.pop(f"host{host}")
        process.kill()
        process.wait()
        with suppress(OSError):
            self.kill_server(host)

    def control(self, *words: str) -> None:
        """Run ``patronictl``."""
        done = subprocess.run(
            ["patronictl", "-c", str(self._folder / "patroni.yml"), *words],
            capture_output=True, text=True, timeout=120, check=False,
            env=os.environ | {"PATRONI_ETCD3_HOSTS": f"127.0.0.1:{self._etcd}"},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def close(self) -> None:
        """End all."""
        for name in [name for name in self._running if name.startswith("host")]:
            self.kill(int(name.removeprefix("host")))
        for process in self._running.values():
            process.kill()
            process.wait()
