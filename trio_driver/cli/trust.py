"""Who could replace what is at a path: what root executes must be root's to change.

Rules:
- Every component counts, those that a link leads through too; a link counts by the directory it is in.
- A sticky directory (such as /tmp) protects what is in it from those who do not own that.

Must not know: what the path is for.
"""

import contextlib
import errno
import grp
import os
import pwd
import stat
from collections import deque
from collections.abc import Iterator
from pathlib import Path

MAX_LINKS = 40
"""As the kernel: path_resolution(7)."""


def weakness(path: Path) -> str | None:
    """The first place at which another user could change what `path` leads to; None if there is none.

    Root and the user of this process may.

    Raises:
        OSError: there is nothing, or it cannot be looked at.
    """
    *above, last = _places(path)
    for place in above:
        if (problem := _problem(place, is_last=False)) is not None:
            return problem
    return _problem(last, is_last=True)


def _places(path: Path) -> Iterator[Path]:
    """Every file, link and directory that is looked at on the way to `path`, the target last."""
    rest = deque(Path(os.path.abspath(path)).parts[1:])
    place, links = Path("/"), 0
    yield place
    while rest:
        part = rest.popleft()
        if part == "..":
            place = place.parent
            continue
        place /= part
        yield place
        if place.is_symlink():
            links += 1
            if links > MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
            target = Path(os.readlink(place))
            rest.extendleft(reversed(target.parts[1:] if target.is_absolute() else target.parts))
            place = Path("/") if target.is_absolute() else place.parent
            if not rest:
                yield place


def _problem(path: Path, *, is_last: bool) -> str | None:
    status = path.lstat()
    if status.st_uid not in (0, os.geteuid()):
        return f"{path} belongs to {_user(status.st_uid)}"
    if stat.S_ISLNK(status.st_mode):
        return None
    mode = stat.S_IMODE(status.st_mode)
    if not is_last and mode & stat.S_ISVTX:
        return None
    if mode & stat.S_IWOTH:
        return f"{path} can be written by every user (mode {mode:04o})"
    if mode & stat.S_IWGRP and (others := _others_of_group(status.st_gid)):
        return f"{path} can be written by {others}, of its group (mode {mode:04o})"
    return None


def _others_of_group(gid: int) -> str:
    """A member of the group beside root and us; empty when there is none."""
    if gid == 0:
        return ""
    ours = {"root", _user(os.geteuid())}
    members = [entry.pw_name for entry in pwd.getpwall() if entry.pw_gid == gid]
    with contextlib.suppress(KeyError):
        members += grp.getgrgid(gid).gr_mem
    return next((name for name in members if name not in ours), "")


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
