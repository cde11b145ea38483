"""A change of roles by hand, while the daemon drops what waits for an answer."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from grenache_py.exchange.cli.roles import demote
from grenache_py.exchange.cli.tool import Tool
from grenache_py.trading import Unavailable

LOST = Unavailable(-32012, "This daemon serves no more, so this did not happen.", {})
STANDBY = {"database": {"role": "standby", "state": "standby", "reason": ""}}


@pytest.mark.parametrize(
    "answers",
    [
        [{"demoted": True}, STANDBY],
        [{"demoted": True}, LOST, STANDBY],
        [LOST, LOST, STANDBY],
    ],
)
def test_whoever_changes_roles_asks_on_while_the_daemon_changes_over(
    answers: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def call(tool: Tool, method: str, **params: Any) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(Tool, "call", call)
    monkeypatch.setattr("grenache_py.exchange.cli.roles.LOOK_S", 0)
    done = CliRunner().invoke(demote, obj=Tool())
    assert (done.exit_code, done.output, answers) == (0, "stands by\n", [])
