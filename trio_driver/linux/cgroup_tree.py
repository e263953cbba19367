"""A cgroup and everything below it: walking, making, joining, removing.

Rules:
- A task may own the cgroups below its own and may make and remove more of them while we walk, of
  any name, number and depth. So a walk holds one fd, goes down by name and up by "..", never
  through a path (a deep one is longer than the kernel takes), is bounded, and takes what vanishes
  as gone.
- Nothing here waits: `remove_tree` takes a step and says whether that was the last.

It must not know whose processes these are.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from trio_driver.linux.cgroup_files import is_gone, keyed, read, read_at, write

DIRECTORIES_LIMIT = 16_384
"""After this many directories a walk turns aside to no further one; a second or so of work."""

DEPTH_LIMIT = 32_768
"""Deepest that a walk goes: the kernel's memory for a chain of cgroups grows with the square."""

_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def make(path: Path) -> bool:
    """Make the cgroup `path`; False if it was there.

    Raises:
        FileNotFoundError: its parent is not there.
        OSError: what the kernel answered; EAGAIN if the parent allows no more of them.
    """
    try:
        path.mkdir(mode=0o755)
    except FileExistsError:
        return False
    return True


def join(path: Path, *, pid: int = 0) -> None:
    """Move process `pid`, by default the calling one, into the cgroup at `path`.

    Raises:
        OSError: what the kernel answered: EBUSY (v2: controllers are enabled below), ENOSPC (v1: a
            cpuset without cpus or mems), ESRCH (no such process).
    """
    write(path / "cgroup.procs", str(pid))


def join_thread(path: Path) -> None:
    """Move the calling thread, the only one of its process, into the v1 cgroup at `path`.

    As `join`, but it does not wait for an RCU grace period (some 10 ms) as the move of a whole process does.

    Raises:
        OSError: as `join`; FileNotFoundError for a v2 cgroup.
    """
    write(path / "tasks", "0")


def takes_processes(path: Path) -> bool:
    """Whether a v1 cpuset has what a process needs: one without CPUs or memory nodes refuses all
    (ENOSPC), one that is gone takes none."""
    with contextlib.suppress(FileNotFoundError):
        return all(read(path / name).strip() for name in ("cpuset.cpus", "cpuset.mems"))
    return False


def procs(path: Path, *, recursive: bool = False) -> list[int]:
    """Pids in the cgroup at `path` (`recursive`: and below) that have one here; [] when it is gone.

    One look: members may come and go. Dead processes that are not reaped yet are not listed.
    """
    if not recursive:
        with contextlib.suppress(FileNotFoundError), _opened(path) as dir_fd:
            return procs_at(dir_fd)
        return []
    found = itertools.chain.from_iterable(procs_at(dir_fd) for dir_fd in walk(path))
    return list(dict.fromkeys(found))


def procs_at(dir_fd: int) -> list[int]:
    """As `procs`, for the cgroup that `dir_fd` is open on."""
    try:
        text = read_at(dir_fd, "cgroup.procs")
    except OSError as error:
        if is_gone(error):
            return []
        if error.errno != errno.EOPNOTSUPP:
            raise
        # A "threaded" v2 cgroup has only threads; their process may be a member of one above.
        return _processes_of_threads(dir_fd)
    # 0 is a process outside our pid namespace. The last line may be cut by the limit of a read.
    return [
        int(line)
        for line in text.splitlines(keepends=True)
        if line.endswith("\n") and line != "0\n"
    ]


def is_populated(path: Path) -> bool:
    """Whether a process lives in the cgroup at `path` or below. False when it is gone.

    Source: cgroup-v2.rst, cgroup.events "populated"; v1 has no such file, there members are looked
    for.
    """
    try:
        return keyed(read(path / "cgroup.events"))["populated"] != 0
    except OSError as error:
        if not is_gone(error):
            raise
    with contextlib.closing(walk(path)) as directories:
        return any(procs_at(dir_fd) for dir_fd in directories)


def remove_tree(path: Path) -> bool:
    """Remove the cgroup at `path` and those below where nobody lives. True when it is gone.

    False: something still lives there (EBUSY) or has just been made there. Call again once that has
    ended.

    Raises:
        OSError: the kernel refuses for another reason, EACCES for one.
    """
    if _rmdir(str(path)):
        return True
    for step in _steps(path):
        if isinstance(step, _Left):
            _rmdir(step.name, dir_fd=step.dir_fd)
    return _rmdir(str(path))


def walk(path: Path) -> Generator[int]:
    """Open fds of the cgroup at `path` and of each below, parents first, each until the next.

    Nothing when it is gone. Close the iterator (or exhaust it) to close the fd.
    """
    with contextlib.closing(_steps(path)) as steps:
        for step in steps:
            if isinstance(step, _Entered):
                yield step.dir_fd


@dataclass(frozen=True, slots=True)
class _Entered:
    """The walk has come to a directory."""

    dir_fd: int


@dataclass(frozen=True, slots=True)
class _Left:
    """The walk is done with directory `name` and is back in its parent."""

    dir_fd: int
    name: str


def _steps(path: Path) -> Generator[_Entered | _Left]:
    """Walk the tree at `path`: each directory but the first is entered once and left once."""
    try:
        fd = os.open(path, _DIRECTORY_FLAGS)
    except FileNotFoundError:
        return
    try:
        yield _Entered(fd)
        names: list[str] = []
        todo = [_children(fd)]
        entered, going_down = 1, True
        while todo:
            # Past the limit only the way straight down is finished: its end can be removed, so each
            # walk gets something done.
            wanted = entered < DIRECTORIES_LIMIT or (going_down and len(names) < DEPTH_LIMIT)
            if todo[-1] and wanted:
                name = todo[-1].pop()
                child = _open_at(fd, name)
                if child is None:
                    continue
                os.close(fd)
                fd, going_down = child, True
                entered += 1
                names.append(name)
                todo.append(_children(fd))
                yield _Entered(fd)
            else:
                todo.pop()
                parent = _open_at(fd, "..") if names else None
                if parent is None:
                    return
                os.close(fd)
                fd, going_down = parent, False
                yield _Left(fd, names.pop())
    finally:
        os.close(fd)


def _children(dir_fd: int) -> list[str]:
    """Names of the cgroups in a directory, at most `DIRECTORIES_LIMIT`."""
    try:
        with os.scandir(dir_fd) as entries:
            names = (entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
            return list(itertools.islice(names, DIRECTORIES_LIMIT))
    except OSError as error:
        if is_gone(error):
            return []
        raise


def _open_at(dir_fd: int, name: str) -> int | None:
    try:
        return os.open(name, _DIRECTORY_FLAGS, dir_fd=dir_fd)
    except OSError as error:
        if is_gone(error):
            return None
        raise


def _rmdir(path: str, *, dir_fd: int | None = None) -> bool:
    """Remove one cgroup; whether it is gone."""
    try:
        os.rmdir(path, dir_fd=dir_fd)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno in (errno.EBUSY, errno.ENOTEMPTY):
            return False
        raise
    return True


@contextlib.contextmanager
def _opened(path: Path) -> Generator[int]:
    fd = os.open(path, _DIRECTORY_FLAGS)
    try:
        yield fd
    finally:
        os.close(fd)


def _processes_of_threads(dir_fd: int) -> list[int]:
    try:
        threads = read_at(dir_fd, "cgroup.threads").split()
    except OSError as error:
        if is_gone(error):
            return []
        raise
    found: dict[int, None] = {}
    for thread in threads:
        with contextlib.suppress(OSError, ValueError, IndexError):
            status = read_at(None, f"/proc/{thread}/status")
            found[int(status.partition("\nTgid:")[2].split(maxsplit=1)[0])] = None
    return list(found)
