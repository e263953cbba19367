"""Namespaces: which kind a file names, and entering one.

Rules:
- Everything is looked up when this module is imported: between fork and exec each function is a few
  system calls.

Source: namespaces(7), setns(2), ioctl_nsfs(2).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os

CLONE_NEWNS = 0x0002_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000
# Source: <linux/sched.h>

_NS_GET_NSTYPE = 0xB703
# Source: <linux/nsfs.h>

_LIBC = ctypes.CDLL(None, use_errno=True)


def open_namespace(path: str, kind: int) -> int:
    """A descriptor of the namespace that `path` names; the caller closes it.

    Args:
        kind: one of the CLONE_ constants.

    Raises:
        OSError: it cannot be opened; EINVAL, with words for it, for what is no such namespace.
    """
    # O_NONBLOCK: a FIFO in its place must not hold us up.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = fcntl.ioctl(fd, _NS_GET_NSTYPE)
    except OSError:
        found = 0
    if found != kind:
        os.close(fd)
        raise OSError(errno.EINVAL, "not a namespace of this kind", path)
    return fd


def enter_namespace(fd: int, kind: int) -> None:
    """Move the calling thread into the namespace behind `fd`; of a pid namespace: its children.

    Raises:
        OSError: the kernel refuses: EPERM without CAP_SYS_ADMIN over it, EINVAL for another kind.
    """
    if _LIBC.setns(ctypes.c_int(fd), ctypes.c_int(kind)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def leave_namespaces(kinds: int) -> None:
    """Leave the namespaces of `kinds` for new ones; of a pid namespace: what is forked next does.

    Raises:
        OSError: EPERM: only root may; ENOSPC: there are too many; EINVAL: the kernel has none of a
            kind.

    Source: unshare(2).
    """
    if _LIBC.unshare(ctypes.c_int(kinds)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
