"""Opening a state directory: where it is, and whether only we can write there.

Rules:
- Who uses it first makes it; who only looks (`find_state_directory`) makes nothing.
- It is checked before anything is made in it.
"""

import os
import stat
from pathlib import Path

from trio_driver.state.directory import TMPFS_ROOT, StateDirectory


class StateDirectoryError(Exception):
    """The state directory cannot be used; the text says what to change."""


def default_path(uid: int | None = None) -> Path:
    """`/run/trio-driver` for root, the user's own runtime directory otherwise.

    Args:
        uid: whose; by default that of this process.
    """
    uid = os.geteuid() if uid is None else uid
    if uid == 0:
        return TMPFS_ROOT / "trio-driver"
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime and os.access(runtime, os.W_OK):
        return Path(runtime) / "trio-driver"
    return Path(f"/tmp/trio-driver-{uid}")


def open_state_directory(path: Path) -> StateDirectory:
    """Make the directory if it is missing, and check that only we can write there.

    Raises:
        StateDirectoryError: it cannot be made, is a link, belongs to another user, or others may
            write to it.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check(path, path.lstat())
        for name in ("runs", "locks"):
            (path / name).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise _unusable(path, error) from error
    return StateDirectory(path)


def find_state_directory(path: Path) -> StateDirectory | None:
    """The directory if it is there; makes nothing.

    Raises:
        StateDirectoryError: it is there, and not ours alone.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(path, error) from error
    _check(path, status)
    return StateDirectory(path)


def _unusable(path: Path, error: OSError) -> StateDirectoryError:
    return StateDirectoryError(
        f'state_dir "{path}" cannot be used: {error.strerror}; set another state_dir'
    )


def _check(path: Path, status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode) or not stat.S_ISDIR(status.st_mode):
        raise StateDirectoryError(
            f'state_dir "{path}" is not a directory of its own; set another state_dir'
        )
    if status.st_uid != os.geteuid():
        raise StateDirectoryError(
            f'state_dir "{path}" belongs to uid {status.st_uid}; set another state_dir'
        )
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise StateDirectoryError(
            f'state_dir "{path}" has mode {stat.S_IMODE(status.st_mode):04o}; it must be 0700: '
            "chmod it, or set another state_dir"
        )
