"""Our grapes among other programs' DHT nodes: bittorrent-dht 11 and libtorrent (BEP 5 and 44)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from nacl.signing import SigningKey
from twisted.internet.threads import deferToThread

from grenache_py.dht.items import signed_bytes
from tests.interop.node_programs import NodeDHT, Processes
from tests.support import rings
from tests.support.rings import post, until

pytestmark = [pytest.mark.interop, pytest.mark.network]
KEY = SigningKey(b"\x07" * 32)
NAME = "twenty-byte:service!"  # these programs know keys of 20 bytes alone
HASH = NAME.encode().hex()


def signed(value: bytes, seq: int, salt: bytes) -> dict[str, Any]:
    bencoded = b"%d:%b" % (len(value), value)
    sig = KEY.sign(signed_bytes(bencoded, seq, salt)).signature
    return {"k": KEY.verify_key.encode().hex(), "sig": sig.hex(), "seq": seq}


@pytest_twisted.ensureDeferred
async def test_bittorrent_dht(node_peers: Path, processes: Processes) -> None:
    async with rings.ring(3) as grapes:
        contacts = [f"127.0.0.1:{grape.dht_port}" for grape in grapes]
        dht = await NodeDHT(node_peers, processes, contacts).started()
        await until(lambda: all(grape.dht.status().contacts_good == 3 for grape in grapes))

        assert await dht.ask("announce", HASH, 4001)
        for grape in grapes:
            assert await post(grape.api_port, "lookup", NAME) == ["127.0.0.1:4001"]
        assert await post(grapes[0].api_port, "announce", [NAME, 4002]) == 3
        found = await dht.ask("lookup", HASH)
        assert set(found) >= {"127.0.0.1:4001", "127.0.0.1:4002"}

        target = await dht.ask("put", {"v": b"theirs".hex()})
        for grape in grapes:
            assert (await post(grape.api_port, "get", target))["v"] == "theirs"
        target = await post(grapes[0].api_port, "put", "ours")
        assert (await dht.ask("get", target, ""))["v"] == b"ours".hex()

        for seq, salt in ((1, ""), (11, ""), (1, "salt")):
            fields = signed(b"theirs", seq, salt.encode())
            target = await dht.ask(
                "put", fields | {"v": b"theirs".hex(), "salt": salt.encode().hex()}
            )
            for grape in grapes:
                item = await post(grape.api_port, "get", {"hash": target, "salt": salt})
                assert (item["v"], item["seq"], item["k"]) == ("theirs", seq, fields["k"])
            fields = signed(b"ours", seq + 5, salt.encode()) | {"v": "ours", "salt": salt}
            assert await post(grapes[1].api_port, "put", fields) == target
            item = await dht.ask("get", target, salt.encode().hex())
            assert (bytes.fromhex(item["v"]), item["seq"]) == (b"ours", seq + 5)


class Libtorrent:
    """A libtorrent session with nothing but its DHT, on loopback."""

    def __init__(self, lt: Any) -> None:
        self.alerts: list[tuple[str, dict[str, Any]]] = []
        self.session = lt.session(
            {
                "listen_interfaces": "127.0.0.1:0",
                "enable_dht": True,
                "enable_lsd": False,
                "enable_upnp": False,
                "enable_natpmp": False,
                "dht_bootstrap_nodes": "",
                "dht_restrict_routing_ips": False,
                "dht_restrict_search_ips": False,
                "dht_prefer_verified_node_ids": False,
                "dht_ignore_dark_internet": False,
                # All the nodes here share one address.
                "dht_block_ratelimit": 1_000_000,
                "dht_upload_rate_limit": 1_000_000,
                "alert_mask": lt.alert.category_t.dht_notification
                | lt.alert.category_t.dht_operation_notification,
            }
        )

    def wait_for(self, kind: str, timeout_s: float = 5.0) -> dict[str, Any]:
        """Block until an alert of ``kind`` comes; return what it says."""
        for _ in range(int(timeout_s * 20)):
            # An alert is valid only until the next ones are taken.
            for alert in self.session.pop_alerts():
                says = {
                    "peers": [tuple(each) for each in alert.peers()]
                    if hasattr(alert, "peers")
                    else [],
                    "item": getattr(alert, "item", None),
                    "seq": getattr(alert, "seq", None),
                }
                self.alerts.append((type(alert).__name__, says))
            for index, (name, says) in enumerate(self.alerts):
                if name == kind:
                    del self.alerts[: index + 1]
                    return says
            self.session.wait_for_alert(50)
        raise AssertionError(f"libtorrent gave no {kind}, only {[name for name, _ in self.alerts]}")


@pytest_twisted.ensureDeferred
async def test_libtorrent() -> None:
    lt: Any = pytest.importorskip(
        "libtorrent", reason="libtorrent has no wheel for this Python, so it cannot be asked"
    )
    async with rings.ring(3) as grapes:
        peer = Libtorrent(lt)
        for grape in grapes:
            peer.session.add_dht_node(("127.0.0.1", grape.dht_port))
        await until(lambda: all(grape.dht.status().contacts_good == 3 for grape in grapes))
        info_hash = lt.sha1_hash(NAME.encode())

        assert await post(grapes[0].api_port, "announce", [NAME, 4002]) >= 2
        peer.session.dht_get_peers(info_hash)
        reply = await deferToThread(peer.wait_for, "dht_get_peers_reply_alert")
        assert ("127.0.0.1", 4002) in reply["peers"]
        peer.session.dht_announce(info_hash, 4001, 0)

        async def found() -> bool:
            answers = [await post(grape.api_port, "lookup", NAME) for grape in grapes]
            return all("127.0.0.1:4001" in answer for answer in answers)

        for _ in range(100):
            if await found():
                break
            await rings.sleep(0.05)
        assert await found()

        target = peer.session.dht_put_immutable_item(b"theirs")
        await deferToThread(peer.wait_for, "dht_put_alert")
        for grape in grapes:
            assert (await post(grape.api_port, "get", str(target)))["v"] == "theirs"
        ours = await post(grapes[0].api_port, "put", "ours")
        peer.session.dht_get_immutable_item(lt.sha1_hash(bytes.fromhex(ours)))
        item = await deferToThread(peer.wait_for, "dht_immutable_item_alert")
        assert item["item"] == b"ours"

        public = KEY.verify_key.encode()
        # libtorrent signs with the expanded key: scalar and prefix, not the seed.
        expanded = bytearray(hashlib.sha512(bytes(KEY)).digest())
        expanded[0] &= 248
        expanded[31] = expanded[31] & 63 | 64
        peer.session.dht_put_mutable_item(bytes(expanded), public, b"theirs", b"salt")
        await deferToThread(peer.wait_for, "dht_put_alert")
        target = hashlib.sha1(public + b"salt").hexdigest()
        for grape in grapes:
            item = await post(grape.api_port, "get", {"hash": target, "salt": "salt"})
            assert (item["v"], item["k"]) == ("theirs", public.hex())
        fields = signed(b"ours", item["seq"] + 1, b"salt") | {"v": "ours", "salt": "salt"}
        assert await post(grapes[1].api_port, "put", fields) == target
        peer.session.dht_get_mutable_item(public, b"salt")
        # It tells of each newer version it comes across; one grape has kept the first.
        answer = await deferToThread(peer.wait_for, "dht_mutable_item_alert")
        while answer["seq"] != item["seq"] + 1:
            answer = await deferToThread(peer.wait_for, "dht_mutable_item_alert")
        assert answer["item"] == b"ours"
