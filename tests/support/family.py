"""Every process below the test process, which plays init for them: whoever loses its parent becomes
our child.

So whatever a plugin starts, however it hides, is a descendant of ours: no marks, no names, nothing
to miss.

Rules:
- Only strangers are reaped here (a spawner whose plugin has ended, what a dead spawner left);
  plugins are their client's to reap, as an agent's are.
"""

import contextlib
import ctypes
import enum
import os
import signal
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from trio_driver.linux import (
    ProcessId,
    descendants_of,
    identify,
    is_alive,
    open_pidfd,
    parent_of,
    signal_pidfd,
    wait_pidfd,
)

from .waiting import LIMIT_S, until

_PRCTL = ctypes.CDLL(None, use_errno=True).prctl
_PR_SET_CHILD_SUBREAPER = 36


class Role(enum.Enum):
    """What a process is to the test."""

    PLUGIN = "plugin"
    SPAWNER = "spawner"
    EXECUTOR = "executor"
    WORKLOAD = "workload"
    ZOMBIE = "zombie"


@dataclass(frozen=True, slots=True)
class Counts:
    """How many there are of each."""

    plugins: int = 0
    spawners: int = 0
    executors: int = 0
    workloads: int = 0


@dataclass(slots=True)
class Family:
    """All of them, see `playing_init`."""

    before: frozenset[int]
    plugin_pids: set[int] = field(default_factory=set[int])
    """Reaped by their clients."""

    def look(self) -> dict[int, Role]:
        """All processes below us now but those that were there before, zombies of strangers
        reaped."""
        pids = [pid for pid in descendants_of(os.getpid()) if pid not in self.before]
        roles = {pid: role for pid in pids if (role := self._role(pid)) is not None}
        for pid, role in list(roles.items()):
            if role is Role.ZOMBIE and self._reap(pid):
                del roles[pid]
        return roles

    def all_of(self, role: Role) -> list[ProcessId]:
        """Those with `role`."""
        found = (identify(pid) for pid, each in self.look().items() if each is role)
        return [process for process in found if process is not None]

    def counts(self) -> Counts:
        """How many live now."""
        roles = list(self.look().values())
        return Counts(
            plugins=roles.count(Role.PLUGIN),
            spawners=roles.count(Role.SPAWNER),
            executors=roles.count(Role.EXECUTOR),
            workloads=roles.count(Role.WORKLOAD),
        )

    async def becomes(self, wanted: Counts, *, limit_s: float = LIMIT_S) -> None:
        """Wait until exactly `wanted` live, and no zombie is there.

        Raises:
            AssertionError: the text lists what there is.
        """

        def matches() -> bool:
            return self.counts() == wanted and Role.ZOMBIE not in self.look().values()

        await until(matches, lambda: f"{wanted}; there is\n{self.listing()}", limit_s=limit_s)

    def listing(self) -> str:
        """A line a process, for a failure's text."""
        return "\n".join(
            f"  {role.value} {pid} (parent {parent_of(pid)}) {command_line(pid)}"
            for pid, role in self.look().items()
        )

    def kill_all(self) -> bool:
        """Kill everybody once; whether anybody was there. Only to clean up after a failed test."""
        roles = self.look()
        for pid in roles:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return bool(roles)

    def _role(self, pid: int) -> Role | None:
        state, name = _state_and_name(pid)
        parent = parent_of(pid)
        if not state or parent is None:
            return None
        if state in "ZX":
            return Role.ZOMBIE
        if pid in self.plugin_pids:
            return Role.PLUGIN
        parent_name = _state_and_name(parent)[1]
        if (
            name == "trio-spawner"
        ):  # between fork and its own name, an executor still has its parent's
            return Role.EXECUTOR if parent_name == "trio-spawner" else Role.SPAWNER
        if name == "trio-executor":
            return Role.WORKLOAD if parent_name == "trio-executor" else Role.EXECUTOR
        if name == "trio-init":  # a proxy is a part of what it leads
            return Role.WORKLOAD
        if parent in self.plugin_pids or " spawner " in command_line(pid):
            return Role.SPAWNER
        return (
            Role.PLUGIN
            if parent == os.getpid() and "plugins/" in command_line(pid)
            else Role.WORKLOAD
        )

    def _reap(self, pid: int) -> bool:
        if pid in self.plugin_pids or parent_of(pid) != os.getpid():
            return False
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        return True


@contextmanager
def playing_init() -> Generator[Family]:
    """Be the parent of every orphan below this process, for the length of the block."""
    before = frozenset(descendants_of(os.getpid()))
    _PRCTL(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield Family(before)
    finally:
        _PRCTL(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def _state_and_name(pid: int) -> tuple[str, str]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return "", ""
    head, _, tail = text.rpartition(")")
    return tail.split()[0], head.partition("(")[2]


def state_of(process: ProcessId) -> str:
    """The kernel's letter for what the process does; empty when it is gone."""
    return _state_and_name(process.pid)[0] if identify(process.pid) == process else ""


def command_line(pid: int) -> str:
    """With blanks between the arguments; for people, never for identity."""
    with contextlib.suppress(OSError):
        return (
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        )
    return ""


def send(process: ProcessId, signum: int) -> None:
    """Send a signal to exactly this process; nothing happens when it is gone."""
    with contextlib.suppress(ProcessLookupError):
        pidfd = open_pidfd(process)
        try:
            signal_pidfd(pidfd, signum)
        finally:
            os.close(pidfd)


async def kill(*processes: ProcessId) -> None:
    """SIGKILL all of them, then wait until none runs."""
    for process in processes:
        send(process, signal.SIGKILL)
    for process in processes:
        await gone(process)


async def freeze(process: ProcessId) -> None:
    """SIGSTOP it, and wait until it stands."""
    send(process, signal.SIGSTOP)
    await until(lambda: state_of(process) in ("T", ""), f"{process} is stopped")


def thaw(process: ProcessId) -> None:
    """Undo `freeze`."""
    send(process, signal.SIGCONT)


async def gone(process: ProcessId) -> None:
    """Wait until it has ended; a zombie has.

    Raises:
        AssertionError: not within `LIMIT_S`.
    """
    try:
        pidfd = open_pidfd(process)
    except ProcessLookupError:
        return
    try:
        with trio.move_on_after(LIMIT_S):
            await wait_pidfd(pidfd)
    finally:
        os.close(pidfd)
    assert not is_alive(process), f"{process} still runs after {LIMIT_S:g} s"
