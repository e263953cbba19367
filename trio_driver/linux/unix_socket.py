"""Unix sockets that listen, made without a thread."""

from __future__ import annotations

import os
import socket

import trio

UNIX_PATH_MAX_BYTES = 107
"""Longest path of a unix socket (unix(7): `sun_path` has 108 bytes, one ends it)."""

BACKLOG = 1_024
"""Connections waiting to be accepted; at a full backlog a non-blocking connect fails at once."""


async def listen_unix(
    path: str | os.PathLike[str], *, mode: int = 0o600, backlog: int = BACKLOG
) -> trio.SocketListener:
    """Listen on a new unix socket at `path`.

    Args:
        path: must not exist.
        mode: permissions of the socket; less the umask; it never has more, not even for a moment.
        backlog: connections that may wait to be accepted.

    Raises:
        ValueError: the path is too long for a unix socket.
        OSError: from socket, bind or listen.
    """
    name = os.fsencode(path)
    if len(name) > UNIX_PATH_MAX_BYTES:
        raise ValueError(
            f"{os.fsdecode(name)!r} has {len(name)} bytes; a unix socket's path has at most "
            f"{UNIX_PATH_MAX_BYTES}"
        )
    # Not Trio's bind: for a unix socket that is a thread, and executors fork.
    listener = socket.socket(socket.AF_UNIX)
    try:
        os.fchmod(listener.fileno(), mode)  # what bind creates takes it from here, less the umask
        listener.bind(name)
        listener.listen(backlog)
    except BaseException:
        listener.close()
        raise
    await trio.lowlevel.checkpoint()
    return trio.SocketListener(trio.socket.from_stdlib_socket(listener))
