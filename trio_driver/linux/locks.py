"""POSIX record locks: one owner process, which the kernel can name.

Rules:
- The lock belongs to the process, not to the fd: it is lost when the process *closes any fd of that
  file*. Open the file once, never close it, and lock after the fork, not before.
- Chosen because such a lock dies with its owner and no child inherits it. flock(2) and
  open-file-description locks stay held by any child that has the fd.

It must not know what is being locked.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

_FLOCK = struct.Struct("@hhqqi0q")
"""struct flock of x86_64 and aarch64: type, whence, start, length, pid, padded to 32 bytes.

Source: fcntl(2), <asm-generic/fcntl.h>.
"""


class ForeignLockError(OSError):
    """The owner has no pid here: another pid namespace, or not a record lock."""


def try_lock(fd: int) -> bool:
    """Lock the whole file for this process, exclusively; False if another process has a lock.

    Asking again for a lock that this process holds succeeds.

    Raises:
        OSError: `fd` is not open for writing (EBADF), no lock can be kept (ENOLCK).
    """
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return False
        raise
    return True


def lock_owner(fd: int) -> int | None:
    """Pid of the *other* process that locks the file; None if nobody does, or this one itself.

    By the time of the return the owner may have ended: identify it, then ask again, before anything
    is done to it.

    Raises:
        ForeignLockError: somebody holds it who has no pid in our pid namespace.
        OSError: `fd` is not a file that can be locked.

    Source: fcntl(2), F_GETLK.
    """
    question = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_GETLK, question))
    if kind == fcntl.F_UNLCK:
        return None
    if pid <= 0:
        raise ForeignLockError(
            errno.EAGAIN, f"locked by a process outside this pid namespace (pid {pid})"
        )
    return pid
