"""The Link on real grapes of ours that come and go."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytest_twisted

from grenache_py.link import GrapeRefused, GrapeUnreachable, ItemKey, Link
from tests.support import rings
from tests.support.rings import REACTOR, until

pytestmark = pytest.mark.network
KEY = ItemKey.from_seed(bytes(range(32)))


def url(grape) -> str:
    return f"http://127.0.0.1:{grape.api_port}"


@pytest_twisted.ensureDeferred
async def test_everything_a_link_does() -> None:
    async with rings.ring(3, "link") as grapes:
        one, two, three = (Link(url(grape), REACTOR) for grape in grapes)
        assert await one.lookup("svc") == []
        assert await one.announce("svc", 1337) == 2
        assert await two.lookup("svc") == await three.lookup("svc") == ["127.0.0.1:1337"]
        target = await one.put("Hello ✓")
        item = await three.get(target)
        assert item is not None
        assert (item.value, item.public_key) == ("Hello ✓", None)
        for salt in ("", "foobar", "[65]", b"\xff\x00"):
            target = await one.put_mutable("v1", KEY, 5, salt=salt)
            item = await three.get(target, salt=salt)
            assert item is not None, salt
            assert (item.value, item.seq, item.public_key) == ("v1", 5, KEY.public)
        with pytest.raises(GrapeRefused) as refused:
            await one.put_mutable("v0", KEY, 4)
        assert refused.value.status == 302
        for link in (one, two, three):
            await link.close()


@pytest_twisted.ensureDeferred
async def test_a_service_stays_announced_while_its_grape_is_away() -> None:
    async with rings.ring(3, "away") as grapes:
        link = Link([url(grape) for grape in grapes[:2]], REACTOR, attempt_timeout_s=1.0)
        watcher = Link(url(grapes[2]), REACTOR, cache_ttl_s=0.0)
        running = link.start_announcing("svc", 1337, every_s=0.2)
        await running.when_announced()
        first = grapes.pop(0)
        await first.stopService()
        gone_at = REACTOR.seconds()
        await until(lambda: (running.last_success or 0.0) > gone_at)
        assert running.last_error is None
        assert link.grapes[0] == url(grapes[0])
        assert await watcher.lookup("svc") == ["127.0.0.1:1337"]

        second = grapes.pop(0)
        await second.stopService()
        await until(lambda: isinstance(running.last_error, GrapeUnreachable))
        await link.close()
        await watcher.close()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("host", [None, "127.0.0.1"])
async def test_a_grape_that_is_alone_serves(host: str | None) -> None:
    async with rings.ring(1, "alone", host=host) as [grape]:
        link = Link(url(grape), REACTOR)
        assert await link.announce("svc", 1337) == 1
        assert await link.lookup("svc") == ["127.0.0.1:1337"]
        for target in (await link.put("v"), await link.put_mutable("v", KEY, 1)):
            item = await link.get(target)
            assert item is not None
            assert item.value == "v"
        await link.close()


@pytest_twisted.ensureDeferred
async def test_the_survivor_of_a_pair_serves_and_tells_who_comes_next() -> None:
    async with rings.ring(2, "survivor", host=None) as grapes:
        dead, survivor = grapes
        link = Link(url(survivor), REACTOR)
        await dead.stopService()
        grapes.remove(dead)
        assert await link.announce("svc", 1337) == 1
        assert await link.lookup("svc") == ["127.0.0.1:1337"]
        target = await link.put_mutable("v", KEY, 1)
        third = rings.make_grape("third", bootstrap=(f"127.0.0.1:{survivor.dht_port}",), host=None)
        third.startService()
        grapes.append(third)
        await until(lambda: third.dht.status().items > 0 and third.dht.status().peers > 0, 10)
        fresh = Link(url(third), REACTOR)
        assert await fresh.lookup("svc") == ["127.0.0.1:1337"]
        assert await fresh.get(target) is not None
        await link.close()
        await fresh.close()


@pytest_twisted.ensureDeferred
async def test_a_grape_that_was_away_answers_the_newest_version(tmp_path: Path) -> None:
    async with rings.ring(2, "while away") as grapes:
        contacts = (f"127.0.0.1:{grapes[0].dht_port}",)
        state = {"state_file": str(tmp_path / "state"), "bootstrap": contacts}
        keeper = rings.make_grape("keeper", **state)
        keeper.startService()
        grapes.append(keeper)
        await until(lambda: keeper.dht.status().contacts_good == 2)
        writer = Link(url(grapes[0]), REACTOR)
        target = await writer.put_mutable("old", KEY, 1)
        await until(lambda: keeper.dht.status().items == 1)
        await keeper.stopService()
        grapes.remove(keeper)
        assert await writer.put_mutable("new", KEY, 2) == target

        again = rings.make_grape("keeper again", **state)
        again.startService()
        grapes.append(again)
        assert again.dht.status().items == 1
        await until(lambda: again.dht.status().contacts_good == 2)
        link = Link(url(again), REACTOR)
        for fresh in (False, True):
            item = await link.get(target, fresh=fresh)
            assert item is not None
            assert (item.value, item.seq) == ("new", 2)
        await link.close()
        await writer.close()
