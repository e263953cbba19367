"""Where the cgroup hierarchies are mounted, and which cgroups a process is in.

Rules:
- The kernel's tables are the truth; no path is assumed.
- A process that is exiting shows the root cgroup: never decide by one look at `of` that a process
  is elsewhere.

It must not know which hierarchy is to be used.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mounts:
    """The mount points of the cgroup hierarchies.

    Args:
        unified: the v2 hierarchy, if it is mounted.
        v1: the v1 hierarchies by controller; named ones as "name=systemd".
    """

    unified: Path | None
    v1: Mapping[str, Path]


def find_mounts(mountinfo: str | None = None) -> Mounts:
    """Read the mount points from `mountinfo`, by default that of this process.

    Where a hierarchy is mounted more than once, a mount of its root is preferred, then the first.

    Source: proc(5), /proc/PID/mountinfo.
    """
    if mountinfo is None:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            mountinfo = file.read()
    mounts = [mount for line in mountinfo.splitlines() if (mount := _parse(line)) is not None]
    # Stable: among mounts of the root the order of the table stays.
    mounts.sort(key=lambda mount: mount.root != "/")
    unified: Path | None = None
    v1: dict[str, Path] = {}
    for mount in mounts:
        if mount.is_v2:
            unified = unified or mount.point
        for option in mount.options:
            v1.setdefault(option, mount.point)
    return Mounts(unified, v1)


def of(pid: int) -> dict[str, str]:
    """The cgroups that `pid` is in: v1 controller to path, and "" to its v2 path.

    Paths are relative to the hierarchy's root (as this process's cgroup namespace shows it) and
    start with "/".

    Raises:
        ProcessLookupError: no such process.

    Source: cgroups(7), /proc/PID/cgroup.
    """
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH), str(pid)) from None
    found: dict[str, str] = {}
    for line in lines:
        # A path may hold colons, a controller cannot.
        _, names, path = line.split(":", 2)
        found |= dict.fromkeys(names.split(","), path)
    return found


@dataclass(frozen=True, slots=True)
class _Mount:
    """One line of mountinfo that is a cgroup hierarchy."""

    root: str
    point: Path
    is_v2: bool
    options: list[str]


_NOT_CONTROLLERS = frozenset(
    ("rw", "ro", "xattr", "noprefix", "clone_children", "cpuset_v2_mode", "none", "favordynmods")
)
"""Options of a v1 mount that name no controller. Source: linux/kernel/cgroup/cgroup-v1.c."""


def _parse(line: str) -> _Mount | None:
    # "36 35 98:0 /root /point rw,noatime master:1 - type source options": fields before the dash
    # vary.
    before, _, after = line.partition(" - ")
    fields, kind = before.split(" "), after.split(" ")
    if len(fields) < 6 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
        return None
    is_v2 = kind[0] == "cgroup2"
    options = [] if is_v2 else [o for o in kind[2].split(",") if _is_controller(o)]
    return _Mount(_unescape(fields[3]), Path(_unescape(fields[4])), is_v2, options)


def _is_controller(option: str) -> bool:
    return option not in _NOT_CONTROLLERS and not option.startswith("release_agent=")


def _unescape(text: str) -> str:
    """Undo mountinfo's octal escapes of blanks and backslashes."""
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)
