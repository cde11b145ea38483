"""
Every recorded exchange with real Node grapes, replayed against ours.

The vectors hold raw bytes. What differs on purpose stands in the tables below with the
reason, and in docs/grape-http.rst; everything else must come out the same, byte for byte
but for dates, node ids and tokens.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from tests.support.rings import connect, exchange, ring

pytestmark = pytest.mark.network
VECTORS = Path(__file__).parent.parent / "vectors"
DATE = "Sun, 22 Nov 2026 13:34:51 GMT"

KEEP = "Date: *\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n"
BAD_REQUEST = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"
OUT_OF_RANGE = "Node dies; no service can have such a port"
EMPTY_NAME = "an empty name poisons a table of Node's, so that it dies later; it is refused"
EMPTY_HASH = "Node dies; nothing can be stored there"
ZERO = "Node's grapes ignore a put of 0 or false until it times out; ours store it"
VERIFIED = "Node's command has no verifier; ours has, so mutable items work"
TOO_LARGE = "Node keeps a value here that no other grape takes; ours keeps none"


def ok(body: str) -> str:
    return f"HTTP/1.1 200 OK\r\n{KEEP}Content-Length: {len(body)}\r\n\r\n{body}"


MUTABLE = (
    '{"id":"*","k":"77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548","seq":1,'
    '"sig":"305ac8aeb6c9c151fa120f120ea2cfb923564e11552d06a5d856091e5e853cff1260d3f39e4999684'
    'aa92eb73ffd136e6f4f3ecbfda0ce53a1608ecd7ae21f01","token":"*","v":"Hello World!"}'
)
API_DEVIATIONS = {
    "http11_no_host": (BAD_REQUEST, "Node adds an empty chunked body to this one refusal"),
    "no_content_length": (
        f"HTTP/1.1 500 Internal Server Error\r\n{KEEP}Content-Length: 25\r\n\r\n"
        f"ERR_GRAPE_PAYLOAD_INVALID{BAD_REQUEST}",
        "Node forgets to answer a request when what follows it is none",
    ),
    "announce_port_negative": (ok('"ERR_GRAPE_SERVICE_PORT"'), OUT_OF_RANGE),
    "announce_port_65536": (ok('"ERR_GRAPE_SERVICE_PORT"'), OUT_OF_RANGE),
    "announce_port_1e9": (ok('"ERR_GRAPE_SERVICE_PORT"'), OUT_OF_RANGE),
    "announce_name_empty": (ok('"ERR_GRAPE_ANNOUNCE"'), EMPTY_NAME),
    "lru4_announce_empty": (ok('"ERR_GRAPE_ANNOUNCE"'), EMPTY_NAME),
    "lru6_announce_empty": (ok('"ERR_GRAPE_ANNOUNCE"'), EMPTY_NAME),
    "get_empty": (ok(""), EMPTY_HASH),
    "lru3_get_zz": (ok(""), EMPTY_HASH),
    "put_v_zero": (ok('"a6488b97c65e2fc2befd4261f70ac5570c7a7e42"'), ZERO),
    "put_v_false": (ok('"a6488b97c65e2fc2befd4261f70ac5570c7a7e42"'), ZERO),
    "get_v_999_euro": (ok(""), TOO_LARGE),
    "get_v_999_euro_B": (ok(""), TOO_LARGE),
    "put_mutable_valid": (ok('"4a533d47ec9c7d95b1ad75f576cffc641853b750"'), VERIFIED),
    "get_mutable": (
        ok(MUTABLE).replace(f"Length: {len(MUTABLE)}", f"Length: {len(MUTABLE) + 39 + 39}"),
        VERIFIED,
    ),
    "body_cl_too_long": (
        "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n",
        "Node waits five minutes for the rest of a body",
    ),
}
ABBREVIATED: dict[str, object] = {
    "announce_name_7000bytes": ["n" * 7000, 1337],
    "lookup_name_7000bytes": "n" * 7000,
    "announce_name_70000bytes": ["n" * 70000, 1337],
    "put_v_999": {"v": "a" * 999},
    "put_v_1000": {"v": "a" * 1000},
    "put_v_1001": {"v": "a" * 1001},
    "body_8192": "x" * (8192 - 21),
    "body_8193_cli": "x" * (8193 - 21),
    "body_100k_cli": 5,
}
"""The data of requests too long to have been recorded whole."""


def recorded_request(case: dict[str, Any]) -> bytes:
    if case.get("request_hex"):
        return bytes.fromhex(case["request_hex"])
    request: bytes = case["request"].encode()
    if case["name"] not in ABBREVIATED:
        return request
    head = request.partition(b"\r\n\r\n")[0]
    length = int(re.search(rb"Content-Length: (\d+)", head)[1])  # type: ignore[index]
    envelope = {"rid": "r", "data": ABBREVIATED[case["name"]]}
    if case["name"] == "body_100k_cli":
        envelope["pad"] = "x" * 100_000
    body = json.dumps(envelope, separators=(",", ":")).encode()
    assert len(body) == length
    return head + b"\r\n\r\n" + body


def normal(data: bytes) -> str:
    """Blank out what differs from run to run."""
    text = re.sub(r"Date: [^\r]*", "Date: *", data.decode("utf-8", "replace"))
    text = re.sub(r'"id":"[0-9a-f]{40}"', '"id":"*"', text)
    return re.sub(r'"token":"[0-9a-f]{40}"', '"token":"*"', text)


def real(text: str) -> bytes:
    """Undo `normal`, for the length."""
    for blank in ('"id":"*"', '"token":"*"'):
        text = text.replace(blank, blank.replace("*", "0" * 40))
    return text.replace("Date: *", f"Date: {DATE}").encode()


@pytest_twisted.ensureDeferred
async def test_every_recorded_exchange_with_the_http_api() -> None:
    cases = json.loads((VECTORS / "grape_http_api.json").read_text())["cases"]
    wrong: list[str] = []
    # As recorded: the command's grape, which has no payload limit.
    async with ring(2, payload_bytes_max=1 << 20, request_timeout_s=0.2) as (b, a):
        for case in cases:
            name, request = case["name"], recorded_request(case)
            expected, why = API_DEVIATIONS.get(
                name, (normal(bytes.fromhex(case.get("response_hex") or "")), "")
            )
            if name == "lookup_port_0":
                expected = ok(f'["127.0.0.1:{a.dht_port}"]')
            port = b.api_port if b"127.0.0.1:31002" in request else a.api_port
            assert port is not None
            ends = case["end"] == "closed" and name not in API_DEVIATIONS
            received, closed = await exchange(
                port,
                request,
                1 << 20 if ends else len(real(expected)),
                half_close=name == "body_cl_then_close",
                timeout_s=60.0,
            )
            if normal(received) != expected:
                wrong.append(f"{name}: {normal(received)[:300]!r}\n  not {expected[:300]!r} {why}")
            if ends and not closed:
                wrong.append(f"{name}: the connection stayed open")
    assert not wrong, "\n".join(wrong)


@pytest_twisted.ensureDeferred
async def test_the_recorded_payload_limits() -> None:
    """Of the two ways to start a Node grape ours is the one that has a limit."""
    recorded = json.loads((VECTORS / "grape_http_payload_limit.json").read_text())
    async with ring(1) as (grape,):
        for case in recorded["cases"]:
            if case["mode"] == "cli":
                continue
            size = case["body_bytes"]
            body = b'{"rid":"r","data":"%b"}' % (b"x" * (size - 21))
            client = await connect(grape.api_port)
            client.transport.write(
                b"POST /lookup HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (size, body)
            )
            answer = ok("[]") if case["status"] == 200 else normal(recorded["raw_413"].encode())
            assert normal(await client.read(len(real(answer)), 3.0)) == answer, case
            # The connection is as good as before.
            client.received = b""
            client.transport.write(b"HEAD /nope HTTP/1.1\r\nHost: a\r\n\r\n")
            assert b"500 Internal" in await client.read(20, 3.0)
            client.transport.abortConnection()


TRACE_DEVIATIONS = {
    "get_local_verify_true_crash": "Node dies: it takes `true` for its verifier",
}


@pytest_twisted.ensureDeferred
async def test_the_recorded_trace_of_stored_items() -> None:
    """Two grapes with verifiers: mutable items, salts, cas and sequence numbers."""
    steps = json.loads((VECTORS / "bep44_grape_trace.json").read_text())["steps"]
    wrong: list[str] = []
    async with ring(2) as (b, a):
        ports = {31001: a.api_port, 31002: b.api_port}
        for step in steps:
            expected = normal(f"HTTP/1.1 {step['status']} \r\n\r\n{step['body']}".encode())
            received, _ = await exchange(
                ports[step["http_port"]],
                step["http_request"].replace("Host:", "Connection: close\r\nHost:").encode(),
                1 << 20,
                timeout_s=60.0,
            )
            head, _, body = normal(received).partition("\r\n\r\n")
            answer = f"HTTP/1.1 {head[9:12]} \r\n\r\n{body}"
            if step["name"] not in TRACE_DEVIATIONS and answer != expected:
                wrong.append(f"{step['name']}: {answer!r}\n  not {expected!r} {step['note']}")
            assert received, step["name"]
    assert not wrong, "\n".join(wrong)


@pytest_twisted.ensureDeferred
async def test_the_recorded_conversations_of_nodes_link() -> None:
    connections = json.loads((VECTORS / "link_http_client.json").read_text())["connections"]
    async with ring(2) as (_, a):
        for connection in connections:
            client = await connect(a.api_port)
            for segment in connection["exchange"]:
                if "hex" not in segment:
                    continue
                data = bytes.fromhex(segment["hex"])
                if segment["dir"] == "client":
                    client.received = b""
                    client.transport.write(data)
                else:
                    assert normal(await client.read(len(data), 3.0)) == normal(data)
            client.transport.loseConnection()


@pytest_twisted.ensureDeferred
async def test_the_recorded_runs_of_grenache_cli() -> None:
    """What its tools sent is answered as they saw it answered, whatever they made of it."""
    runs = json.loads((VECTORS / "cli_grenache_cli.json").read_text())["runs"]
    wrong: list[str] = []
    async with ring(2) as (_, a):
        for run in runs:
            for recorded in run["http"]:
                request = recorded["request"].encode("latin-1")
                if not request.startswith(b"POST ") or not recorded["response"]:
                    continue  # TLS, which this grape was not asked to speak
                head, _, body = request.partition(b"\r\n\r\n")
                if b"Content-Length: %d\r\n" % len(body) not in head + b"\r\n":
                    continue  # too long to have been recorded whole
                received, closed = await exchange(a.api_port, request, 1 << 20, timeout_s=3.0)
                expected = normal(recorded["response"].encode("latin-1"))
                if normal(received) != expected or not closed:
                    wrong.append(f"{run['argv']}: {normal(received)!r}\n  not {expected!r}")
    assert not wrong, "\n".join(wrong)
