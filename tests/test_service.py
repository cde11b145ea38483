"""How a daemon starts, fails and stops, under the real twistd and twist."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from grenache_py.errors import ConfigError
from grenache_py.sdnotify import Notifier
from grenache_py.service import Daemon, OnSignal, Reread, exit_readably

PLUGIN = """
from twisted.application.service import ServiceMaker
maker = ServiceMaker("sample", "sample_tap", "Does what the test asks for.", "sample")
"""
TAP = """
import os, threading
from twisted.application import strports
from twisted.application.service import MultiService
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python import usage
from grenache_py import logs
from grenache_py.errors import ConfigError
from grenache_py.name_lookups import look_names_up_apart
from grenache_py.service import Daemon, exit_readably

class Options(usage.Options):
    optParameters = [
        ["do", None, "speak"], ["format", None, "text"], ["level", None, "info"], ["port", None, 0],
    ]

class Sample(MultiService):
    log = Logger()

    def __init__(self, options):
        super().__init__()
        self.todo = options["do"]
        strports.service(
            "tcp:%s:interface=127.0.0.1" % options["port"], Factory(), reactor
        ).setServiceParent(self)

    def startService(self):
        super().startService()
        if self.todo == "bug":
            raise RuntimeError("a bug")
        reactor.callWhenRunning(self.speak)

    def when_ready(self):
        if self.todo == "damaged":
            return fail(ConfigError("book.sqlite is damaged:\\nrestore it from a backup"))
        return succeed("listening")

    def speak(self):
        if self.todo == "speak":
            self.log.debug("whispered")
            self.log.info("said {what}", what="this\\nand that")
            try:
                1 / 0
            except ZeroDivisionError:
                self.log.failure("sums failed")
            reactor.stop()
        elif self.todo == "wait":
            os.kill(os.getpid(), 15)
            os.kill(os.getpid(), 15)  # an impatient operator
        elif self.todo == "look up":
            look_names_up_apart(reactor, lambda *_: threading.Event().wait())
            reactor.resolve("one.example").addErrback(lambda _: None)
            HostnameEndpoint(reactor, "two.example", 80).connect(Factory())
            reactor.callLater(0.1, os.kill, os.getpid(), 15)

    def stopService(self):
        super().stopService()
        self.log.info("flushed")

def makeService(options):
    with exit_readably("sample"):
        levels = logs.Levels(options["level"])
        sample = Sample(options)
        daemon = Daemon("sample", sample, reactor, when_ready=sample.when_ready)
        return logs.under_runner(daemon, options, options["format"], levels)
"""
TWISTD = ("twistd", "-n", "--pidfile=")
both_runners = pytest.mark.parametrize("runner", [TWISTD, ("twist",)], ids=["twistd", "twist"])


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "twisted" / "plugins").mkdir(parents=True)
    (folder / "twisted" / "plugins" / "sample_plugin.py").write_text(PLUGIN)
    (folder / "sample_tap.py").write_text(TAP)
    return folder


def run(folder: Path, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sysconfig.get_path("scripts"), command[0]), *command[1:]],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@both_runners
def test_both_runners_log_our_way(plugin: Path, runner: tuple[str, ...]) -> None:
    done = run(plugin, *runner, "sample", "--level", "warn,sample_tap=info")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()  # the runner's own lines are info, and so not here
    assert lines[0].endswith("info     sample_tap.Sample: said this\\nand that")
    assert "critical sample_tap.Sample: sums failed: ZeroDivisionError: division by" in lines[1]
    assert lines[2].endswith("flushed")
    assert len(lines) == 3


def test_json_under_twistd_into_a_file(plugin: Path, tmp_path: Path) -> None:
    log = tmp_path / "out.log"
    done = run(
        plugin, *TWISTD, f"--logfile={log}", "sample", "--format=json", "--level=sample_tap=debug"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert [r["message"] for r in records if r["namespace"] == "sample_tap.Sample"] == [
        "whispered",
        "said this\nand that",
        "sums failed",
        "flushed",
    ]


def test_a_log_file_that_cannot_be_opened_is_one_line(plugin: Path) -> None:
    done = run(plugin, *TWISTD, "--logfile=/nonexistent/log", "sample")
    assert done.returncode == 1
    assert (
        done.stderr == "sample: cannot open log file /nonexistent/log: No such file or directory\n"
    )


@both_runners
def test_a_used_port_is_one_line_and_exit_code_1(plugin: Path, runner: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run(plugin, *runner, "sample", "--port", str(port))
    assert done.returncode == 1
    assert done.stderr == f"sample: cannot listen on 127.0.0.1:{port}: Address already in use\n"


def test_twistd_in_the_background_says_the_line_too(plugin: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        pid, log = f"--pidfile={tmp_path}/pid", f"--logfile={tmp_path}/log"
        done = run(plugin, "twistd", pid, log, "sample", "--port", str(port))
    assert done.returncode == 1
    assert f"sample: cannot listen on 127.0.0.1:{port}: Address already in use" in done.stderr
    give_up = time.monotonic() + 30
    while (tmp_path / "pid").exists():  # it goes after whoever typed the command was told
        assert time.monotonic() < give_up
        time.sleep(0.02)


@both_runners
def test_a_failure_on_the_way_to_ready_is_one_line_too(
    plugin: Path, runner: tuple[str, ...]
) -> None:
    done = run(plugin, *runner, "sample", "--do=damaged")
    assert done.returncode == 1
    assert done.stderr == "sample: book.sqlite is damaged: restore it from a backup\n"
    assert "flushed" in done.stdout  # what had started was stopped


@both_runners
def test_a_bad_option_is_one_line(plugin: Path, runner: tuple[str, ...]) -> None:
    done = run(plugin, *runner, "sample", "--level=loud")
    assert done.returncode == 1
    assert done.stderr.startswith("sample: no log level 'loud': choose one of debug, ")
    assert done.stderr.count("\n") == 1


@both_runners
def test_a_bug_is_not_hidden(plugin: Path, runner: tuple[str, ...]) -> None:
    done = run(plugin, *runner, "sample", "--do=bug")
    assert done.returncode == 1
    assert "RuntimeError: a bug" in done.stderr + done.stdout


@both_runners
def test_systemd_hears_ready_and_stopping(
    plugin: Path, tmp_path: Path, runner: tuple[str, ...]
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(30)
        done = run(
            plugin,
            *runner,
            "sample",
            "--do=wait",
            NOTIFY_SOCKET=str(tmp_path / "notify"),
            WATCHDOG_USEC="30000000",
        )
        heard = {systemd.recv(999) for _ in range(3)}
    assert heard == {b"READY=1\nSTATUS=listening", b"WATCHDOG=1", b"STOPPING=1"}
    assert done.returncode == 0
    assert "flushed" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@both_runners
def test_a_stop_does_not_wait_for_a_name_server(plugin: Path, runner: tuple[str, ...]) -> None:
    # With the look-ups in the reactor's own threads this ends by the time-out of `run`.
    done = run(plugin, *runner, "sample", "--do=look up")
    assert done.returncode == 0, done.stderr
    assert "flushed" in done.stdout


class Stubborn(Service):
    """Never ends to stop."""

    def stopService(self) -> Deferred[None]:
        return Deferred()


class Eager(Service):
    """Serves at once; keeps what a signal would have done by then."""

    def startService(self) -> None:
        self.on_signal = signal.getsignal(signal.SIGUSR1)


class DaemonTests(SynchronousTestCase):
    def test_a_signal_ends_nothing_that_is_about_to_serve(self) -> None:
        for number in (signal.SIGHUP, signal.SIGUSR1):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        eager, reactor = Eager(), MemoryReactorClock()
        calls = OnSignal(Reread, lambda: None, lambda: True)
        daemon = Daemon("sample", eager, reactor, notifier=Notifier({}), on_signal=calls)
        # twistd writes its pid file now, for whoever sends signals.
        self.assertIs(signal.getsignal(signal.SIGHUP), signal.SIG_IGN)
        daemon.startService()
        self.assertTrue(callable(eager.on_signal))

    def test_a_stop_that_hangs_does_not_keep_the_process(self) -> None:
        reactor = MemoryReactorClock()
        daemon = Daemon("sample", Stubborn(), reactor, notifier=Notifier({}))
        daemon.startService()
        stopped = daemon.stopService()
        reactor.advance(7)
        self.assertNoResult(stopped)
        reactor.advance(1)
        self.successResultOf(stopped)
        self.assertEqual(reactor.getDelayedCalls(), [])

    def test_stopped_before_it_was_ready_says_nothing(self) -> None:
        reactor = MemoryReactorClock()
        ready: Deferred[str] = Deferred()
        daemon = Daemon(
            "sample", Service(), reactor, notifier=Notifier({}), when_ready=lambda: ready
        )
        daemon.startService()
        self.successResultOf(daemon.stopService())
        ready.errback(ConfigError("too late"))
        self.assertEqual(reactor.triggers, {})


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ConfigError("one\ntwo"), "x: one two"),
        (CannotListenError("", 53, OSError(13, "Permission denied")), "x: cannot listen on *:53: "),
        (CannotListenError(None, "/run/x", OSError(2, "No such")), "x: cannot listen on /run/x: "),
    ],
)
def test_readable(error: Exception, line: str, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(sys, "__stderr__", sys.stderr)
    with pytest.raises(SystemExit) as ended, exit_readably("x"):
        raise error
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith(line)
