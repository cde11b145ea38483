"""A busy peer: what it publishes never overtakes the answer that makes a link."""

from __future__ import annotations

from tests.support.far_ends import ME, FarEnds


def test_the_answer_to_a_hello_leaves_before_gossip() -> None:
    """docs/design/identity.rst#handshake: the first line each way is the hello."""
    ends = FarEnds()
    entry = 0

    def publish() -> None:
        nonlocal entry
        entry += 1
        draft = ends.sealer.add(f"entry {entry}")
        ends.sealer.seal()
        ends.peering.publish(ME.key, 1, [(entry, draft)])

    def busy(number: int) -> bool:
        return True

    ends.open(0, 0, boot=1, outbound=False)
    ends.settle(busy, close=True)
    say = ends.say

    def say_and_publish(number: int, message: dict[str, object]) -> None:
        say(number, message)
        publish()

    ends.say = say_and_publish  # type: ignore[method-assign]
    for number in range(1, 4):
        ends.open(number, number % 3, boot=1, outbound=False)
        ends.settle(busy, close=True)
        said = [message.get("method", "answer") for message in ends.told[number]]
        assert "gossip.publish" in said
        assert said[0] == "answer", "of peer.hello"
