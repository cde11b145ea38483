"""
Files that must stay secret: the peer's identity, and the tokens of its clients.

Shell: touches the files it is named. An identity is made once and kept (docs/failure-modes.rst#f9);
whoever can read it can trade as this peer, so a file that others may read is refused, not repaired.
The one exception is a file that an engine of containers put where it puts secrets.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from nacl.utils import random as random_bytes

from grenache_py.errors import ConfigError
from grenache_py.exchange.client_port.access import ClientTokens
from grenache_py.exchange.signed_log.keys import Identity
from grenache_py.options import toml

__all__ = ["KEY_NAME", "read_identity", "read_or_make_identity", "read_tokens"]

KEY_NAME = "identity.key"
SEED_BYTES = 32
SECRET_FILE_BYTES_MAX = 16 * 1024 * 1024
#: Where engines of containers put secrets, readable by every user (mode 0444). In a container that
#: is the daemon alone; on a machine only root can make this directory.
CONTAINER_SECRETS = "/run/secrets/"


def read_or_make_identity(directory: str, file: str = "", may_make: bool = True) -> Identity:
    """
    Return the identity kept in ``directory``, making both at the first start.

    Args:
        file: where it is kept; "" for `KEY_NAME` there.
        may_make: a new identity is wanted where there is none.

    Raises:
        ConfigError: the file or the directory cannot be used; the message says what to do.
    """
    path = Path(file or Path(directory) / KEY_NAME)
    try:
        Path(directory).mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        raise ConfigError(f"data directory {directory}: is a file") from None
    except OSError as error:
        raise ConfigError(f"data directory {directory}: {_reason(error, path)}") from None
    try:
        if not path.exists():
            if not may_make:
                raise ConfigError(
                    f"{path} is not there: a daemon that stands by has the key of the one that"
                    " serves; copy it here, or name it with --identity (to make a new one, start"
                    " once without --standby)"
                )
            _make(path)
    except OSError as error:
        raise ConfigError(f"{path}: {_reason(error, path)}") from None
    return read_identity(path)


def read_identity(path: Path) -> Identity:
    """
    Return the identity kept in a file.

    Nobody else may read it, but below `CONTAINER_SECRETS`.

    Raises:
        ConfigError: it cannot be used; the message says what to do.
    """
    try:
        text = _read_secret(path, others=0o077)
    except OSError as error:
        raise ConfigError(f"{path}: {_reason(error, path)}") from None
    except ConfigError as error:
        raise ConfigError(f"{path} {error}") from None
    try:
        seed = bytes.fromhex(text)
    except ValueError:
        seed = b""
    if len(seed) != SEED_BYTES:
        raise ConfigError(
            f"{path} does not hold a key ({SEED_BYTES * 2} hex digits): restore it from a copy;"
            " without it this peer's orders are lost"
        )
    return Identity.from_seed(seed)


def _make(path: Path) -> None:
    """Write a new key so that it is there completely or not at all, whatever happens."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, f"{random_bytes(SEED_BYTES).hex()}\n".encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        os.link(draft, path)  # unlike rename, this loses against a key made meanwhile
    except FileExistsError:
        pass
    finally:
        os.unlink(draft)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _reason(error: OSError, path: Path) -> str:
    """Why ``path`` cannot be used; when that is forbidden, whose it is and who asks."""
    if isinstance(error, PermissionError):
        for place in (path, *path.parents):
            with suppress(OSError):
                found = place.stat()
                return (
                    f"{error.strerror}: {place} belongs to uid {found.st_uid} (mode"
                    f" {stat.S_IMODE(found.st_mode):o}), and this daemon runs as uid {os.geteuid()}"
                )
    return str(error.strerror)


def _read_secret(path: Path, others: int) -> str:
    """Its text, unless others have a right that is among ``others``; a container's may be read."""
    if os.path.abspath(path).startswith(CONTAINER_SECRETS):
        others &= 0o033
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & others:
            raise ConfigError(
                f"can be used by others (mode {mode:o}): run chmod {mode & ~others:o} {path}"
            )
        content = file.read(SECRET_FILE_BYTES_MAX + 1)
    if len(content) > SECRET_FILE_BYTES_MAX:
        raise ConfigError(f"is larger than {SECRET_FILE_BYTES_MAX} bytes")
    return content.decode("utf-8", "replace")


def read_tokens(file: str) -> ClientTokens:
    """
    Return the tokens of a token file.

    The group may read it. Below `CONTAINER_SECRETS` everybody may, but nobody else write it.

    Raises:
        ConfigError: it cannot be read, others can read it, or it makes no sense.
    """
    path = Path(file)
    try:
        return ClientTokens.of(toml(_read_secret(path, others=0o037)))
    except OSError as error:
        raise ConfigError(f"token file {file}: {_reason(error, path)}") from None
    except ConfigError as error:
        raise ConfigError(f"token file {file}: {error}") from None
