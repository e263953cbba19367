"""What of ours lives on this host: plugins, spawners, executors, workloads, and how runs ended.

Owns one look at a state directory and at /proc. It changes nothing, asks nobody, and is true only
for the moment: what ends meanwhile is shown as it was, or not.

Rules:
- Executors come from records, workloads from their cgroup or their ancestry, spawners from the
  locks that they hold. A plugin leaves no record: it is recognised by its name and cookie, which
  is good enough for showing it and for nothing else.

Must not know: how it is shown.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

import msgspec
import psutil

from trio_driver.goplugin import NOMAD_COOKIE_NAME
from trio_driver.linux import boot_id, cgroup, descendants_of, is_alive, parent_of
from trio_driver.model import describe_exit
from trio_driver.sdk import PLUGIN_NAME
from trio_driver.state import (
    ExecutorRecord,
    ExitRecord,
    RecordError,
    Run,
    RunState,
    StateDirectory,
    fence_owner,
)

STUCK = "stuck"
"""The executor is dead and processes of its workload are not."""

UNREADABLE = "unreadable"
"""A record is torn, foreign, or newer than this program."""


class ProcessView(msgspec.Struct, frozen=True, kw_only=True):
    """A process and what it runs; no command where that cannot be read."""

    pid: int
    parent: int | None
    command: tuple[str, ...] = ()
    pss_bytes: int | None = None
    """Memory, with a page that n processes share as 1/n of a page for each; None where that cannot be
    read."""


class SpawnerView(msgspec.Struct, frozen=True, kw_only=True):
    """A fork server of one build."""

    pid: int
    build: str
    pss_bytes: int | None = None


class RunView(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a task. Times are seconds since the epoch; None where unknown or not yet."""

    name: str
    state: str
    task: str = ""
    task_id: str = ""
    alloc_id: str = ""
    driver: str = ""
    executor_pid: int | None = None
    executor_pss_bytes: int | None = None
    spawner_pid: int | None = None
    plugin_pid: int | None = None
    containment: str | None = None
    workload: tuple[ProcessView, ...] = ()
    created_at_s: float | None = None
    ended_at_s: float | None = None
    outcome: str | None = None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. `plugin_pid` of a run may name a plugin that has been replaced."""

    state_dir: str
    plugins: tuple[ProcessView, ...] = ()
    spawners: tuple[SpawnerView, ...] = ()
    runs: tuple[RunView, ...] = ()


def take_snapshot(state: StateDirectory) -> Snapshot:
    """Look once."""
    return Snapshot(
        state_dir=str(state.path),
        plugins=tuple(_plugins()),
        spawners=tuple(_spawners(state.path)),
        runs=tuple(view_run(run) for run in state.runs()),
    )


def _plugins() -> list[ProcessView]:
    """Plugins that this user may look at, whatever their state directory."""
    found: list[ProcessView] = []
    for name in sorted(filter(str.isdecimal, os.listdir("/proc")), key=int):
        directory = Path("/proc", name)
        try:
            is_named = (directory / "comm").read_text().rstrip("\n") == PLUGIN_NAME
            if (
                is_named
                and f"{NOMAD_COOKIE_NAME}=".encode() in (directory / "environ").read_bytes()
            ):
                found.append(_process(int(name)))
        except OSError:
            continue  # it has ended, or belongs to somebody else
    return found


def _spawners(state_dir: Path) -> Iterator[SpawnerView]:
    for path in sorted(state_dir.glob("spawner-*.lock")):
        if (pid := fence_owner(path)) is not None:
            build = path.stem.removeprefix("spawner-")
            yield SpawnerView(pid=pid, build=build, pss_bytes=_pss_bytes(pid))


def view_run(run: Run) -> RunView:
    """One run as it is now."""
    try:
        record, ending, state = run.read_executor(), run.read_exit(), run.state()
    except RecordError:
        return RunView(name=run.name, state=UNREADABLE)
    label = "provisional" if state is None else state.value
    if record is None:
        return RunView(name=run.name, state=label, **_ending(ending))
    workload = () if state is RunState.ENDED else tuple(_workload(record))
    alive = record.boot_id == boot_id() and is_alive(record.process)
    return RunView(
        name=run.name,
        state=STUCK if state is RunState.LOST and workload else label,
        task=record.task_name,
        task_id=record.task_id,
        alloc_id=record.alloc_id,
        driver=record.driver,
        executor_pid=record.pid if alive else None,
        executor_pss_bytes=_pss_bytes(record.pid) if alive else None,
        spawner_pid=parent_of(record.pid) if alive else None,
        plugin_pid=record.plugin_pid,
        containment=record.containment.tier.value if record.containment else None,
        workload=workload,
        created_at_s=record.created_at_s,
        **_ending(ending),
    )


class _Ending(TypedDict):
    ended_at_s: float | None
    outcome: str | None


def _ending(record: ExitRecord | None) -> _Ending:
    if record is None:
        return {"ended_at_s": None, "outcome": None}
    outcome = describe_exit(record.exit) + (" (out of memory)" if record.oom_killed else "")
    return {"ended_at_s": record.ended_at_s, "outcome": outcome}


def _workload(record: ExecutorRecord) -> Iterator[ProcessView]:
    """The processes of the run but for its executor."""
    if record.boot_id != boot_id():
        return
    if record.containment is not None and record.containment.kill_path:
        pids = cgroup.procs(Path(record.containment.kill_path), recursive=True)
    else:
        pids = descendants_of(record.pid) if is_alive(record.process) else []
    for pid in sorted(pids):
        if pid != record.pid and parent_of(pid) is not None:
            yield _process(pid)


def _process(pid: int) -> ProcessView:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        words = []
    command = tuple(word.decode(errors="replace") for word in words[:-1])
    return ProcessView(pid=pid, parent=parent_of(pid), command=command, pss_bytes=_pss_bytes(pid))


def _pss_bytes(pid: int) -> int | None:
    try:
        return psutil.Process(pid).memory_full_info().pss
    except psutil.Error:
        return None  # it has ended, or belongs to somebody else
