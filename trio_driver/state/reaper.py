"""Ending a run from disk alone: any process of ours can do it, at any time, twice, and after any
crash.

Rules:
- Nobody's consent is asked: containment first, then the executor, then the files.
- Nothing is signalled by a stored pid alone: the boot id and the start time must match.
- A run whose processes cannot be killed is `StuckError`; its record stays, so that it remains
  visible and owned.
"""

import logging
import os
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import trio

from trio_driver.linux import (
    ProcessId,
    boot_id,
    cgroup,
    descendants_of,
    identify,
    is_alive,
    open_pidfd,
    signal_pidfd,
)
from trio_driver.model import DriverError, Lost, executor_lost_line
from trio_driver.state.cgroups import cgroups_of_run
from trio_driver.state.directory import Run, StateDirectory
from trio_driver.state.fence import fence_owner, kill_fence_owner, remove_free_fence
from trio_driver.state.records import EventRecord, ExecutorRecord, ExitRecord, RecordError

LOGGER = logging.getLogger("trio_driver.state")

KILL_LIMIT_S = 5.0
"""How long SIGKILL may take before what is left is called stuck. Milliseconds are normal; a process
that dumps core or waits for a disk takes seconds."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.0005, 0.05
"""Pauses between passes, doubled each time: no descriptor tells that a cgroup and a stranger's
process are both gone."""


LOST_REASON = "the executor ended without telling how the task did"
"""Of a run whose executor was killed."""


class StuckError(DriverError):
    """Processes of a run outlive SIGKILL; the text names them. They stay owned and visible."""

    recoverable = True


@dataclass(frozen=True, slots=True)
class Remains:
    """What a pass of `kill_run` left: false when nothing did."""

    pids: tuple[int, ...] = ()
    cgroups: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.pids or self.cgroups)

    def __str__(self) -> str:
        parts = [f"pid {', '.join(map(str, self.pids))}"] if self.pids else []
        parts += [f"cgroup {path}" for path in self.cgroups]
        return ", ".join(parts) or "nothing"


def kill_run(run: Run) -> Remains:
    """One pass, without waiting: kill all that the run owns, and say what is still there.

    To be repeated until it returns nothing: a child that joined the cgroup behind the kill lives
    until the next pass, and only a removed cgroup makes joining fail.
    """
    try:
        record = run.read_executor()
    except RecordError:
        return _kill_unreadable(run)
    if record is None:
        return _kill_unrecorded_owner(run) if run.exists() else Remains()
    if record.boot_id != boot_id():
        return Remains()
    cgroups = kill_containment(record)
    executor = record.process
    if is_alive(executor):
        # With a cgroup, too: a process of root can leave it, and the spawner that would be left with it may be dead.
        _kill_descendants(executor)
        _kill(executor)
    return Remains((executor.pid,) if is_alive(executor) else (), cgroups)


def kill_cgroups(paths: Iterable[Path]) -> tuple[str, ...]:
    """Kill every process in the cgroups once and remove what is empty; those that are still there."""
    paths = list(paths)
    for path in paths:
        cgroup.kill(path)
    return tuple(str(path) for path in paths if not cgroup.remove_tree(path))


def kill_containment(record: ExecutorRecord) -> tuple[str, ...]:
    """Kill every process in the run's cgroup and remove what is empty; the cgroups that are still
    there."""
    containment = record.containment
    if containment is None or record.boot_id != boot_id():
        return ()
    try:
        if containment.kill_path:
            cgroup.kill(Path(containment.kill_path))
        return tuple(path for path in containment.own_paths if not cgroup.remove_tree(Path(path)))
    except OSError as error:
        LOGGER.error("cannot empty a cgroup: %s", error)
        return containment.own_paths


def kill_remains(run: Run) -> tuple[str, ...]:
    """As `kill_containment`, for a run whose record may be unreadable: its cgroups carry its name."""
    try:
        record = run.read_executor()
    except RecordError:
        return kill_cgroups(cgroups_of_run(run.name))
    return () if record is None else kill_containment(record)


async def end_run(run: Run, *, reason: str) -> ExitRecord | None:
    """Kill all that is left of the run, and record it as lost unless its executor recorded how it
    ended.

    Returns:
        The exit record that stands; None when the run has been destroyed meanwhile.

    Raises:
        StuckError: processes outlived SIGKILL by `KILL_LIMIT_S`.
    """
    await _kill_until_gone(run)
    return settle_run(run, reason=reason)


def settle_run(run: Run, *, reason: str) -> ExitRecord | None:
    """Record a run of which nothing lives as lost, unless a record says how it ended. Returns the
    one that stands.

    Raises:
        RecordError: there is an exit record, and it cannot be believed.
    """
    if (recorded := run.read_exit()) is not None:
        return recorded
    if (record := read_executor_or_none(run)) is None:
        if fence_owner(lock_path_of(run)) is None:
            run.remove()  # its executor died before it was anything
        return None
    commit = run.read_commit()
    lost = ExitRecord(
        exit=Lost(reason),
        started_at_s=commit.started_at_s if commit else None,
        ended_at_s=time.time(),
        boot_id=boot_id(),
    )
    try:
        if not run.write_exit(lost):
            return run.read_exit()
    except FileNotFoundError:
        return None
    if reason == LOST_REASON:
        line = executor_lost_line(executor_pid=record.pid)
        run.tell(EventRecord(lost.ended_at_s, line.message, dict(line.annotations)))
    run.tell_ended(lost)
    return lost


async def destroy_run(state: StateDirectory, run: Run) -> None:
    """Leave nothing of the run: no process, cgroup, socket, file. Does nothing when it is gone
    already.

    Raises:
        StuckError: processes outlived SIGKILL by `KILL_LIMIT_S`; the record stays.

    If cancelled, what was killed stays killed, and the record stays until the next call.
    """
    await _kill_until_gone(run)
    run.remove()
    remove_free_fence(state.lock_path(run.fence))


def remove_free_fences(state: StateDirectory) -> None:
    """Remove the lock files that no executor holds and no run has: a crash may leave them."""
    fences = {run.fence for run in state.runs()}
    for path in state.lock_paths():
        if path.name not in fences:
            remove_free_fence(path)


async def _kill_until_gone(run: Run) -> None:
    deadline = trio.current_time() + KILL_LIMIT_S
    for pause_s in _pauses():
        remains = kill_run(run)
        if not remains:
            return
        if trio.current_time() > deadline:
            raise StuckError(f"{remains} outlived SIGKILL by {KILL_LIMIT_S:.0f} s")
        await trio.sleep(pause_s)


def _pauses() -> Iterator[float]:
    pause_s = FIRST_PAUSE_S
    while True:
        yield pause_s
        pause_s = min(pause_s * 2, LONGEST_PAUSE_S)


def read_executor_or_none(run: Run) -> ExecutorRecord | None:
    """The executor's record; a torn one counts as none, for its executor never got as far as to own
    anything."""
    try:
        return run.read_executor()
    except RecordError:
        return None


def _kill_unrecorded_owner(run: Run) -> Remains:
    """Kill an executor that has the fence but no record yet: between the two it owns nothing
    else."""
    lock_path = lock_path_of(run)
    pid = fence_owner(lock_path)
    if pid is None or _has_record_elsewhere(run, pid):
        return Remains()
    return Remains((pid,)) if kill_fence_owner(lock_path) else Remains()


def _kill_unreadable(run: Run) -> Remains:
    """Kill a run whose record cannot be believed (a downgrade, a disk): what is its own carries its
    name."""
    kill_remains(run)  # before its executor, whose death others see
    owner = _kill_unrecorded_owner(run)
    return Remains(owner.pids, kill_remains(run))


def lock_path_of(run: Run) -> Path:
    """The lock of the run's task."""
    return run.path.parent.parent / "locks" / run.fence


def _has_record_elsewhere(run: Run, pid: int) -> bool:
    """Whether the holder of this run's fence is the executor of another run of the same task."""
    others = run.path.parent.glob(f"{run.fence}-*/executor.json")
    records = (read_executor_or_none(Run(path.parent, run.durable)) for path in others)
    return any(record is not None and record.pid == pid for record in records)


def _kill_descendants(executor: ProcessId) -> None:
    for pid in descendants_of(executor.pid):
        if (process := identify(pid)) is not None:
            _kill(process)


def _kill(process: ProcessId) -> None:
    try:
        pidfd = open_pidfd(process)
    except ProcessLookupError:
        return
    try:
        signal_pidfd(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)
