"""What an agent's plugin has on the host: processes, cgroups, sockets, files, mounts.

Processes are recognized by several marks, for each of them can be lost: the agent's home in command
line, working directory, executable, environment or an open file; a parent that is recognized; and
having been recognized once.

Rules:
- Looking changes nothing. Only `Footprint.wipe` does, after a test has failed for what it wipes.
- What is Nomad's (the agent, its log collectors) is recognized by the executable and is not ours.
"""

import os
import shutil
import signal
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import msgspec

from .installation import PLUGIN_FILE
from .nomad import HOME_VARIABLE, Agent, mounts_below
from .waiting import eventually

CGROUP_ROOT = Path("/sys/fs/cgroup")

_SHARED = frozenset(
    {"nomad", "share", "reserve", "nomad.slice", "share.slice", "reserve.slice", "trio-driver"}
)
"""Cgroups of Nomad and ours that hold more than one task, or none."""


class Role(Enum):
    """What a process is to the agent."""

    NOMAD = "nomad"
    PLUGIN = "plugin"
    SPAWNER = "spawner"
    EXECUTOR = "executor"
    WORKLOAD = "workload"
    ZOMBIE = "zombie"


@dataclass(frozen=True, slots=True)
class Process:
    """A process as /proc shows it; pid and start time are its identity."""

    pid: int
    start_ticks: int
    parent_pid: int
    state: str
    command: tuple[str, ...]

    @property
    def identity(self) -> tuple[int, int]:
        return (self.pid, self.start_ticks)

    def __str__(self) -> str:
        return f"{self.pid} (parent {self.parent_pid}, {self.state}) {' '.join(self.command)}"


@dataclass(frozen=True, slots=True)
class Counts:
    """How many there are of each of ours, and of what runs in our tasks."""

    plugins: int
    spawners: int
    executors: int
    workloads: int


@dataclass(slots=True)
class Footprint:
    """The traces of one agent's home."""

    agent: Agent
    known: dict[tuple[int, int], Role] = field(default_factory=dict[tuple[int, int], Role])
    """Every process that was ever recognized, with the last role it had while it was alive."""
    run_names: set[str] = field(default_factory=set[str])
    cgroups: set[Path] = field(default_factory=set[Path])
    """The cgroups in which workloads were seen."""
    foreign_cgroups: set[Path] = field(default_factory=lambda: set(all_cgroups()))
    """What was there before the agent."""
    records_may_stay: bool = False
    """Whether the agent may have given a task up while no plugin could be told to destroy it: its
    exit record stays then, for a day."""

    def look(self) -> dict[Role, list[Process]]:
        """All processes of this agent now, by role; what is seen is remembered."""
        found: dict[Role, list[Process]] = {role: [] for role in Role}
        everyone = all_processes()
        executor_pids = self._executor_pids()
        for process in self._family(everyone):
            role = _role(process, everyone, executor_pids)
            if role is Role.ZOMBIE and self.known.get(process.identity) is Role.NOMAD:
                role = Role.NOMAD
            if role is not Role.ZOMBIE:
                self.known[process.identity] = role
            if role is Role.WORKLOAD:
                self.cgroups |= own_cgroups(process.pid) - self.foreign_cgroups
            found[role].append(process)
        return found

    def counts(self) -> Counts:
        """How many of ours live now."""
        found = self.look()
        return Counts(
            plugins=len(found[Role.PLUGIN]),
            spawners=len(found[Role.SPAWNER]),
            executors=len(found[Role.EXECUTOR]),
            workloads=len(found[Role.WORKLOAD]),
        )

    async def becomes(self, wanted: Counts, *, limit_s: float = 30.0) -> None:
        """Wait until there are exactly `wanted`.

        Raises:
            AssertionError: the text lists what there is.
        """
        await eventually(
            lambda: self.counts() == wanted,
            str(wanted),
            shown=lambda: f"{self.counts()}\n{self.listing()}",
            limit_s=limit_s,
        )

    def plugin(self) -> Process:
        """The only plugin process."""
        (process,) = self.look()[Role.PLUGIN]
        return process

    def spawner(self) -> Process:
        """The only spawner."""
        (process,) = self.look()[Role.SPAWNER]
        return process

    def executor(self) -> Process:
        """The only executor."""
        (process,) = self.look()[Role.EXECUTOR]
        return process

    def files(self) -> list[str]:
        """What is in the state directory and in TMPDIR."""
        below = [self.agent.state_dir, self.agent.home / "tmp"]
        paths = [path for top in below for path in top.rglob("*")]
        kept = {self.agent.state_dir / "runs", self.agent.state_dir / "locks"}
        kept |= set((self.agent.home / "tmp").glob("plugin*"))  # sockets of Nomad's log collectors
        return sorted(str(path) for path in paths if path not in kept)

    def files_at_end(self) -> list[str]:
        """Those of `files` that nobody is to find when the agent has ended well."""
        if not self.records_may_stay:
            return self.files()
        ended = [path.parent for path in self.agent.state_dir.glob("runs/*/exit.json")]
        kept = [part for run in ended for part in (str(run), f"/{run.name.partition('-')[0]}")]
        return [path for path in self.files() if not any(part in path for part in kept)]

    def files_of_tasks(self) -> list[str]:
        """Those of `files` that are neither the plugin's nor the spawner's."""
        ours = ("spawner-", "trio-driver-")
        paths = self.files_at_end()
        return [path for path in paths if not path.rpartition("/")[2].startswith(ours)]

    def cgroups_left(self, allocation_ids: list[str]) -> list[str]:
        """Cgroups of workloads that were seen, of runs and of allocations, that exist now."""
        words = [*allocation_ids, *self.run_names]
        named = [path for path in all_cgroups() if any(word in path.name for word in words)]
        return sorted(map(str, {*named, *(path for path in self.cgroups if path.exists())}))

    def mounts_left(self) -> list[str]:
        return mounts_below(self.agent.home)

    def listing(self) -> str:
        """All processes of this agent but Nomad's, a line each, for a failure's text."""
        found = self.look()
        lines = [
            f"{role.value}: {each}"
            for role in Role
            if role is not Role.NOMAD
            for each in found[role]
        ]
        return "\n".join([*lines, *self.files()])

    def wipe(self) -> None:
        """Kill what is ours and remove its records: a failed test must not spoil the next one."""
        for role, processes in self.look().items():
            for process in processes:
                is_the_agent = self.agent.is_running and process.pid == self.agent.pid
                if not is_the_agent and role is not Role.ZOMBIE:
                    _kill(process)
        for path in [*self.agent.state_dir.glob("runs/*"), *self.agent.state_dir.glob("locks/*")]:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def _family(self, everyone: dict[int, Process]) -> list[Process]:
        home = str(self.agent.home)
        marked = {
            pid
            for pid, each in everyone.items()
            if each.identity in self.known or _has_mark(each, home)
        }
        marked -= {os.getpid()}
        while more := {pid for pid, each in everyone.items() if each.parent_pid in marked} - marked:
            marked |= more
        return [everyone[pid] for pid in sorted(marked)]

    def _executor_pids(self) -> set[int]:
        pids: set[int] = set()
        for path in (self.agent.state_dir / "runs").glob("*/executor.json"):
            self.run_names.add(path.parent.name)
            try:
                pids.add(msgspec.json.decode(path.read_bytes(), type=_ExecutorRecord).pid)
            except (OSError, msgspec.DecodeError):
                continue  # destroyed, or being written, while we looked
        return pids


class _ExecutorRecord(msgspec.Struct):
    pid: int


def all_processes() -> dict[int, Process]:
    """Every process on this host that is not a kernel thread."""
    processes = (read_process(int(name)) for name in os.listdir("/proc") if name.isdecimal())
    return {each.pid: each for each in processes if each is not None and each.parent_pid != 2}


def read_process(pid: int) -> Process | None:
    """The process `pid`; None when it has gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    words = tuple(word.decode(errors="replace") for word in command.split(b"\0") if word)
    return Process(pid, int(fields[19]), int(fields[1]), fields[0], words)


def _has_mark(process: Process, home: str) -> bool:
    if any(home in word for word in process.command):
        return True
    place = Path(f"/proc/{process.pid}")
    try:
        if f"{HOME_VARIABLE}={home}".encode() in (place / "environ").read_bytes():
            return True
        links = [place / "cwd", place / "exe", *(place / "fd").iterdir()]
        return any(_link(path).startswith(home) for path in links)
    except OSError:
        return False  # it has just ended, or is a zombie: recognized by its parent


def _link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _role(process: Process, everyone: dict[int, Process], executor_pids: set[int]) -> Role:
    if process.state == "Z":
        return Role.ZOMBIE
    if _link(Path(f"/proc/{process.pid}/exe")).endswith("/nomad"):
        return Role.NOMAD
    match _ours(process):
        case "":
            return Role.PLUGIN
        case "spawner":
            parent = everyone.get(process.parent_pid)
            is_fork = process.pid in executor_pids or (
                parent is not None and _ours(parent) == "spawner"
            )
            return Role.EXECUTOR if is_fork else Role.SPAWNER
        case _:
            return Role.WORKLOAD


def _ours(process: Process) -> str | None:
    """The argument with which our program runs, empty for the plugin; None for another program."""
    names = [Path(word).name for word in process.command[:3]]
    if PLUGIN_FILE not in names:
        return None
    rest = process.command[names.index(PLUGIN_FILE) + 1 :]
    return rest[0] if rest else ""


def all_cgroups() -> list[Path]:
    """Every cgroup directory of every hierarchy."""
    return [Path(parent) / name for parent, names, _ in os.walk(CGROUP_ROOT) for name in names]


def own_cgroups(pid: int) -> set[Path]:
    """The cgroups in which a workload is and that no other task shares."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return set()
    places = {line.split(":", 2)[1]: line.split(":", 2)[2].lstrip("/") for line in lines}
    named = {CGROUP_ROOT / _hierarchy(name) / place for name, place in places.items() if place}
    return {path for path in named if path.is_dir() and path.name not in _SHARED}


def _hierarchy(controllers: str) -> str:
    if controllers:
        return controllers.removeprefix("name=")
    return "unified" if (CGROUP_ROOT / "unified").is_dir() else ""


def _kill(process: Process) -> None:
    try:
        pidfd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    now = read_process(process.pid)
    if now is not None and now.identity == process.identity:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    os.close(pidfd)
