"""Clearing what nobody owns, beside plugins and executors that live.

Rules:
- Each step is taken while the task's fence is held, and looks again first whether it may be taken:
  an executor that came meanwhile has the fence, and nothing happens to it.
- The fence is let go between steps. A plugin that starts the task kills whoever holds its fence: it
  kills us then, between two system calls of a step that may be repeated.
- A step opens no lock file: closing it would drop the fence.
"""

import enum
from collections.abc import Callable
from pathlib import Path

import trio

from trio_driver.state.directory import Run, RunState
from trio_driver.state.fence import try_hold_fence
from trio_driver.state.reaper import (
    KILL_LIMIT_S,
    LOST_REASON,
    StuckError,
    kill_cgroups,
    kill_containment,
    kill_remains,
    settle_run,
)
from trio_driver.state.records import RecordError

PAUSE_S = 0.01
"""Between two steps: a killed process takes a moment to go."""


class Step(enum.Enum):
    """What came of one step."""

    DONE = "done"
    AGAIN = "again"
    IN_USE = "in use"
    """Somebody owns it by now: left alone."""


async def clear_under_fence(lock_path: Path, step: Callable[[], Step], *, what: str) -> Step:
    """Take `step` under the fence until it is done, or somebody else owns what it is for.

    Raises:
        StuckError: `what` is still there after `KILL_LIMIT_S`.
    """
    with trio.move_on_after(KILL_LIMIT_S):
        while True:
            result = _take(lock_path, step)
            if result is not Step.AGAIN:
                return result
            await trio.sleep(PAUSE_S)
    raise StuckError(f"{what} is still there {KILL_LIMIT_S:.0f} s after SIGKILL")


def _take(lock_path: Path, step: Callable[[], Step]) -> Step:
    if not lock_path.parent.is_dir():
        return step()  # there is no state directory, so nobody has anything in it
    with try_hold_fence(lock_path) as is_held:
        result = step() if is_held else Step.IN_USE
        if result is Step.DONE and not _has_runs(lock_path):
            lock_path.unlink(missing_ok=True)
    return result


def settle_step(run: Run) -> Step:
    """Kill what a dead executor left, and record its run as lost."""
    try:
        if run.state() is not RunState.LOST or (record := run.read_executor()) is None:
            return Step.IN_USE
        if kill_containment(record):
            return Step.AGAIN
        settle_run(run, reason=LOST_REASON)
    except RecordError:
        return Step.IN_USE
    return Step.DONE


def empty_step(run: Run) -> Step:
    """Kill what is left of a run that has ended; its records stay."""
    try:
        if run.state() is not RunState.ENDED or (record := run.read_executor()) is None:
            return Step.IN_USE
    except RecordError:
        return Step.IN_USE
    return Step.AGAIN if kill_containment(record) else Step.DONE


def remove_step(run: Run, is_stale: Callable[[Run], bool]) -> Step:
    """Remove a run that `is_stale`, with what is left of it."""
    if not is_stale(run):
        return Step.IN_USE
    if kill_remains(run):
        return Step.AGAIN
    run.remove()
    return Step.DONE


def remove_cgroup_step(run: Run, path: Path) -> Step:
    """Remove a cgroup whose `run` has no directory, and kill what is in it."""
    if run.exists():
        return Step.IN_USE
    return Step.AGAIN if kill_cgroups([path]) else Step.DONE


def _has_runs(lock_path: Path) -> bool:
    """Whether a run of the fence is on disk, ended or not."""
    return any((lock_path.parent.parent / "runs").glob(f"{lock_path.name}-*"))
