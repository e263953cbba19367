"""Namespaces of this process.

It must not know what they are for.
"""

from __future__ import annotations

import ctypes
import os

CLONE_NEWPID, CLONE_NEWNET = 0x2000_0000, 0x4000_0000
# Source: <linux/sched.h>.

_UNSHARE = ctypes.CDLL(None, use_errno=True).unshare
_UNSHARE.argtypes = (ctypes.c_int,)
_UNSHARE.restype = ctypes.c_int


def unshare(flags: int) -> None:
    """Leave the namespaces of `flags` for new ones; of pids, only children to come are in the new one.

    Raises:
        OSError: EPERM: only root may; ENOSPC: there are too many; EINVAL: the kernel has none of that
            kind.

    Source: unshare(2).
    """
    if _UNSHARE(flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
