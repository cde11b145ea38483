"""A node starts where the last one stopped: its log, its epoch, its clock."""

from __future__ import annotations

from tests.support.peers import Network


def test_after_a_new_epoch_only_its_own_entries_are_told_and_compared() -> None:
    """The store's newest rows reach back into the log before; their numbers say nothing now."""
    net = Network(2)
    net.link(0, 1)
    for price in range(100, 110):
        net.place(0, "sell", 10, price)
    net.restart(0, new_epoch=True)
    net.link(0, 1)
    net.run(2)
    net.place(0, "sell", 10, 120)
    net.restart(0)
    log = net[0].ledger.log
    assert len(log.tail) == log.seq
    newest = log.range(log.seq, log.seq)
    assert newest is not None and newest[0].hash.hex() == log.hash
    # An own entry of the new epoch comes back: it is what this disk knows.
    net.link(0, 1)
    [(_, first), *_] = log.tail
    [link] = net[1].peering.ready()
    net[1].peering.notify(link, "gossip.publish", {"entries": [first.proof.wire()]})
    net.settle()
    assert not net[0].alarms()
