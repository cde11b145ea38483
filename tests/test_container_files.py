"""The image, the compose file and what they name: in step with the code, without any engine."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from grenache_py import __version__
from grenache_py.exchange import tap as exchange_tap
from grenache_py.exchange.settings import secret_files
from grenache_py.exchange.settings.secret_files import read_identity
from grenache_py.grape import tap as grape_tap
from grenache_py.service import STOP_TIMEOUT_S
from tests.test_known_flaws import ALL, FLAWS, came_along

ROOT = Path(__file__).parent.parent
CONTAINER = ROOT / "etc" / "container"
DOCKERFILE = (CONTAINER / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((CONTAINER / "compose.yaml").read_text())
OURS = {
    name: service for name, service in COMPOSE["services"].items() if "build" in service
}  # the rest is other people's
PINS = [
    Requirement(line)
    for line in (CONTAINER / "constraints.txt").read_text().splitlines()
    if not line.startswith("#")
]


def test_there_are_three_grapes_three_peers_and_what_watches_them() -> None:
    assert sorted(COMPOSE["services"]) == [
        *("grafana", "grape-1", "grape-2", "grape-3"),
        *("peer-a", "peer-b", "peer-c", "prometheus"),
    ]


@pytest.mark.parametrize("name", OURS)
def test_a_container_is_started_with_options_that_there_are(name: str) -> None:
    service = OURS[name]
    words = [*service["entrypoint"], *service.get("command", ())]
    words = [re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", word) for word in words]
    if words[0] == "grape":
        grape = grape_tap.Options()
        grape.parseOptions(words[1:])
        assert set(grape.grape.bootstrap) == {
            f"{other}:20001" for other in OURS if "grape" in other and other != name
        }
        assert grape.grape.metrics
        return
    assert words[:4] == ["twistd", "-n", "--pidfile=", "exchange"]
    place = words.index("--config") + 1
    assert words[place] == "/etc/grenache/exchange.toml"
    words[place] = str(CONTAINER / "exchange.toml")
    peer = exchange_tap.Options()
    peer.parseOptions(words[4:])
    assert peer.exchange.tokens_file == f"/run/secrets/{service['secrets'][0]}"
    assert set(peer.exchange.bootstrap) == {f"{other}:20001" for other in OURS if "grape" in other}


@pytest.mark.parametrize("name", OURS)
def test_a_container_may_little_and_has_limits(name: str) -> None:
    service = OURS[name]
    assert service["read_only"] and service["cap_drop"] == ["ALL"]
    assert {"mem_limit", "pids_limit", "ulimits", "logging", "healthcheck"} <= service.keys()
    assert service["volumes"] == [f"{name}:/data"]
    for port in service.get("ports", ()):
        # What asks for no key or token is for this machine.
        assert port.startswith("127.0.0.1:") or port in {"7071:7071", "20001:20001/udp"}


def test_every_file_that_is_mounted_is_there() -> None:
    mounts = [
        volume.split(":")[0]
        for service in COMPOSE["services"].values()
        for volume in service["volumes"]
    ]
    volumes = {name for name in mounts if not name.startswith(".")}
    assert volumes == set(COMPOSE["volumes"])
    for name in mounts:
        assert name in volumes or (CONTAINER / name).exists(), name


def test_the_secrets_are_those_that_the_script_makes(tmp_path: Path) -> None:
    script = tmp_path / "make-secrets"
    script.write_text((CONTAINER / "make-secrets").read_text())
    for _ in range(2):  # the second time changes nothing
        subprocess.run(["sh", script], check=True, timeout=30, env={"PATH": os.environ["PATH"]})
    for secret in COMPOSE["secrets"].values():
        assert (tmp_path / secret["file"]).stat().st_mode & 0o777 == 0o444
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    token = (tmp_path / "secrets" / "trader.token").read_text()
    assert f'"{token}"' in (tmp_path / "secrets" / "tokens.toml").read_text()
    assert len(token) == 48


def test_prometheus_watches_every_container() -> None:
    jobs = yaml.safe_load((CONTAINER / "prometheus.yml").read_text())["scrape_configs"]
    watched = {job["job_name"]: job["static_configs"][0]["targets"] for job in jobs}
    assert watched == {
        "grape": [f"{name}:30001" for name in OURS if "grape" in name],
        "exchange": [f"{name}:7080" for name in OURS if "peer" in name],
    }


def test_the_image_is_built_in_two_stages_for_a_user_with_a_number() -> None:
    assert re.findall(r"^FROM (.*)$", DOCKERFILE, re.M) == ["${BASE} AS build", "${BASE}"]
    assert re.findall(r"^USER (.*)$", DOCKERFILE, re.M) == ["7071:7071"]
    assert f"ARG VERSION={__version__}\n" in DOCKERFILE
    (base,) = re.findall(r"^ARG BASE=(.*)$", DOCKERFILE, re.M)
    assert re.fullmatch(r"docker\.io/library/python:\d+\.\d+\.\d+-slim-\w+", base)
    assert {service["build"]["args"]["BASE"] for service in OURS.values()} == {f"${{BASE:-{base}}}"}


def test_the_image_gets_the_files_that_it_copies() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split()
    for line in re.findall(r"^COPY (?!--)(.*)$", DOCKERFILE, re.M):
        for file in line.split()[:-1]:
            assert (ROOT / file).exists(), file
            assert f"!{file}" in ignored or f"!{Path(file).parent}" in ignored, file


def test_the_daemon_of_the_image_listens_where_others_can_reach_it() -> None:
    options = exchange_tap.Options()
    options.parseOptions(["--config", str(CONTAINER / "exchange.toml")])
    config = options.exchange
    assert (config.client, config.peer, config.http) == (
        ("tcp:7070",),
        ("tcp:7071",),
        ("tcp:7080",),
    )
    assert config.data == "/data"


def test_the_image_has_one_version_of_each_package_that_comes_along() -> None:
    assert all(re.fullmatch(r"==[\w.]+", str(pin.specifier)) for pin in PINS)
    pinned = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in PINS}
    assert set(pinned) == came_along("postgresql") | {"setuptools"}
    for requirement in ALL:
        name = canonicalize_name(requirement.name)
        if name in pinned:
            assert requirement.specifier.contains(pinned[name]), f"{requirement}: {pinned[name]}"
    for name, fixed, number, _ in FLAWS:
        if name in pinned:
            assert Version(pinned[name]) >= Version(fixed), f"{name} {pinned[name]} has {number}"


# Grafana.

DASHBOARDS = sorted((ROOT / "etc/grafana").glob("*.json"))


def test_grafana_is_given_the_dashboards_and_the_prometheus_that_they_ask() -> None:
    mounted = dict(volume.split(":")[:2] for volume in COMPOSE["services"]["grafana"]["volumes"])
    provisioned = {
        Path(inside).parent.name: yaml.safe_load((CONTAINER / outside).read_text())
        for outside, inside in mounted.items()
        if inside.startswith("/etc/grafana/provisioning/")
    }
    assert {each["apiVersion"] for each in provisioned.values()} == {1}
    (provider,) = provisioned["dashboards"]["providers"]
    assert mounted["../grafana"] == provider["options"]["path"]
    (source,) = provisioned["datasources"]["datasources"]
    (port,) = COMPOSE["services"]["prometheus"]["ports"]
    assert source["isDefault"] and source["url"] == f"http://prometheus:{port.split(':')[-1]}"
    scraping = yaml.safe_load((CONTAINER / "prometheus.yml").read_text())["global"]
    assert source["jsonData"]["timeInterval"] == scraping["scrape_interval"]
    for file in DASHBOARDS:
        variable, *_ = json.loads(file.read_text())["templating"]["list"]
        assert (variable["type"], variable["query"]) == ("datasource", source["type"])


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_grafanas_own_schema_has_every_field_of_a_dashboard(file: Path) -> None:
    """What Grafana's library reads and writes again is what was there; unknown fields it drops."""
    plugins, encoder, models = (
        pytest.importorskip(f"grafana_foundation_sdk.{module}", reason="comes with: containers")
        for module in ("cog.plugins", "cog.encoder", "models.dashboard")
    )
    plugins.register_default_plugins()
    ours = json.loads(file.read_text())
    dashboard = models.Dashboard.from_json(ours)
    theirs = json.loads(encoder.JSONEncoder().encode(dashboard))
    assert without_more(theirs, ours) == ours
    for panel, read in zip(ours["panels"], dashboard.panels, strict=True):
        assert panel["type"] in type(read.options).__module__  # not a plain object: it is checked
        assert all("prometheus" in type(each).__module__ for each in read.targets)


def without_more(found: Any, wanted: Any) -> Any:
    """``found`` without what ``wanted`` has not: defaults that the library writes out."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        return {name: without_more(found[name], wanted[name]) for name in found.keys() & wanted}
    if isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        return [without_more(one, other) for one, other in zip(found, wanted, strict=True)]
    return found


# Two daemons on a database with a standby.

STANDBY: dict[str, Any] = yaml.safe_load((CONTAINER / "standby/compose.yaml").read_text())
PATRONI: dict[str, Any] = yaml.safe_load((CONTAINER / "standby/patroni.yml").read_text())


def test_daemons_stand_by_for_each_other_at_every_database_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = STANDBY["services"]
    hosts = [name for name in services if name.startswith("database")]
    daemons = [name for name in services if name.startswith("exchange")]
    assert sorted(services) == sorted([*hosts, *daemons, "etcd"])
    assert (len(hosts), len(daemons)) == (2, 2)
    subprocess.run(
        ["sh", shutil.copy(CONTAINER / "standby/make-secrets", tmp_path)],
        check=True, timeout=30, env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    for secret in STANDBY["secrets"].values():
        assert (tmp_path / secret["file"]).stat().st_mode & 0o777 == 0o444
    for name in daemons:
        *_, script, end = services[name]["entrypoint"]
        assert end == "--" and "exec twistd -n --pidfile= exchange " in script
        shared = script.partition(" exchange ")[2].replace('"$$@"', "").split()
        shared[shared.index("--config") + 1] = str(CONTAINER / "exchange.toml")
        options = exchange_tap.Options()
        options.parseOptions([*shared, *services[name]["command"]])
        assert options.exchange.standby
        address = f"postgresql://exchange@{','.join(hosts)}/exchange"
        assert options.exchange.store == address
        for secret in services[name]["secrets"]:
            assert f"/run/secrets/{secret}" in f"{script}{services[name]['command']}"
        assert services[name]["read_only"] and services[name]["volumes"] == [f"{name}:/data"]
        assert options.exchange.identity == "/run/secrets/identity.key"
    monkeypatch.setattr(secret_files, "CONTAINER_SECRETS", f"{tmp_path}/secrets/")
    assert read_identity(tmp_path / "secrets/identity.key")


def test_patroni_never_lets_one_disk_acknowledge() -> None:
    settings = PATRONI["bootstrap"]["dcs"]
    assert settings["synchronous_mode"] and settings["synchronous_mode_strict"]
    assert settings["ttl"] >= settings["loop_wait"] + 2 * settings["retry_timeout"]
    assert (CONTAINER / "standby" / Path(PATRONI["bootstrap"]["post_init"]).name).exists()
    for name in ("database-1", "database-2"):
        environment = STANDBY["services"][name]["environment"]
        assert environment["PATRONI_NAME"] == name
        assert environment["PATRONI_POSTGRESQL_CONNECT_ADDRESS"] == f"{name}:5432"


# Kubernetes.

MANIFESTS = list(yaml.safe_load_all((ROOT / "etc/kubernetes/exchange.yaml").read_text()))


def test_a_pod_runs_as_the_images_user_with_an_identity_of_its_own() -> None:
    (peers,) = (each["spec"] for each in MANIFESTS if each["kind"] == "StatefulSet")
    pod = peers["template"]["spec"]
    (container,) = pod["containers"]
    assert container["args"][:4] == ["twistd", "-n", "--pidfile=", "exchange"]
    words = [
        word.replace("/etc/grenache/exchange.toml", str(CONTAINER / "exchange.toml"))
        for word in container["args"][4:]
    ]
    options = exchange_tap.Options()
    options.parseOptions(words)
    bootstrap = [
        f"{peers['serviceName']}-{number}.{peers['serviceName']}:20001"
        for number in range(peers["replicas"])
    ]
    assert list(options.exchange.bootstrap) == bootstrap
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 7071
    # With Always, the default, identity.key would become writable for the group at each start.
    assert pod["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    (claim,) = peers["volumeClaimTemplates"]
    assert mounts[claim["metadata"]["name"]] == options.exchange.data
    assert options.exchange.tokens_file.startswith(mounts["tokens"])
    assert pod["terminationGracePeriodSeconds"] > STOP_TIMEOUT_S


@pytest.mark.parametrize("number", range(len(MANIFESTS)))
def test_kubernetes_accepts_every_object(number: int) -> None:
    schemas = pytest.importorskip("kubernetes_validate", reason="comes with: containers")
    schemas.validate(MANIFESTS[number], schemas.latest_version(), strict=True)


# The health check.


@contextmanager
def page(answer: bytes, status: int = 200) -> Iterator[str]:
    """Something that answers every GET."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/health"
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def healthy(url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, CONTAINER / "healthy"],
        env={"PATH": os.environ["PATH"], "HEALTH_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.network
def test_who_serves_is_healthy_and_who_says_no_is_not() -> None:
    with page(b'{"status": "ok"}') as url:
        assert (healthy(url).returncode, healthy(url).stderr) == (0, "")
    done = healthy(url)  # nobody is there any more
    assert done.returncode == 1 and "refused" in done.stderr
    with page(b'{"ok": false, "alarms": ["an old copy"]}', 503) as url:
        done = healthy(url)
    assert done.returncode == 1 and "503" in done.stderr and "an old copy" in done.stderr
    with page(b'{"ok": false, "store": "standby", "alarms": []}', 503) as url:
        assert healthy(url).returncode == 0
    with page(b"not JSON", 503) as url:
        assert healthy(url).returncode == 1


@pytest.mark.network
def test_a_peer_port_that_does_not_answer_is_not_healthy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        place = f"127.0.0.1:{deaf.getsockname()[1]}"
        with page(b'{"listen": {"peer": ["%s"]}}' % place.encode()) as url:
            done = healthy(url)
    assert done.returncode == 1 and f"peer port {place}: timed out" in done.stderr
