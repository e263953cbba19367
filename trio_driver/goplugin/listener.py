"""Listener: the unix socket on which an agent reaches the plugin.

Owns the socket's file, from bind to the end of the block, and the removal of files that killed
plugins left: they cannot do it themselves.

Rules:
- The file stays for the whole life: the agent dials it again after a lost connection and when it
  reattaches.
- Only files of ours are removed, and only when nobody listens.

Must not know: gRPC services, the agent.

Source: nomad-protocol §1.3; known-failures 68.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import logging
import os
import socket
import stat
import time
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from trio_driver.linux import listen_unix

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import trio

    from trio_driver.goplugin.handshake import PluginEnvironment

LOGGER: Final = logging.getLogger("trio_driver.goplugin")

SOCKET_PREFIX: Final = "trio-driver-"
"""Names our sockets in a directory that is not ours."""

_YOUNG_S: Final = 60.0
"""A younger one without its name yet may be about to listen."""


@asynccontextmanager
async def open_listener(
    environment: PluginEnvironment,
) -> AsyncGenerator[tuple[trio.SocketListener, PurePosixPath]]:
    """Listen on a new socket where the agent looks; its file is gone after the block.

    Raises:
        HandshakeError: no directory is short enough.
        OSError: none of them lets us bind; or the group is unknown (LookupError).
    """
    name = f"{SOCKET_PREFIX}{os.urandom(8).hex()}.sock"
    # The longer of its two names must fit.
    *others, last = (path.with_name(name) for path in environment.socket_paths(_unborn(name)))
    for path in others:
        try:
            listener = await _listen(path)
        except OSError as error:
            LOGGER.warning("cannot listen at %s: %s", path, error)
        else:
            break
    else:
        path, listener = last, await _listen(last)
    try:
        async with listener:
            if environment.socket_group is not None:
                share_with_group(path, environment.socket_group)
            yield listener, path
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


async def _listen(path: PurePosixPath) -> trio.SocketListener:
    """Listen at `path`, which comes into being with its listener: without one it is a killed plugin's."""
    unborn = path.with_name(_unborn(path.name))
    listener = await listen_unix(str(unborn))
    os.rename(unborn, path)
    return listener


def _unborn(name: str) -> str:
    return f".{name}"


def share_with_group(path: PurePosixPath, group: str) -> None:
    """Let a group connect, too; `group` is a name or a number.

    The file is held while it is changed: the directory may be somebody else's, who could put a link
    to any file in its place.

    Raises:
        OSError, LookupError: there is no such group, or it is not our socket that has the name.
    """
    gid = int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
    pin = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(pin)
        if not stat.S_ISSOCK(status.st_mode) or status.st_uid != os.geteuid():
            raise OSError(
                errno.EPERM, "another file has the name of the plugin's socket", str(path)
            )
        # In this order: our own group never gets in between.
        os.chown(f"/proc/self/fd/{pin}", -1, gid)
        os.chmod(f"/proc/self/fd/{pin}", 0o660)
    finally:
        os.close(pin)


def stale_sockets(directory: PurePosixPath) -> list[Path]:
    """The sockets of killed plugins of this user in `directory`."""
    found: list[Path] = []
    with contextlib.suppress(OSError):
        for path in Path(directory).glob(f"*{SOCKET_PREFIX}*.sock"):
            min_age_s = 0.0 if path.name.startswith(SOCKET_PREFIX) else _YOUNG_S
            with contextlib.suppress(OSError):  # another plugin is removing them
                if _is_stale(path, min_age_s):
                    found.append(path)
    return found


def remove_stale_sockets(directory: PurePosixPath) -> int:
    """Remove the sockets of killed plugins of this user from `directory`; return how many."""
    removed = 0
    for path in stale_sockets(directory):
        with contextlib.suppress(OSError):  # another plugin is doing the same
            path.unlink()
            removed += 1
    return removed


def _is_stale(path: Path, min_age_s: float) -> bool:
    status = path.lstat()
    if (
        not stat.S_ISSOCK(status.st_mode)
        or status.st_uid != os.geteuid()
        or time.time() - status.st_mtime < min_age_s
    ):
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False
