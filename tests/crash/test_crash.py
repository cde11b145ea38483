"""A real daemon, killed at any moment, or on a disk that fills up (``make crash``: longer)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash import points
from tests.crash.__main__ import ROOT, torment
from tests.exchange.storage.test_database import can_mount

pytestmark = pytest.mark.network


def test_a_killed_daemon_keeps_every_promise(tmp_path: Path) -> None:
    assert torment(tmp_path, kills=4, seed=20261122, traders=4) > 50


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_a_store_killed_as_it_calls_the_disk_has_each_batch_once(tmp_path: Path) -> None:
    *_, (batches, _) = points.torment(tmp_path, kills=10, seed=1)
    assert batches > 2  # it came beyond the making of the tables


FULL_DISK = """
import os, subprocess, sys, time
from pathlib import Path
from tests.crash.__main__ import Daemon, Promises, check_file
place = Path(sys.argv[1])
size = f"size={sys.argv[2]}m"
subprocess.run(["mount", "-t", "tmpfs", "-o", size, "none", str(place)], check=True)
(place / "ballast").write_bytes(b"x" * int(sys.argv[3]))
promises, number, refusal = Promises("alice"), 0, None

def order(connection):
    global number
    number += 1
    params = dict(market="BTC-USD", account="alice", side="buy", type="limit", quantity="1",
                  price="100", client_order_id=f"alice-{number}")
    promises.placed[params["client_order_id"]] = params
    answer = connection.answer("order.place", **params)
    promises.note("order.place", params, answer)
    return answer.get("error")

with Daemon(place) as daemon, daemon.connect() as connection:
    while refusal is None:
        refusal = order(connection)
    print(len(promises.ids) > 10, refusal["code"], order(connection)["code"])
    time.sleep(0.7)  # at least one try to open it again, in vain
    told = [line.split(" ", 1)[1] for line in daemon.log.read_text().splitlines()
            if "no space is left" in line]
    print(len(told) - len(set(told)), len(told) > 0)
    os.remove(place / "ballast")
    deadline = time.monotonic() + 20
    while order(connection) is not None and time.monotonic() < deadline:
        time.sleep(0.05)
    print(order(connection))
check_file(place, [promises])
print("store is back" in daemon.log.read_text(), "store failed" in daemon.log.read_text())
"""


@pytest.mark.skipif(not can_mount(), reason="needs unprivileged mount namespaces")
@pytest.mark.parametrize(("mebibytes", "ballast"), [("4", "2000000"), ("8", "6000000")])
def test_a_full_disk_refuses_orders_until_there_is_room(
    tmp_path: Path, mebibytes: str, ballast: str
) -> None:
    done = subprocess.run(
        ["unshare", "-rm", sys.executable, "-c", FULL_DISK, str(tmp_path), mebibytes, ballast],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    many, told, order, back = done.stdout.splitlines()
    assert many == "True -32010 -32010"
    assert told == "0 True"  # each file once, not at every try
    assert (order, back) == ("None", "True True")
