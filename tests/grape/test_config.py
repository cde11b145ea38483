"""One list of settings, read from the command line's strings and from TOML alike."""

from __future__ import annotations

import pytest

from grenache_py.errors import ConfigError
from grenache_py.grape.config import TABLE, GrapeConfig, from_settings


def test_nothing_said_is_the_node_librarys_defaults() -> None:
    config = from_settings()
    assert config == GrapeConfig()
    assert (config.dht_port, config.api_port, config.bootstrap) == (20001, 30001, ())
    assert (config.dht_peer_max_age_s, config.dht_node_liveness_s) == (120.0, 300.0)
    assert (config.payload_bytes_max, config.dht_max_values) == (8192, 5000)


def test_every_setting_can_be_given_as_a_string_and_in_toml() -> None:
    settings = TABLE.from_toml(
        """
        bind = "127.0.0.1"
        dp = 1
        dht_concurrency = 2
        dht_maxTables = 3
        dht_maxValues = 4
        bn = ["a.example:5", "10.0.0.1:6"]
        api_port = 7
        dpa = 8000
        cache_maxAge = 9
        dnl = 10000
        check_maxPayloadSize = 11
        api_maxRate = 0
        node-id-file = "id"
        state = "state"
        api = "tcp:12"
        metrics = true
        allow-host = "Grape.Example"
        """
    )
    config = from_settings(settings)
    assert config == GrapeConfig(
        host="127.0.0.1",
        dht_port=1,
        dht_concurrency=2,
        dht_max_tables=3,
        dht_max_values=4,
        bootstrap=("a.example:5", "10.0.0.1:6"),
        api_port=7,
        dht_peer_max_age_s=8.0,
        dht_node_liveness_s=10.0,
        payload_bytes_max=11,
        requests_a_second_max=0,
        node_id_file="id",
        state_file="state",
        api_endpoint="tcp:12",
        api_names=frozenset({"grape.example"}),
        metrics=True,
    )
    typed = {
        name: ",".join(value)
        if isinstance(value, list)
        else value
        if isinstance(value, bool)
        else str(value)
        for name, value in settings.items()
    }
    assert from_settings(typed) == config
    assert len(settings) == len(TABLE.options), "a setting is missing above"


def test_a_later_layer_wins_under_any_spelling() -> None:
    assert from_settings({"dp": 1, "aph": 2}, {"dht_port": "3"}) == GrapeConfig(
        dht_port=3, api_port=2
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dp": "x"}, "dht_port must be a port, 0 to 65535, not 'x'"),
        ({"dht_port": 70000}, "dht_port must be a port, 0 to 65535, not 70000"),
        ({"aph": True}, "api_port must be a port"),
        ({"dc": 0}, "dht_concurrency must be a number, 1 to"),
        ({"dc": "１"}, "dht_concurrency must be a number"),
        ({"dpa": -5}, "dht_peer_maxAge must be a number of milliseconds"),
        ({"check_maxPayloadSize": 1.5}, "check_maxPayloadSize must be a number of bytes"),
        ({"bind": " "}, "bind must be a text, not empty"),
        ({"metrics": "yes"}, "metrics must be true or false"),
        ({"bn": "a"}, "bootstrap must be host:port, not 'a'"),
        ({"bn": "a:1,:2"}, "bootstrap must be host:port, not ':2'"),
        ({"bn": "a:x"}, "bootstrap must be host:port, not 'a:x'"),
        ({"bn": "a:0"}, "bootstrap must have a port of 1 to 65535"),
        ({"bn": "[::1]:5"}, "bootstrap must be IPv4 addresses or names"),
        ({"bn": [1]}, "bootstrap must be a text with commas"),
        ({"bn": 5}, "bootstrap must be a text with commas"),
    ],
)
def test_a_value_that_cannot_be_is_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        from_settings(settings)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dp = ", "not TOML"),
        ("dq = 1", "no setting 'dq': there are allow-host, api, api_maxRate"),
        ("dp = 1\ndht_port = 2", "dp and dht_port are the same setting"),
        ("node-id-file = 'a'\nnode_id_file = 'a'", "are the same setting"),
        ("config = 'a'", "no setting 'config'"),
    ],
)
def test_a_file_that_cannot_be_is_explained(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        TABLE.from_toml(text)
    assert message in str(raised.value)


def test_how_to_log_may_stand_in_the_file_too() -> None:
    assert TABLE.from_toml("log-level = 'debug'") == {"log-level": "debug"}


def test_blanks_and_empty_entries_in_a_list_of_grapes_are_dropped() -> None:
    assert from_settings({"bn": " a:1 ,, b:2,"}).bootstrap == ("a:1", "b:2")
    assert from_settings({"bn": ""}).bootstrap == ()


@pytest.mark.parametrize(
    ("host", "announced"),
    [(None, None), ("127.0.0.1", "127.0.0.1"), ("0.0.0.0", None), ("::", None), ("::1", None)],
)
def test_own_services_are_known_only_under_an_address_others_can_use(
    host: str | None, announced: str | None
) -> None:
    assert GrapeConfig(host=host).announce_host == announced
