"""
What can be looked at while no daemon answers: who has the data directory, settings, ports, disk.

Edge: reads files, tries ports.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from grenache_py.alarms import ENDS_S_MIN, PEER, ends_on
from grenache_py.errors import ConfigError
from grenache_py.exchange.cli.diagnosis import Finding
from grenache_py.exchange.condition.symptoms import DISK_FREE_BYTES_MIN
from grenache_py.exchange.settings.config import TABLE, ExchangeConfig, from_settings
from grenache_py.exchange.settings.secret_files import KEY_NAME, read_identity, read_tokens
from grenache_py.exchange.storage.directory_lock import holder
from grenache_py.options import LOGGING
from grenache_py.plain_text import harmless

__all__ = ["examine_offline"]


def examine_offline(why: str, config_file: str | None, data: str | None) -> list[Finding]:
    """
    Check what a daemon needs, without one.

    Args:
        why: what happened when the daemon was asked.
        config_file: its TOML file; None for the defaults.
        data: its data directory; None for that of the file.
    """
    findings = [Finding("daemon", "bad", why, "What it needs is looked at below.")]
    try:
        config = _settings(config_file)
    except ConfigError as error:
        findings.append(Finding("settings", "bad", f"{config_file}: {error}", "Mend the file."))
        return findings
    if config_file:
        findings.append(Finding("settings", "good", f"{config_file} can be read"))
    directory = data or config.data
    findings += [*_directory(directory, config.identity), *_tokens(config), *_disk(directory)]
    if not any(finding.what == "directory" and "process" in finding.found for finding in findings):
        findings += _ports(config)
    return findings


def _settings(file: str | None) -> ExchangeConfig:
    if file is None:
        return from_settings()
    try:
        written = TABLE.from_toml(Path(file).read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(getattr(error, "strerror", None) or "it is not UTF-8") from None
    return from_settings({k: v for k, v in written.items() if k.replace("_", "-") not in LOGGING})


def _directory(directory: str, identity: str) -> Iterator[Finding]:
    if not os.path.isdir(directory):
        yield Finding(
            "directory",
            "note",
            f"there is no data directory {directory}",
            "The first start makes it. Name another with --data.",
        )
        return
    try:
        pid = holder(directory)
    except OSError as error:
        yield Finding("directory", "bad", f"{directory}: {error.strerror}", "Look at its owner.")
        return
    if pid is None:
        yield Finding("directory", "good", f"no daemon uses {directory}", "Start one.")
    else:
        yield Finding(
            "directory",
            "note",
            f"process {pid or '?'} uses {directory}",
            "A daemon runs: it listens elsewhere (--connect, --unix), is starting, or hangs. Its"
            " log says which.",
        )
    key = identity or os.path.join(directory, KEY_NAME)
    if os.path.exists(key):
        try:
            yield Finding("identity", "good", f"peer {read_identity(Path(key)).key}")
        except ConfigError as error:
            yield Finding("identity", "bad", str(error), "Restore it from a copy.")


def _tokens(config: ExchangeConfig) -> Iterator[Finding]:
    if config.tokens_file:
        try:
            first = read_tokens(config.tokens_file).first_end
        except ConfigError as error:
            yield Finding("tokens", "bad", str(error), "Mend the file.")
            return
        now, id = time.time(), "token-expires"
        if first is not None and first[0] - now < ENDS_S_MIN:
            found = f"token number {first[1]} of {config.tokens_file} {ends_on(first[0], now)}"
            yield Finding("tokens", "warning", found, PEER[id].advice, id)
        else:
            yield Finding("tokens", "good", f"{config.tokens_file} can be read")


def _disk(directory: str) -> Iterator[Finding]:
    there = directory if os.path.isdir(directory) else os.path.dirname(directory) or "."
    try:
        disk = os.statvfs(there)
    except OSError as error:
        yield Finding("disk", "bad", f"{there}: {error.strerror}", "Make it, or name another.")
        return
    free = disk.f_bavail * disk.f_frsize
    found = f"{free / 1_048_576:.0f} MiB are free at {there}"
    if free < DISK_FREE_BYTES_MIN:
        yield Finding("disk", "warning", found, "Make room.", "disk-low")
    else:
        yield Finding("disk", "good", found)


def _ports(config: ExchangeConfig) -> Iterator[Finding]:
    """Whether the TCP ports that are asked for can be listened on."""
    for name, endpoints in (
        ("client", config.client),
        ("peer", config.peer),
        ("http", config.http),
    ):
        for endpoint in endpoints:
            found = re.match(r"(?:tcp|ssl):([0-9]+)(?:.*?:interface=([^:]*))?", endpoint)
            if found and int(found[1]):
                yield _port(name, endpoint, found[2] or "", int(found[1]))


def _port(name: str, endpoint: str, host: str, port: int) -> Finding:
    with socket.socket() as trying:
        trying.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trying.bind((host, port))
        except OSError as error:
            advice = "Another program listens there: `ss -ltnp` shows which."
            return Finding(
                "ports",
                "bad",
                f"{name} {harmless(endpoint)}: {error.strerror}",
                advice if error.errno == errno.EADDRINUSE else "Give it another address.",
            )
    return Finding("ports", "good", f"{name} {harmless(endpoint)} is free")
