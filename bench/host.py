"""What an agent prepares for a task on this host: its cgroups and its log pipes.

Source: nomad-protocol §7, §8.7.

Rules:
- Only what was made here is removed, so that an agent on the same host keeps its own.
"""

import contextlib
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trio_driver.linux import cgroup

V1_HIERARCHIES = ("freezer", "memory", "cpu")
"""Where an agent makes one directory a task."""

CPUSET_FILES = ("cpuset.cpus", "cpuset.mems")
"""A v1 cpuset takes no process before both are set; they are not inherited."""

V2_CONTROLLERS = ("cpuset", "cpu", "io", "memory", "pids")

REMOVE_LIMIT_S = 5.0
"""How long a cgroup may stay busy after the last process of its task was killed."""


@dataclass(frozen=True, slots=True)
class TaskCgroups:
    """The directories of one task; `cpuset_cgroup` is what StartTask is told."""

    paths: tuple[Path, ...] = ()
    cpuset_cgroup: str = ""

    def make(self) -> None:
        for path in self.paths:
            path.mkdir()

    def remove(self) -> None:
        """Kill what is left in them, as an agent does, and remove them."""
        for path in self.paths:
            deadline_s = time.monotonic() + REMOVE_LIMIT_S
            while not cgroup.remove_tree(path):
                cgroup.kill(path)
                if time.monotonic() > deadline_s:
                    raise TimeoutError(f"{path} does not become empty")


class Cgroups:
    """The part of the cgroup trees that an agent has."""

    def __init__(self, mounts: cgroup.Mounts) -> None:
        is_root = os.geteuid() == 0
        is_v2 = mounts.unified is not None and not mounts.v1
        self._v1 = [mounts.v1[name] / "nomad" for name in V1_HIERARCHIES if name in mounts.v1]
        self._cpuset = mounts.v1["cpuset"] / "nomad" if "cpuset" in mounts.v1 else None
        self._slice = mounts.unified / "nomad.slice" if mounts.unified and is_v2 else None
        if not is_root:
            self._v1, self._cpuset, self._slice = [], None, None

    def of_task(self, alloc_id: str, task_name: str) -> TaskCgroups:
        """What an agent makes for this task: nothing for an ordinary user."""
        name = f"{alloc_id}.{task_name}"
        if self._slice is not None:
            scope = self._slice / "share.slice" / f"{name}.scope"
            return TaskCgroups((scope,), str(scope))
        share = str(self._cpuset / "share") if self._cpuset else ""
        return TaskCgroups(tuple(path / name for path in self._v1), share)

    def make_parents(self) -> list[Path]:
        """Make what all tasks share, unless it is there; what was made, outermost first."""
        parents = list(self._v1)
        for parent, part in ((self._cpuset, "share"), (self._slice, "share.slice")):
            parents += [parent, parent / part] if parent is not None else []
        made = [path for path in parents if not path.is_dir()]
        for path in made:
            path.mkdir()
            if self._cpuset is not None and path.is_relative_to(self._cpuset):
                for file in CPUSET_FILES:
                    cgroup.write(path / file, cgroup.read(path.parent / file).strip())
        if self._slice is not None:
            wanted = " ".join(f"+{name}" for name in V2_CONTROLLERS)
            for path in (self._slice.parent, self._slice, self._slice / "share.slice"):
                cgroup.write(path / "cgroup.subtree_control", wanted)
        return made


@contextmanager
def open_cgroups() -> Generator[Cgroups]:
    """The parents of all task cgroups, for the length of the block."""
    cgroups = Cgroups(cgroup.find_mounts())
    made = cgroups.make_parents()
    try:
        yield cgroups
    finally:
        for path in reversed(made):
            with contextlib.suppress(OSError):  # an agent has begun to use it meanwhile
                path.rmdir()


@contextmanager
def open_log_pipes(directory: Path) -> Generator[tuple[str, str]]:
    """Paths of two log pipes that somebody reads, as Nomad's log collector leaves them."""
    paths = directory / "stdout.fifo", directory / "stderr.fifo"
    readers: list[int] = []
    try:
        for path in paths:
            os.mkfifo(path)
            readers.append(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        yield str(paths[0]), str(paths[1])
    finally:
        for reader in readers:
            os.close(reader)
