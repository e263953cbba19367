"""The directory of one allocation, as an agent lays it out, for the length of a block.

Rules:
- As root the tree can be entered and written by any task user, like the agent's; otherwise it is
  ours alone.
- It is removed with nothing in it followed: a task could write everything below it.

Source: nomad-protocol B.2. Must not know: pipes, plugins.
"""

import os
import pwd
import shutil
import tempfile
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

from trio_driver.cli.errors import RunError

ROOT_MODE_AS_ROOT = 0o711
"""Task users may pass through, but not list. Source: the agent's own mode for its `alloc_dir`."""

ALLOC_MODE = 0o755
SHARED_MODE = 0o777
TMP_MODE = 0o1777


@contextmanager
def open_alloc_dir(alloc_id: str, tasks: Iterable[str]) -> Generator[Path]:
    """Make `<temporary directory>/<alloc_id>` with everything that tasks expect in it.

    Leaving the block removes all of it.

    Raises:
        RunError: on leaving, when something is still mounted below: it is then left alone.
    """
    root = Path(tempfile.mkdtemp(prefix="trio-driver-run-"))
    try:
        if os.geteuid() == 0:
            root.chmod(ROOT_MODE_AS_ROOT)
        directory = root / alloc_id
        directory.mkdir()
        directory.chmod(ALLOC_MODE)
        _make_shared(directory / "alloc")
        for name in ("data", "logs", "tmp"):
            _make_shared(directory / "alloc" / name)
        for task in tasks:
            _make_shared(directory / task)
            for name in ("local", "secrets", "private"):
                _make_shared(directory / task / name)
            _make_shared(directory / task / "tmp", mode=TMP_MODE)
        yield directory
    finally:
        _remove(root)


def mounts_below(root: Path, mountinfo: str) -> list[str]:
    """The mount points under `root`, by the text of /proc/self/mountinfo.

    Source: proc(5); field 5, with spaces and the like as octal escapes.
    """
    points = [_unescape(line.split(" ")[4]) for line in mountinfo.splitlines()]
    return [point for point in points if point.startswith(f"{root}/")]


def _make_shared(path: Path, *, mode: int = SHARED_MODE) -> None:
    """A directory that every task user may write, whatever the umask."""
    path.mkdir()
    path.chmod(mode)
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(path, nobody.pw_uid, nobody.pw_gid)


def _remove(root: Path) -> None:
    if mounted := mounts_below(root, Path("/proc/self/mountinfo").read_text()):
        raise RunError(f"not removed, the driver left something mounted there: {mounted[0]}")
    shutil.rmtree(root)


def _unescape(field: str) -> str:
    return field.encode().decode("unicode_escape") if "\\" in field else field
