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


def mount_own_proc() -> None:
    """Mount a /proc of the calling process's pid namespace over the one that is there, in a mount
    namespace of its own: the host's mounts still come in, none goes out.

    Raises:
        OSError: the kernel refuses: EPERM where parts of the host's /proc are hidden.
    """
    _mount(b"none", b"/", b"none", _MS_REC | _MS_SLAVE)
    _mount(b"proc", b"/proc", b"proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)


def map_only_own_ids(uid: int, gid: int) -> None:
    """Let a new user namespace know the one uid and the one gid that made it, under their own
    numbers.

    Raises:
        OSError: the kernel refuses.

    Source: user_namespaces(7).
    """
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {uid} 1"),
        ("gid_map", f"{gid} {gid} 1"),
    ):
        fd = os.open(f"/proc/self/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)


_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8
_MS_REC, _MS_SLAVE = 0x4000, 0x80000
# Source: <linux/mount.h>


def _mount(source: bytes, target: bytes, kind: bytes, flags: int) -> None:
    if _LIBC.mount(source, target, kind, ctypes.c_ulong(flags), None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target.decode())
