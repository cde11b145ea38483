"""
The operator's guide, run as it stands on a machine of its own: from the installation to an upgrade.

The tests tell one story, in this order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.systemd.machine import OLDER, ROOT, Machine

GUIDE = (ROOT / "docs" / "operator.rst").read_text()
TOOL = "/opt/grenache/bin/exchange"
ORDERS = f"{TOOL} orders"
#: Connects again and again while something else happens; prints how often, or why not.
KNOCK = """
import socket
count = 0
while True:
    with socket.create_connection(("127.0.0.1", 7070), 30) as client:
        client.sendall(b"{}\\n")
        assert client.recv(10)
    count += 1
    open("/run/knocks", "w").write(str(count))
"""
pytestmark = pytest.mark.network


def commands(name: str) -> list[str]:
    """The commands between two marks of the guide."""
    (block,) = re.findall(rf"(?s)\.\. begin {name}\n(.*?)\.\. end {name}\n", GUIDE)
    return [line.strip() for line in block.splitlines() if line.startswith("    ")]


@pytest.fixture(autouse=True)
def unhurried(machine: Machine) -> None:
    """These tests start the units more often than systemd lets them in a minute."""
    machine.run("systemctl reset-failed grape exchange")


def test_the_guide_installs_both_daemons(machine: Machine) -> None:
    for command in commands("install"):
        machine.do(command, network="pip" in command)
    assert machine.do(f"{TOOL} --version").startswith("exchange")


def test_both_units_start_with_the_example_files_as_they_are(machine: Machine) -> None:
    for command in commands("systemd"):
        machine.do(command)
    for unit in ("grape", "exchange"):
        assert machine.show(unit, "ActiveState") == "active"
    machine.until("yes", f"{TOOL} status | grep serving")
    owner = machine.do("stat -c '%U %a' /var/lib/exchange /var/lib/exchange/identity.key")
    assert owner.splitlines() == ["exchange 700", "exchange 600"]
    machine.until("", f"{TOOL} sell BTC-USD 1.5 @ 100")
    assert "good" in machine.do("curl -s http://127.0.0.1:30001/health")


def restarted(machine: Machine, unit: str, pid: str) -> None:
    """Wait until systemd has started the unit again, and it serves as before."""
    machine.until("active", f"test $(systemctl show --value -p MainPID {unit}) != {pid}"
                  f" && systemctl is-active {unit}")  # fmt: skip
    if unit == "exchange":
        machine.until("1.5", ORDERS)


@pytest.mark.parametrize("unit", ["grape", "exchange"])
def test_what_was_killed_comes_back_with_what_it_had(machine: Machine, unit: str) -> None:
    pid = machine.show(unit, "MainPID")
    machine.do(f"kill -9 {pid}")
    restarted(machine, unit, pid)


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["grape", "exchange"])
def test_the_watchdog_ends_what_hangs(machine: Machine, unit: str) -> None:
    """A stopped process stands for a loop that is blocked: neither answers systemd."""
    drop_in = f"/run/systemd/system/{unit}.service.d"
    machine.do(f"mkdir -p {drop_in}")
    machine.do(f"printf '[Service]\\nWatchdogSec=3\\nRestartSec=0\\n' > {drop_in}/fast.conf")
    machine.do(f"systemctl daemon-reload && systemctl restart {unit}")
    pid = machine.show(unit, "MainPID")
    machine.do(f"kill -STOP {pid}")
    restarted(machine, unit, pid)
    assert "Watchdog timeout" in machine.do(f"journalctl --no-pager -u {unit}")
    machine.do(f"rm -r {drop_in} && systemctl daemon-reload && systemctl restart {unit}")


@contextmanager
def knocking(machine: Machine) -> Iterator[None]:
    """Somebody connects to the client port, again and again; nobody may be refused."""
    machine.do(f"systemd-run --quiet --unit=knock python3 -c '{KNOCK}'")
    yield
    count = machine.do("cat /run/knocks")
    machine.until("", f"test $(cat /run/knocks) -gt {count}")
    assert machine.show("knock", "ActiveState") == "active", machine.do("journalctl -u knock")
    machine.do("systemctl stop knock")


@pytest.mark.slow
def test_a_restart_refuses_nobody_when_systemd_holds_the_port(machine: Machine) -> None:
    for command in commands("sockets"):
        machine.do(command)
    machine.until("1.5", ORDERS)
    with knocking(machine):
        machine.until("", "test -s /run/knocks")
        for _ in range(3):
            machine.do("systemctl restart exchange")


@pytest.mark.parametrize("unit", ["grape", "exchange"])
def test_a_reload_keeps_the_process_and_ends_when_the_settings_are_read(
    machine: Machine, unit: str
) -> None:
    pid = machine.show(unit, "MainPID")
    file = f"/etc/grenache/{unit}.toml"
    machine.do(f"sed -i 's/^log-level = .*/log-level = \"debug\"/' {file}")
    machine.do(f"systemctl reload {unit} && journalctl --sync")
    assert "settings read again: " in machine.do(f"journalctl --no-pager -u {unit}")
    assert (machine.show(unit, "MainPID"), machine.show(unit, "ActiveState")) == (pid, "active")
    machine.do(f"sed -i 's/^log-level = .*/log-level = \"info\"/' {file}")


@pytest.mark.parametrize("unit", ["grape", "exchange"])
def test_a_stop_is_quick_and_clean(machine: Machine, unit: str) -> None:
    machine.do(f"systemctl restart {unit}")
    machine.do(f"timeout 10 systemctl stop {unit}")
    assert machine.show(unit, "Result") == "success"
    assert machine.show(unit, "ExecMainStatus") == "0"
    machine.do(f"systemctl start {unit}")


def schema(machine: Machine, file: str = "exchange.sqlite") -> int:
    opened = f"import sqlite3; store = sqlite3.connect('/var/lib/exchange/{file}')"
    asked = "print(*store.execute('PRAGMA user_version').fetchone())"
    return int(machine.do(f'python3 -c "{opened}; {asked}"'))


@pytest.mark.slow
def test_an_upgrade_of_the_version_before_keeps_what_there_was(machine: Machine) -> None:
    """Its code comes out of git's history: the last commit with the schema before this one."""
    if not machine.has_older:
        pytest.skip("git has not the version before here")
    newest = schema(machine)
    machine.do("systemctl stop exchange-client.socket exchange && rm -r /var/lib/exchange/*")
    machine.do(f"/opt/grenache/bin/pip install --force-reinstall --no-deps {OLDER}", network=True)
    machine.do("systemctl start exchange-client.socket exchange")
    machine.until("", f"{TOOL} sell BTC-USD 2.5 @ 100")
    assert schema(machine) == newest - 1
    for command in commands("upgrade"):
        machine.do(command, network="pip" in command)
    machine.until("2.5", ORDERS)
    assert (schema(machine), schema(machine, f"exchange.sqlite.schema{newest - 1}")) == (
        newest,
        newest - 1,
    )
    assert "before-upgrade" in machine.do("ls /var/lib/exchange")


@pytest.mark.parametrize("unit", ["grape", "exchange"])
def test_the_units_lock_the_daemons_in(machine: Machine, unit: str) -> None:
    said = machine.do(f"systemd-analyze security --no-pager {unit} | tail -1")
    found = re.search(r"(\d+\.\d)", said)
    assert found and float(found[1]) < 3, said
