"""What in a state directory, and on the host for it, belongs to nobody that lives.

Rules:
- Looking changes nothing. Each finding brings the step that removes it, which looks again first.
- An executor that lives owns its run, a spawner or plugin that lives owns its files: they are left
  alone. A cgroup is ours if its maker noted this state directory with it.
- Cgroups are listed before runs are looked for: a run's directory is there before its cgroups are,
  and gone after they are.

Must not know: how findings are shown.
"""

import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from trio_driver.cli.tasks import NamedRun
from trio_driver.goplugin import stale_sockets
from trio_driver.linux import ForeignLockError, boot_id, cgroup, is_alive
from trio_driver.model import describe_exit
from trio_driver.spawner import files_of, remove_files, stale_builds
from trio_driver.state import (
    RECORD_LIFE_S,
    ExecutorRecord,
    ExitRecord,
    LaterRecordError,
    RecordError,
    Run,
    RunState,
    StateDirectory,
    Step,
    clear_under_fence,
    empty_step,
    fence_owner,
    remove_cgroup_step,
    remove_doomed,
    remove_step,
    run_cgroups,
    settle_step,
)

Fix = Callable[[], Awaitable[bool]]
"""Removes what was found; False when somebody owns it by now, so that nothing was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that nobody owns.

    `cure` is what the fix does, or, without a fix, what can be done about it.
    """

    kind: str
    what: str
    why: str
    cure: str
    fix: Fix | None = None

    @property
    def key(self) -> tuple[str, str]:
        """The same for the same thing in two looks."""
        return self.kind, self.what


def survey(state: StateDirectory) -> list[Finding]:
    """Look once. What is just coming or going may be among it: look twice."""
    cgroups = list(run_cgroups())
    runs = list(state.runs())
    found = [finding for run in runs for finding in _of_run(state, run)]
    found += _of_doomed(state)
    found += _of_locks(state)
    found += _of_spawners(state)
    found += _of_cgroups(state, cgroups)
    found += _of_sockets()
    return found


def _of_run(state: StateDirectory, run: Run) -> Iterator[Finding]:
    lock_path = state.lock_path(run.fence)
    try:
        run_state, record, ending = run.state(), run.read_executor(), run.read_exit()
    except RecordError as error:
        yield _unreadable(run, lock_path, error)
        return
    label = NamedRun(run, record).label
    match run_state:
        case RunState.LOST if record is not None:
            yield _lost(run, lock_path, record, label)
        case RunState.ENDED if ending is not None:
            yield from _ended(run, lock_path, record, ending, label)
        case RunState.PROVISIONAL if record is None:
            if _owner(lock_path) is None:
                yield Finding(
                    kind="run without a record",
                    what=str(run.path),
                    why="whoever made it has died before it owned anything",
                    cure="removes the directory",
                    fix=partial(
                        _clear, lock_path, partial(remove_step, run, _is_unowned), run.name
                    ),
                )
        case RunState.PROVISIONAL if record is not None and not is_alive(record.plugin):
            yield Finding(
                kind="uncommitted run",
                what=label,
                why=f"its plugin {record.plugin_pid} is dead, its executor {record.pid} lives",
                cure=f"nothing, it has an owner; trio-driver destroy {run.name} ends it",
            )
        case _:
            pass


def _owner(lock_path: Path) -> int | None:
    """Who holds a fence; 0 for somebody outside our pid namespace."""
    try:
        return fence_owner(lock_path)
    except ForeignLockError:
        return 0


async def _clear(lock_path: Path, step: Callable[[], Step], what: str) -> bool:
    return await clear_under_fence(lock_path, step, what=what) is Step.DONE


def _unreadable(run: Run, lock_path: Path, error: RecordError) -> Finding:
    owner = _owner(lock_path)
    is_later = isinstance(error, LaterRecordError)
    if is_later or owner is not None:
        why = f"{error}; its lock is held by pid {owner}" if owner is not None else str(error)
        cure = "nothing: fsck of that version knows it" if is_later else "nothing: it has an owner"
        return Finding(kind="unreadable record", what=str(run.path), why=why, cure=cure)
    return Finding(
        kind="unreadable record",
        what=str(run.path),
        why=f"{error}; nobody holds its lock",
        cure="kills what is left in the run's cgroups, removes them and the directory",
        fix=partial(_clear, lock_path, partial(remove_step, run, _is_unreadable), run.name),
    )


def _lost(run: Run, lock_path: Path, record: ExecutorRecord, label: str) -> Finding:
    pids = [pid for path in _own_cgroups(record) for pid in cgroup.procs(path, recursive=True)]
    killed = f"kills pid {', '.join(map(str, dict.fromkeys(pids)))}, " if pids else ""
    return Finding(
        kind="run without an executor",
        what=f"{label} ({run.path})",
        why=f"executor {record.pid} is dead and left no word how the task ended",
        cure=f"{killed}removes its cgroups, and records the run as lost for Nomad to ask",
        fix=partial(_clear, lock_path, partial(settle_step, run), run.name),
    )


def _ended(
    run: Run, lock_path: Path, record: ExecutorRecord | None, ending: ExitRecord, label: str
) -> Iterator[Finding]:
    left = _own_cgroups(record) if record is not None else []
    if record is not None and left and not is_alive(record.process):
        yield Finding(
            kind="remains of an ended run",
            what=label,
            why=f"it {describe_exit(ending.exit)}, and there still is {', '.join(map(str, left))}",
            cure="kills what is in there, and removes it",
            fix=partial(_clear, lock_path, partial(empty_step, run), run.name),
        )
    if _is_old(run):
        yield Finding(
            kind="old record",
            what=f"{label} ({run.path})",
            why=f"it {describe_exit(ending.exit)} more than a day ago, and nobody has asked",
            cure="removes the directory",
            fix=partial(_clear, lock_path, partial(remove_step, run, _is_old), run.name),
        )


def _own_cgroups(record: ExecutorRecord) -> list[Path]:
    """The cgroups of a run of this boot that there still are."""
    if record.containment is None or record.boot_id != boot_id():
        return []
    return [path for path in map(Path, record.containment.own_paths) if path.is_dir()]


def _is_unowned(run: Run) -> bool:
    return run.exists() and not run.has_executor_record()


def _is_unreadable(run: Run) -> bool:
    try:
        run.state()
    except RecordError as error:
        return not isinstance(error, LaterRecordError)
    return False


def _is_old(run: Run) -> bool:
    try:
        ending = run.read_exit()
    except RecordError:
        return False
    return ending is not None and time.time() - ending.ended_at_s > RECORD_LIFE_S


def _of_doomed(state: StateDirectory) -> Iterator[Finding]:
    for path in state.doomed_runs():
        pid = path.suffix.removeprefix(".")
        if pid.isdecimal() and not Path("/proc", pid).exists():

            async def fix(path: Path = path) -> bool:
                remove_doomed(path)
                return True

            yield Finding(
                kind="half removed run",
                what=str(path),
                why=f"process {pid}, which was removing it, is dead",
                cure="removes the rest",
                fix=fix,
            )


def _of_locks(state: StateDirectory) -> Iterator[Finding]:
    fences = {run.fence for run in state.runs()}
    for path in state.lock_paths():
        if path.name in fences or not path.is_file():
            continue
        if (owner := _owner(path)) is None:
            done = partial(_unless_run, state, path.name)
            yield Finding(
                kind="lock without a run",
                what=str(path),
                why="nobody holds it, and no run has it",
                cure="removes the file",
                fix=partial(_clear, path, done, path.name),
            )
        else:
            yield Finding(
                kind="executor without a run",
                what=f"pid {owner}",
                why=f"it holds {path}, and its run's directory has been removed",
                cure="nothing: it ends by itself within seconds, unless it is stopped",
            )


def _unless_run(state: StateDirectory, fence: str) -> Step:
    """The file itself is removed by whoever takes steps, when no run has it."""
    return Step.IN_USE if state.runs_of_fence(fence) else Step.DONE


def _of_spawners(state: StateDirectory) -> Iterator[Finding]:
    for build in stale_builds(state):

        async def fix(build: str = build) -> bool:
            return remove_files(state, build)

        yield Finding(
            kind="files of a dead spawner",
            what=", ".join(map(str, files_of(state, build))),
            why="nobody holds its lock",
            cure="removes them",
            fix=fix,
        )


def _of_cgroups(state: StateDirectory, cgroups: list[tuple[str, Path]]) -> Iterator[Finding]:
    ours = os.path.realpath(state.path)
    fences: set[str] | None = None
    for run_name, path in cgroups:
        run = state.run_named(run_name)
        owner = cgroup.owner(path)
        if run.exists() or not path.is_dir() or owner not in (None, ours):
            continue
        pids = cgroup.procs(path, recursive=True)
        members = f"with pid {', '.join(map(str, pids))}" if pids else "empty"
        if owner == ours:
            step = partial(remove_cgroup_step, run, path)
            yield Finding(
                kind="cgroup without a run",
                what=str(path),
                why=f"{members}; its run's directory is gone",
                cure="kills what is in there, and removes it",
                fix=partial(_clear, state.lock_path(run.fence), step, str(path)),
            )
            continue
        fences = _held_fences() if fences is None else fences
        if run.fence not in fences:
            yield Finding(
                kind="cgroup without an owner",
                what=str(path),
                why=f"{members}; it has no note of a state directory, and no executor has it",
                cure=f"nothing, it may be another state directory's; by hand: {_by_hand(path)}",
            )


def _by_hand(path: Path) -> str:
    kill = f"echo 1 > {path}/cgroup.kill && " if (path / "cgroup.kill").exists() else ""
    return f"{kill}rmdir {path}"


def _held_fences() -> set[str]:
    """The names of all lock files that any executor on this host has open, as far as we may look."""
    held: set[str] = set()
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            if not Path("/proc", name, "comm").read_text().startswith("trio-"):
                continue
            fds = [os.readlink(path) for path in Path("/proc", name, "fd").iterdir()]
        except OSError:
            continue  # it has ended, or belongs to somebody else
        held |= {Path(fd).name for fd in fds if Path(fd).parent.name == "locks"}
    return held


def _of_sockets() -> Iterator[Finding]:
    for path in stale_sockets(PurePosixPath(tempfile.gettempdir())):

        async def fix(path: Path = path) -> bool:
            path.unlink(missing_ok=True)
            return True

        yield Finding(
            kind="socket of a dead plugin",
            what=str(path),
            why="nobody listens there",
            cure="removes the file",
            fix=fix,
        )
