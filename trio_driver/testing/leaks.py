"""What a block leaves behind: processes, threads, tasks, descriptors, mounts, files, cgroups.

    async def test_a_server_leaves_nothing(tmp_path):
        async with assert_no_leaks(tmp_path):
            async with open_server(tmp_path / "socket"):
                ...

Rules:
- What ends by itself may take its time, but not more than the limit.
- A process that lost its parent is still seen: for the length of the block this process is the one
  that adopts them. It reaps those, and no other.
- Nothing is cleaned up: what was left is there to be looked at.
"""

import contextlib
import gc
import os
import signal
import subprocess
import threading
import time
from collections.abc import AsyncGenerator, Generator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from trio_driver.linux import (
    descendants_of,
    is_child_subreaper,
    parent_of,
    set_child_subreaper,
)

LIMIT_S = 5.0
"""A killed process is gone within milliseconds, on a busy host within a second."""

PAUSE_S = 0.005
"""Between two looks. A real pause: no virtual clock makes a process end sooner."""

CGROUP_ROOT = Path("/sys/fs/cgroup")

IDLE_THREAD = "Trio thread "
"""How the names of Trio's worker threads begin while they wait for work, which they do for 10 s."""


class LeakError(AssertionError):
    """Something was left; the text has a line for each."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What there is now, each thing with a line about it."""

    lines: dict[object, str]

    @classmethod
    def take(cls, directories: Sequence[Path]) -> "Snapshot":
        """Look at this process, at all below it, and below `directories`."""
        found = {
            **_processes(),
            **_threads(),
            **_tasks(),
            **_descriptors(),
            **_mounts(directories),
            **_entries(directories),
        }
        return cls(found)

    @classmethod
    def of_processes(cls) -> "Snapshot":
        """Look at what is below this process alone."""
        return cls(_processes())

    def new_pids_since(self, before: "Snapshot") -> list[int]:
        """Processes that were not there before, without zombies."""
        return [
            key[1]
            for key, line in self.lines.items()
            if isinstance(key, tuple) and key not in before.lines and line.startswith("  process")
        ]

    def new_since(self, before: "Snapshot") -> list[str]:
        """A line for each thing that was not there before."""
        return [line for key, line in self.lines.items() if key not in before.lines]


@asynccontextmanager
async def assert_no_leaks(*directories: Path, limit_s: float = LIMIT_S) -> AsyncGenerator[None]:
    """Fail if the block leaves anything that was not there before.

    Args:
        directories: what is below them counts: files, sockets, mounts, and cgroups alike.
        limit_s: seconds that what was left may take to go by itself.

    Raises:
        LeakError: something is still there; not raised when the block fails by itself.

    What counts: processes below this one, whoever their parent was, zombies of a `Popen` that nobody
    waited for among them; threads but Trio's idle ones; Trio tasks; file descriptors; and all below
    `directories`. What others on the host do meanwhile does not.
    """
    with adopting():
        before = Snapshot.take(directories)
        yield
        give_up_at_s = time.monotonic() + limit_s
        while left := Snapshot.take(directories).new_since(before):
            if time.monotonic() > give_up_at_s:
                raise LeakError("\n".join(["something was left:", *left]))
            await trio.lowlevel.checkpoint()
            time.sleep(PAUSE_S)  # noqa: ASYNC251 - real time, see PAUSE_S


@contextmanager
def adopting() -> Generator[None]:
    """Be the one that processes go to which lose their parent, for the length of the block."""
    before = is_child_subreaper()
    set_child_subreaper()
    try:
        yield
    finally:
        set_child_subreaper(before)


async def end_processes_since(before: Snapshot) -> None:
    """Kill what is below this process and was not there `before`, until none of it is left.

    If cancelled, what was killed stays killed.
    """
    while pids := Snapshot.of_processes().new_pids_since(before):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)  # below us: its pid is not given to another one
        await trio.sleep(PAUSE_S)


def _processes() -> dict[object, str]:
    found: dict[object, str] = {}
    for pid in descendants_of(os.getpid()):
        state, name, start_ticks = _stat(pid)
        if not state or (state in "ZX" and parent_of(pid) == os.getpid() and _reap(pid)):
            continue
        kind = "zombie" if state in "ZX" else "process"
        found["process", pid, start_ticks] = f"  {kind} {pid} ({name}) {_command_line(pid)}"
    return found


def _stat(pid: int) -> tuple[str, str, str]:
    """State, name and start time; empty when it is gone. Source: proc(5), /proc/pid/stat."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return "", "", ""
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    return fields[0], head.partition("(")[2], fields[19]


def _reap(pid: int) -> bool:
    """Reap a zombie that was adopted; one that somebody here has started is theirs to wait for."""
    if any(popen.pid == pid for popen in _unwaited()):
        return False
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return True


def _unwaited() -> Iterator["subprocess.Popen[bytes]"]:
    forgotten: Iterable[object] = getattr(subprocess, "_active", None) or ()
    for each in (*gc.get_objects(), *forgotten):
        if isinstance(each, subprocess.Popen) and each.returncode is None:
            yield each


def _command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
        return text.decode(errors="replace").strip()
    return ""


def _threads() -> dict[object, str]:
    return {
        ("thread", thread.ident): f"  thread {thread.name}"
        for thread in threading.enumerate()
        if not thread.name.startswith(IDLE_THREAD)
    }


def _tasks() -> dict[object, str]:
    root = trio.lowlevel.current_root_task()
    assert root is not None, "we run in Trio"
    return {("task", id(task)): f"  Trio task {task.name}" for task in _below(root)}


def _below(task: trio.lowlevel.Task) -> Iterator[trio.lowlevel.Task]:
    yield task
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield from _below(child)


def _descriptors() -> dict[object, str]:
    found: dict[object, str] = {}
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # that of the listing
            target = os.readlink(f"/proc/self/fd/{fd}")
            found["fd", fd, target] = f"  descriptor {fd}: {target}"
    return found


def _mounts(directories: Sequence[Path]) -> dict[object, str]:
    lines = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    points = {line.split()[0]: Path(line.split()[4]) for line in lines}
    return {
        ("mount", mount_id): f"  mount {point}"
        for mount_id, point in points.items()
        if any(point.is_relative_to(directory) for directory in directories)
    }


def _entries(directories: Sequence[Path]) -> dict[object, str]:
    found: dict[object, str] = {}
    for directory in directories:
        for parent, names, files in os.walk(directory):
            is_cgroup = Path(parent).is_relative_to(CGROUP_ROOT)
            for name in names if is_cgroup else (*names, *files):
                path = os.path.join(parent, name)
                found["path", path] = f"  {'cgroup' if is_cgroup else 'file'} {path}"
    return found
