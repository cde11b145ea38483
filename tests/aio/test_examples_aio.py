"""The examples for asyncio do what they say, beside a grape."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEADLINE_S = 120.0
pytestmark = pytest.mark.network


@contextmanager
def started(*argv: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, *argv],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def grape_url() -> Iterator[str]:
    program = "from grenache_py.cli import grape; grape()"
    with started("-c", program, "-b", "127.0.0.1", "--dp", "0", "--aph", "0") as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"HTTP API on (127\.0\.0\.1:\d+)", line)
        assert found, line
        yield f"http://{found[1]}"


def test_a_service_and_its_caller(grape_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "examples/aio_service.py", grape_url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "12 * 12 = 144",
        "squares: [0, 1, 4, 9, 16]",
        "only whole numbers {'got': 'twelve'}",
    ]


def get(url: str) -> tuple[int, object]:
    """Status and JSON of an answer, asked for until somebody listens."""
    give_up = time.monotonic() + DEADLINE_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            return refused.code, None
        except urllib.error.URLError:
            assert time.monotonic() < give_up, "nobody listens"
            time.sleep(0.1)


@pytest.mark.parametrize(
    ("program", "path", "answer", "wrong"),
    [("fastapi_app", "/double/21", 42, "/double/x"), ("aiohttp_app", "/add/40/2", 42, "/add/x/2")],
)
def test_a_web_api_in_front_of_a_service(
    grape_url: str, program: str, path: str, answer: int, wrong: str
) -> None:
    for needed in ("aiohttp",) if program == "aiohttp_app" else ("fastapi", "uvicorn"):
        if not find_spec(needed):
            pytest.skip(f"{needed} is missing")
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
    with started(f"examples/{program}.py", grape_url, str(port)) as process:
        assert get(f"http://127.0.0.1:{port}{path}") == (200, answer)
        assert get(f"http://127.0.0.1:{port}{wrong}")[0] in (404, 422)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=DEADLINE_S)
        assert (process.returncode, output) == (0, "")
