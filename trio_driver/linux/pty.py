"""Terminals: a pair of ends, the size, and what ends their input.

Rules:
- The master is never anybody's controlling terminal; the slave becomes one only by
  `make_controlling`, in a process that leads a session.

It must not know whose terminal it is.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import termios
from dataclasses import dataclass

_LARGEST = 0xFFFF
"""Rows and columns are 16 bits wide. Source: ioctl_tty(2), struct winsize."""

_LOCAL_FLAGS, _CHARACTERS = 3, 6
"""Where tcgetattr(3) gives `c_lflag` and `c_cc`."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """Both ends of a new terminal, close-on-exec."""

    master: int
    slave: int


def open_terminal() -> Terminal:
    """Open a terminal that is nobody's controlling one. The caller closes both ends.

    Raises:
        OSError: there are no more of them, or no /dev/ptmx.
    """
    return Terminal(*os.openpty())


def set_terminal_size(fd: int, *, rows: int, columns: int) -> None:
    """Set the size and tell the foreground processes (SIGWINCH). What is too large is the largest.

    Raises:
        OSError: `fd` is no terminal.
    """
    size = (min(max(number, 0), _LARGEST) for number in (rows, columns))
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))


def make_controlling(fd: int) -> None:
    """Make the terminal `fd` that of the calling process's session, which it must lead.

    Raises:
        OSError: EPERM if it does not, or has a terminal, or the terminal has a session.

    Source: ioctl_tty(2), TIOCSCTTY.
    """
    fcntl.ioctl(fd, termios.TIOCSCTTY, 0)


def end_of_input(fd: int) -> bytes:
    """What has to be typed at the terminal so that its reader sees the end of the input.

    Nothing when its reader takes every byte as it is (not canonical), or nobody has it open.
    """
    try:
        attributes = termios.tcgetattr(fd)
    except termios.error as error:
        if error.args[0] == errno.EIO:
            return b""
        raise
    if not attributes[_LOCAL_FLAGS] & termios.ICANON:
        return b""
    return bytes(attributes[_CHARACTERS][termios.VEOF])
