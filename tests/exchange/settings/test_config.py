"""What an operator may set on an exchange, and how a mistake is named."""

from __future__ import annotations

import pytest

from grenache_py.errors import ConfigError
from grenache_py.exchange.rates import Rate
from grenache_py.exchange.settings.config import TABLE, ExchangeConfig, from_settings
from grenache_py.exchange.tap import Options


def test_the_command_line_and_a_file_say_the_same() -> None:
    written = TABLE.from_toml(
        """
        data = "here"
        market = ["A-B:tick=1,lot=1", "C-D:tick=0.1,lot=1"]
        client = ["tcp:1", "unix:/tmp/s"]
        http = "none"
        bn = ["10.0.0.1:1, 10.0.0.2:2", "10.0.0.3:3"]
        connect = "peer.example:7071"
        rate-account = "5/10"
        http_trading = true
        clients-max = 7
        """
    )
    options = Options()
    line = (
        "--data here --market A-B:tick=1,lot=1 --market C-D:tick=0.1,lot=1 --client tcp:1"
        " --client unix:/tmp/s --http none --bn 10.0.0.1:1,10.0.0.2:2 --bn 10.0.0.3:3"
        " --connect peer.example:7071 --rate-account 5/10 --http-trading --clients-max 7"
    )
    options.parseOptions(line.split())
    config = from_settings(written)
    assert options.exchange == config
    assert (config.client, config.http) == (("tcp:1", "unix:/tmp/s"), ())
    assert config.bootstrap == ("10.0.0.1:1", "10.0.0.2:2", "10.0.0.3:3")
    assert config.account_rate == Rate(5, 10)


def test_the_file_is_overruled_by_the_command_line() -> None:
    assert from_settings({"client": "tcp:1"}, {"client": ["tcp:2"]}).client == ("tcp:2",)
    assert from_settings() == ExchangeConfig()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"client": ["tcp:1", "foo"]}, "client must be a Twisted endpoint such as"),
        ({"client": ["foo"]}, "or none, not 'foo'"),
        ({"grape": ["127.0.0.1"]}, "grape must be a URL such as http://127.0.0.1:30001, not '127"),
        ({"bn": "a"}, "bn must be host:port, not 'a'"),
        ({"connect": ["a:1", "b"]}, "connect must be host:port, not 'b'"),
        ({"advertise": "a:0"}, "advertise must have a port of 1 to 65535, not 'a:0'"),
        ({"dht": "x"}, "dht must be a UDP port, 0 to 65535, not 'x'"),
        ({"network": "a b"}, "network must be 1 to 64 letters"),
        ({"market": "BTC"}, "market 'BTC': tick is missing"),
        ({"market": ["A:tick=1,lot=1", "A:tick=2,lot=1"]}, "market must be given, and each symbol"),
        ({"rate-account": "fast"}, "rate-account cannot be: a rate is PER_SECOND or"),
        ({"http-trading": "yes"}, "http-trading must be true or false, not 'yes'"),
        ({"store": "/data"}, "store must be postgresql://HOST[,HOST]/DATABASE; --data names a"),
        ({"store": "postgres://me:pw@a,b/db"}, "store has a password in it, which others can"),
        ({"store": "postgresql:///db?host=a&password=pw"}, "put it into ~/.pgpass"),
        ({"standby": True}, "standby needs store: a file has one daemon"),
        ({"store": "postgresql://a/b", "standby": True, "new-epoch": True}, "exclude each other"),
        ({"grape": "http://a", "dht": 1}, "grape and dht (or bn) exclude each other"),
    ],
)
def test_a_value_that_cannot_be_is_named_once(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        from_settings(settings)
    assert message in str(raised.value)
    assert str(raised.value).count(", not ") <= 1
    assert "pw" not in str(raised.value)


def test_a_database_is_named_as_libpq_does() -> None:
    for address in ("postgresql://a,b:5433/db", "postgres://me@[::1]:1/db?passfile=/x&user=a@b:c"):
        assert from_settings({"store": address}).store == address


def test_a_file_with_an_unknown_name_says_which_there_are() -> None:
    with pytest.raises(ConfigError, match="'clinet': there are advertise, allow-host, bn, client"):
        TABLE.from_toml("clinet = 1")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--nope", "option --nope not recognized (twistd exchange --help lists the options)"),
        ("extra", "no argument 'extra' is expected"),
        ("--config {}/bad.toml", "config file {}/bad.toml: not TOML: "),
        ("--config {}/none.toml", "config file {}/none.toml: No such file or directory"),
    ],
)
def test_a_wrong_command_line_is_one_line_on_stderr(
    line: str, said: str, tmp_path: object, capfd: pytest.CaptureFixture[str]
) -> None:
    from pathlib import Path

    Path(f"{tmp_path}/bad.toml").write_text("a = [")
    with pytest.raises(SystemExit) as left:
        Options().parseOptions(line.format(tmp_path).split())
    assert left.value.code == 1
    shown = capfd.readouterr()
    assert shown.err.startswith(f"exchange: {said.format(tmp_path)}")
    assert shown.err.count("\n") == 1
    assert not shown.out
