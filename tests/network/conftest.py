"""A network of a test's own; see ``hosts.py``."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.network.hosts import Network, missing


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    """A switch without hosts."""
    lacking = missing()
    if lacking:
        pytest.skip(lacking)
    made = Network(tmp_path / "network")
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def nat_network(network: Network) -> Network:
    """The same, where the machine can also do NAT."""
    if not shutil.which("nft"):
        pytest.skip("NAT needs nftables")
    return network
