"""Whose a cgroup is: a word of its maker's that the kernel keeps with it.

An extended attribute: gone with the cgroup, and, as root's, not to be changed by who may only write
the cgroup's files.

It must not know what the word means.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_NAME = "trio_driver.owner"


def _attribute() -> str:
    # Source: xattr(7): trusted.* is for CAP_SYS_ADMIN alone.
    return f"trusted.{_NAME}" if os.geteuid() == 0 else f"user.{_NAME}"


def set_owner(path: Path, owner: str) -> bool:
    """Note `owner` with the cgroup at `path`; False where the kernel keeps no such notes.

    Source: Linux 3.7 for root, 5.7 for other users (v2).
    """
    try:
        os.setxattr(path, _attribute(), os.fsencode(owner))
    except OSError:
        return False
    return True


def owner(path: Path) -> str | None:
    """What `set_owner` noted; None when nothing was, or the cgroup is gone."""
    with contextlib.suppress(OSError):
        return os.fsdecode(os.getxattr(path, _attribute()))
    return None
