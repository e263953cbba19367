"""`trio-driver destroy`: leave nothing of a task, from disk alone, with or without a plugin.

Rules:
- All names are looked up before anything is ended: one that is wrong ends nothing.
- What was ended is told as it was just before.

Must not know: how a run is ended.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
import trio

from trio_driver.cli.errors import CommandError
from trio_driver.cli.snapshot import RunView, view_run
from trio_driver.cli.tasks import NamedRun, find_all, named_runs, open_state, state_path
from trio_driver.linux import is_alive
from trio_driver.state import StateDirectory, StuckError, destroy_run


class NotConfirmedError(CommandError):
    """Nobody said that all tasks shall end."""

    exit_code = 2


class Destroyed(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one run. `state` and all that follows is how it was before."""

    task: str
    task_id: str
    run: str
    is_gone: bool
    error: str = ""
    state: str
    executor_pid: int | None
    workload_pids: tuple[int, ...]
    cgroups: tuple[str, ...]


def destroy_tasks(
    words: Sequence[str], state_dir: str | None, *, every: bool, is_sure: bool, as_json: bool
) -> int:
    """Destroy the named runs, or all; returns the exit code: 1 when something is left.

    Args:
        every: all runs of the state directory.
        is_sure: do not ask whether really all.

    Raises:
        TaskNameError: a word names no run, or several; nothing was ended.
        NotConfirmedError: all were meant, and nobody confirmed it.
    """
    state = open_state(state_dir, "destroy")
    runs = named_runs(state)
    if not every:
        runs = find_all(words, runs, state_path(state_dir))
    elif runs and not is_sure:
        _confirm(runs, state_path(state_dir))
    if state is None or not runs:
        print("[]" if as_json else f"there are no tasks in {state_path(state_dir)}")
        return 0
    nomad_sees_it = any(_has_plugin(named) for named in runs)
    results = trio.run(_destroy_all, state, runs)
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(results)).decode())
    else:
        _tell(results, nomad_sees_it=nomad_sees_it)
    return 0 if all(result.is_gone for result in results) else 1


def _confirm(runs: Sequence[NamedRun], where: Path) -> None:
    question = f"destroy all {len(runs)} tasks in {where}"
    if not sys.stdin.isatty():
        raise NotConfirmedError(f"destroy: --all ends everything: add --yes to {question}")
    click.confirm(f"{question}?", abort=True)


async def _destroy_all(state: StateDirectory, runs: Sequence[NamedRun]) -> list[Destroyed]:
    results: list[Destroyed] = []
    for named in runs:
        view = view_run(named.run)
        cgroups = tuple(path for path in _own_cgroups(named) if Path(path).is_dir())
        error = ""
        try:
            await destroy_run(state, named.run)
        except StuckError as stuck:
            error = str(stuck)
        results.append(_result(named, view, cgroups, error))
    return results


def _own_cgroups(named: NamedRun) -> tuple[str, ...]:
    containment = named.record.containment if named.record is not None else None
    return containment.own_paths if containment is not None else ()


def _has_plugin(named: NamedRun) -> bool:
    """Whether the plugin that started the run lives; one that took it over leaves no trace here."""
    return named.record is not None and named.is_live and is_alive(named.record.plugin)


def _result(named: NamedRun, view: RunView, cgroups: tuple[str, ...], error: str) -> Destroyed:
    return Destroyed(
        task=named.label,
        task_id=view.task_id,
        run=named.run.name,
        is_gone=not error,
        error=error,
        state=view.state if view.outcome is None else f"{view.state}: {view.outcome}",
        executor_pid=view.executor_pid,
        workload_pids=tuple(process.pid for process in view.workload),
        cgroups=cgroups,
    )


def _tell(results: Sequence[Destroyed], *, nomad_sees_it: bool) -> None:
    for result in results:
        if result.error:
            print(f"trio-driver: not destroyed: {result.task}: {result.error}", file=sys.stderr)
        else:
            print(f"destroyed {result.task} ({result.state}): {_what_ended(result)}")
    if nomad_sees_it:
        print(
            "their plugin lives: Nomad sees a task that ran as lost, and may start it again "
            "(`nomad alloc stop` ends one for good)",
            file=sys.stderr,
        )


def _what_ended(result: Destroyed) -> str:
    parts = ["its records"]
    if result.executor_pid is not None:
        parts.append(f"executor {result.executor_pid}")
    if result.workload_pids:
        word = "process" if len(result.workload_pids) == 1 else "processes"
        parts.append(f"{word} {', '.join(map(str, result.workload_pids))}")
    parts += [f"cgroup {path}" for path in result.cgroups]
    return ", ".join(parts)
