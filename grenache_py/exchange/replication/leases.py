"""
Which homes have shown that they live: the newest statement of each, and how far its chain is known.

Pure. See docs/design/leases.rst. A pulse does not name its home. It is found by its value, or by
its hashes, which are values that were known before. Somebody may sign other homes' values as its
own anchor, so *all* homes that are found on the way move on, and a value of a statement is looked
for like a pulse (docs/design/leases.rst#lease-rules).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import attrs

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.signed_log.hybrid_clock import AHEAD_MS_MAX
from grenache_py.exchange.signed_log.merkle import Verifier
from grenache_py.exchange.signed_log.statement import VALUE_BYTES, LifeStatement, earlier

__all__ = ["STEPS_MAX", "Lease", "Leases"]

#: A pulse is looked for so many steps back: so many in a row may be missed.
STEPS_MAX = 6
#: A home that has not moved for so long may have been missed because another one stands before it.
#: Then all steps are looked at, for so long at most.
BEHIND_MS, BEHIND_MS_MAX = 15_000, 75_000


@attrs.define(eq=False)
class Lease:
    """
    What shows that one home lives.

    Attributes:
        statement, data: the newest, and the bytes that it was read from.
        number, value: the newest pulse of its chain that is known here; 0 is the anchor.
        knows, holds: which links know the statement, and that value: a bit each.
        former: the statement before, whose chain may still be shown: by another machine.
    """

    statement: LifeStatement
    data: bytes
    number: int
    value: bytes
    knows: int = 0
    holds: int = 0
    former: Lease | None = None

    @property
    def twofold(self) -> bool:
        """
        Whether two machines showed that they live as this home.

        Who states shows no older chain any more, nor does who takes over from it: its clock begins
        above all that was shown (docs/design/log.rst#clock).
        """
        former = self.former
        return (
            former is not None
            and former.statement.epoch == self.statement.epoch
            and former.statement.shown_ms(former.number) > self.statement.ms
        )

    @property
    def ends_ms(self) -> int:
        """Until when it is good."""
        return self.statement.ends_ms(self.number)


@attrs.define
class Leases:
    """
    One lease a home.

    Attributes:
        homes: by key.
        moved: keys of those that moved on since ``moved`` was last cleared; in a fixed order.
        unknown: pulses that came and moved nobody, since it was last cleared.
    """

    _verifier: Verifier
    homes: dict[str, Lease] = attrs.Factory(dict)
    moved: dict[str, None] = attrs.Factory(dict)
    unknown: list[bytes] = attrs.Factory(list)
    _by_value: dict[bytes, list[Lease]] = attrs.Factory(dict)
    _entered: dict[str, int] = attrs.Factory(dict)  # and have not moved, since when
    _entries: deque[tuple[str, int]] = attrs.Factory(
        deque
    )  # of those, oldest first; and older ones

    def own(self, statement: LifeStatement, data: bytes, number: int, value: bytes) -> None:
        """This home has stated, or shows its next pulse."""
        lease = self.homes.get(statement.home)
        if lease is None or lease.data != data:
            self._replace(lease, Lease(statement, data, number, value))
        elif lease.number < number:
            self._step(lease, number, value, 0)

    def take(
        self,
        statement: LifeStatement,
        data: bytes,
        number: int,
        value: bytes,
        now_ms: int,
        link: int,
    ) -> list[Lease]:
        """
        A neighbour shows a statement and a pulse of it.

        Args:
            data: what ``statement`` was read from.
            link: its bit.

        Returns:
            the homes that moved on.

        Raises:
            RemoteProtocolError: it is not signed by its home, or the value is not of its chain.
        """
        if len(value) != VALUE_BYTES or not 0 <= number <= statement.pulses:
            raise RemoteProtocolError("bad pulse: its length or its number")
        lease = self.homes.get(statement.home)
        if lease is not None and lease.data == data:
            lease.knows |= link
            if number <= lease.number:
                return []
            before, steps = lease.value, number - lease.number
        elif lease is not None and statement.place <= lease.statement.place:
            return self._take_former(lease, statement, data, number, value, now_ms)
        else:
            before, steps = statement.anchor, number
        if _early(statement, number, now_ms):
            return []
        _check_chain(value, steps, before)
        if lease is None or lease.data != data:
            statement.check(data, self._verifier)
            stated = Lease(statement, data, number, value, link, link)
            others = self._found(value, now_ms, link)
            self._replace(lease, stated)
            self._enter(statement.home, now_ms)
            return [stated, *others]
        others = self._found(value, now_ms, link)
        if lease.number < number:
            self._step(lease, number, value, link)
            others.append(lease)
        return others

    def _take_former(
        self,
        lease: Lease,
        statement: LifeStatement,
        data: bytes,
        number: int,
        value: bytes,
        now_ms: int,
    ) -> list[Lease]:
        """An older statement is of interest only if its chain went on after the newer one."""
        told = Lease(statement, data, number, value)
        if (
            lease.twofold
            or statement.epoch != lease.statement.epoch
            or statement.shown_ms(number) <= lease.statement.ms
            or _early(statement, number, now_ms)
        ):
            return []
        _check_chain(value, number, statement.anchor)
        statement.check(data, self._verifier)
        if lease.former is not None:
            self._unlist(lease.former)
        lease.former = told
        self._by_value.setdefault(value, []).append(told)
        return [lease]

    def check(self, statement: LifeStatement, data: bytes) -> None:
        """
        Raises:
            RemoteProtocolError: it is not signed by its home.
        """
        statement.check(data, self._verifier)

    def of(self, values: Iterable[bytes]) -> list[Lease]:
        """Those whose newest value is one of these."""
        return [lease for value in values for lease in self._by_value.get(value, ())]

    def pulse(self, value: bytes, now_ms: int, link: int) -> list[Lease]:
        """
        A neighbour shows a pulse.

        Returns:
            the homes that moved on; none when it is known, or nobody's here.
        """
        known = self._by_value.get(value)
        if known is None:
            found = self._found(value, now_ms, link)
            if not found:
                self.unknown.append(value)
            return found
        for lease in known:  # whoever else has this value in its chain moved on when it came
            lease.knows |= link
            lease.holds |= link
        return []

    def _found(self, value: bytes, now_ms: int, link: int) -> list[Lease]:
        """The homes whose chain has ``value`` a few steps on; they have moved to it."""
        found: list[Lease] = []
        hashed, by_value = value, self._by_value
        for steps in range(1, STEPS_MAX + 1):
            hashed = earlier(hashed)
            listed = by_value.get(hashed)
            if listed is None:
                continue
            staying: list[Lease] = []
            for lease in listed:
                if _may_move(lease, steps, now_ms):
                    self._list(lease, lease.number + steps, value, link)
                    found.append(lease)
                else:
                    staying.append(lease)
                    if lease.statement.home not in self._entered:
                        self._enter(lease.statement.home, now_ms)
            if staying:
                by_value[hashed] = staying
            else:
                del by_value[hashed]
            if found and not self._is_behind(now_ms):
                break
        if len(found) == 1 and self.homes[found[0].statement.home] is found[0]:
            return found
        newest = [self.homes[lease.statement.home] for lease in found]
        # What still comes of a former chain tells nothing, unless it went on after the newer one.
        both = zip(newest, found, strict=True)
        return [each for each, lease in both if each is lease or each.twofold]

    def _is_behind(self, now_ms: int) -> bool:
        """
        Whether a home may stand behind another one on a chain.

        Whoever moves has everybody move who is behind it, so only one that came later can be.
        """
        entries = self._entries
        while entries:
            home, since_ms = entries[0]
            if self._entered.get(home) == since_ms:
                if now_ms - BEHIND_MS_MAX < since_ms <= now_ms:
                    return since_ms <= now_ms - BEHIND_MS
                del self._entered[home]
            entries.popleft()
        return False

    def _enter(self, home: str, now_ms: int) -> None:
        self._entered[home] = now_ms
        self._entries.append((home, now_ms))

    def _step(self, lease: Lease, number: int, value: bytes, link: int) -> None:
        self._unlist(lease)
        self._list(lease, number, value, link)

    def _replace(self, before: Lease | None, lease: Lease) -> None:
        if before is not None:
            if before.former is not None:
                self._unlist(before.former)
                before.former = None
            lease.former = before
        self.homes[lease.statement.home] = lease
        self._list(lease, lease.number, lease.value, lease.holds)

    def _list(self, lease: Lease, number: int, value: bytes, link: int) -> None:
        lease.number, lease.value = number, value
        lease.knows |= link
        lease.holds = link
        self._by_value.setdefault(value, []).append(lease)
        self.moved[lease.statement.home] = None
        self._entered.pop(lease.statement.home, None)

    def _unlist(self, lease: Lease) -> None:
        listed = self._by_value[lease.value]
        listed.remove(lease)
        if not listed:
            del self._by_value[lease.value]

    def forget(self, home: str) -> None:
        """A home is not held any more."""
        lease = self.homes.pop(home, None)
        if lease is not None:
            self._unlist(lease)
            if lease.former is not None:
                self._unlist(lease.former)
            self.moved.pop(home, None)
            self._entered.pop(home, None)

    def lost(self, link: int) -> None:
        """A link is gone; its bit may be given to another, which holds nothing."""
        for lease in self.homes.values():
            lease.knows &= ~link
            lease.holds &= ~link

    def news_for(self, link: int) -> tuple[list[Lease], Iterable[bytes]]:
        """
        What a link is to be told now; it is taken to be told from here on.

        Returns:
            leases of which it does not know the statement, and pulses of the others.
        """
        stated: list[Lease] = []
        pulses: dict[bytes, None] = {}  # several homes may have one
        for home in self.moved:
            lease = self.homes[home]
            if lease.holds & link:
                continue
            lease.holds |= link
            if lease.knows & link:
                pulses[lease.value] = None
            else:
                lease.knows |= link
                stated.append(lease)
        return stated, pulses


def _check_chain(value: bytes, steps: int, before: bytes) -> None:
    for _ in range(steps):
        value = earlier(value)
    if value != before:
        raise RemoteProtocolError("bad pulse: it is not of the chain of its statement")


def _may_move(lease: Lease, steps: int, now_ms: int) -> bool:
    number, statement = lease.number + steps, lease.statement
    if number > statement.pulses:
        return False
    return statement.ms + 1000 * number * statement.slot_s <= now_ms + AHEAD_MS_MAX


def _early(statement: LifeStatement, number: int, now_ms: int) -> bool:
    """Whether a pulse comes before its time, so that it is not believed yet."""
    return statement.ms + 1000 * number * statement.slot_s > now_ms + AHEAD_MS_MAX
