"""
``exchange peer-shell``: look at a peer port as a stranger would, line by line.

Edge: a socket, stdin and stdout. Its key is made for this talk. The daemon's would be a second
machine with one identity, and both would be refused.
"""

from __future__ import annotations

import os
import re
import select
import socket
import sys
from typing import Any

import click
import msgspec
from OpenSSL import SSL

from grenache_py.exchange.cli.tool import EXIT_FAILED, Tool, say
from grenache_py.exchange.peers.certificate import identity_context, key_of
from grenache_py.exchange.peers.handshake import PROTOCOL
from grenache_py.exchange.signed_log.keys import Identity
from grenache_py.wire.jsonlines import LINE_BYTES_MAX

__all__ = ["PeerTalk", "peer_shell"]

#: Seconds for the connection, and for each step of TLS.
TIMEOUT_S = 5.0
READ_BYTES = 32_768
#: Bytes of a line that is never ended.
UNENDED_MAX = 4 * LINE_BYTES_MAX


class PeerTalk:
    """
    One talk with a peer port.

    Attributes:
        key: who answered, "" when it has no ed25519 key.
        me: the key made for this talk.

    Raises:
        click.ClickException: nobody answers there, or not in TLS; in a sentence.
    """

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        seed = os.urandom(32)
        self.me = Identity.from_seed(seed).key
        self._buffer = b""
        try:
            self._socket = socket.create_connection((host.strip("[]"), int(port)), TIMEOUT_S)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or error
            raise click.ClickException(str(why)) from None
        self._tls = SSL.Connection(identity_context(seed), None)
        self._tls.set_connect_state()
        try:
            self._shake()
        except (SSL.Error, OSError):
            self.close()
            raise click.ClickException(
                "it does not speak TLS as peers do; is it a client port?"
            ) from None
        self.key = key_of(self._tls)

    def _shake(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except SSL.WantReadError:
                self._flush()
                data = self._socket.recv(READ_BYTES)
                if not data or not self._tls.bio_write(data):
                    raise OSError("closed") from None
            else:
                self._flush()
                return

    def _flush(self) -> None:
        while True:
            try:
                self._socket.sendall(self._tls.bio_read(READ_BYTES))
            except SSL.WantReadError:
                return

    def fileno(self) -> int:
        """For ``select``."""
        return self._socket.fileno()

    def send(self, line: bytes) -> None:
        """Send one line."""
        self._tls.sendall(line + b"\n")
        self._flush()

    def receive(self) -> list[bytes] | None:
        """Lines that have come, after ``select`` said so; None at the end."""
        data = self._socket.recv(READ_BYTES)
        if not data:
            return None
        self._tls.bio_write(data)
        while True:
            try:
                self._buffer += self._tls.recv(READ_BYTES)
            except SSL.WantReadError:
                break
            except SSL.Error:
                return None if not self._buffer else self._lines(b"\n")
        return self._lines()

    def _lines(self, end: bytes = b"") -> list[bytes]:
        *lines, self._buffer = (self._buffer + end).split(b"\n")
        if len(self._buffer) > UNENDED_MAX:
            raise click.ClickException("the other side sends a line without an end")
        return [line for line in lines if line]

    def close(self) -> None:
        """Close at once."""
        self._socket.close()


def _object(method: str, params: dict[str, Any], number: str) -> bytes:
    return msgspec.json.encode({"jsonrpc": "2.0", "id": number, "method": method, "params": params})


def _pong(line: bytes) -> bytes | None:
    """The answer to a ping."""
    try:
        message = msgspec.json.decode(line)
    except msgspec.DecodeError:
        return None
    if not isinstance(message, dict) or message.get("method") != "peer.ping" or "id" not in message:
        return None
    return msgspec.json.encode({"jsonrpc": "2.0", "id": message["id"], "result": {}})


@click.command("peer-shell")
@click.argument("address", metavar="HOST:PORT")
@click.option("--network", default="main", show_default=True, help="The network to say hello to.")
@click.option("--no-hello", is_flag=True, help="Say nothing by itself at first.")
@click.option("--no-pong", is_flag=True, help="Do not answer pings.")
@click.pass_obj
def peer_shell(tool: Tool, address: str, network: str, no_hello: bool, no_pong: bool) -> None:
    """
    Talk to a peer port as a stranger, with a key made for this talk.

    Prints both keys, says hello, answers pings, sends each line that is typed, and prints what
    comes. Ends with the input, or when the other side closes (exit code 1).
    """
    if not re.fullmatch(r".+:[0-9]{1,5}", address):
        raise click.BadParameter("must be HOST:PORT", param_hint="HOST:PORT")
    try:
        talk = PeerTalk(address)
    except click.ClickException as error:
        say(f"exchange: {address}: {error.message}", err=True)
        sys.exit(EXIT_FAILED)
    say(f"peer {talk.key or 'without an ed25519 key'}", err=True)
    say(f"this talk's key {talk.me}", err=True)
    try:
        if not no_hello:
            hello = {"boot": os.urandom(16).hex(), "network": network, "protocol": PROTOCOL}
            talk.send(_object("peer.hello", {**hello, "software": "peer-shell"}, "hello"))
        ended = _converse(talk, no_pong)
    except OSError as error:
        ended = str(error.strerror or error)
    finally:
        talk.close()
    if ended:
        say(f"exchange: {ended}", err=True)
        sys.exit(EXIT_FAILED)


def _converse(talk: PeerTalk, no_pong: bool) -> str:
    """Carry lines both ways; why it ended, "" with the end of the input."""
    typed = b""
    while True:
        ready, _, _ = select.select([talk, sys.stdin.fileno()], [], [])
        if talk in ready:
            lines = talk.receive()
            if lines is None:
                return "the other side closed the connection"
            for line in lines:
                say(line.decode("utf-8", "backslashreplace"))
                answer = None if no_pong else _pong(line)
                if answer is not None:
                    talk.send(answer)
        if sys.stdin.fileno() in ready:
            data = os.read(sys.stdin.fileno(), READ_BYTES)
            *whole, typed = (typed + data).split(b"\n")
            for line in whole:
                talk.send(line)
            if not data:
                return ""
