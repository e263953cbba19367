"""`trio-driver ps`: the processes of ours on this host as one tree, or as JSON.

Must not know: how the facts are found.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from trio_driver.cli.snapshot import (
    STUCK,
    UNREADABLE,
    ProcessView,
    RunView,
    Snapshot,
    take_snapshot,
)
from trio_driver.cli.tasks import hint_of_root, open_state, state_path

STATE_STYLES: Mapping[str, str] = {
    "provisional": "yellow",
    "committed": "green",
    "ended": "dim",
    "lost": "red",
    STUCK: "bold red",
    UNREADABLE: "bold red",
}

FILE_COLUMNS = 250
"""Enough for every line: a file or pipe has no right edge."""

COMMAND_COLUMNS = 60
"""As much of a command line as tells it from others; `--json` has all of it."""


def show_processes(state_dir: str | None, *, as_json: bool) -> int:
    """Print what lives, from the state directory or the default one; returns the exit code.

    Raises:
        RunError: the directory cannot be read by this user.
    """
    path = state_path(state_dir)
    snapshot = look(path)
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(snapshot)).decode())
        return 0
    width = None if sys.stdout.isatty() else FILE_COLUMNS
    Console(highlight=False, width=width).print(tree_of(snapshot, now_s=time.time()))
    if not snapshot.runs and (hint := hint_of_root(path)):
        print(hint.strip(), file=sys.stderr)
    return 0


def look(path: Path) -> Snapshot:
    """A snapshot of `path`; an empty one when the directory does not exist. Makes nothing.

    Raises:
        RunError: the directory cannot be read by this user.
    """
    state = open_state(path, "ps")
    return Snapshot(state_dir=str(path)) if state is None else take_snapshot(state)


def tree_of(snapshot: Snapshot, *, now_s: float) -> Tree:
    """The tree for people: plugins, each spawner with its executors, then runs without one."""
    tree = Tree(Text(snapshot.state_dir, style="bold"))
    for plugin in snapshot.plugins:
        tree.add(_line("plugin", plugin.pid, short(plugin.command), plugin.pss_bytes))
    shown: set[str] = set()
    for spawner in snapshot.spawners:
        branch = tree.add(
            _line("spawner", spawner.pid, f"build {spawner.build}", spawner.pss_bytes)
        )
        for run in snapshot.runs:
            if run.spawner_pid == spawner.pid:
                shown.add(run.name)
                _add_run(branch, run, now_s)
    for run in snapshot.runs:
        if run.name not in shown:
            _add_run(tree, run, now_s)
    if not tree.children:
        tree.add(Text("nothing", style="dim"))
    return tree


def _add_run(tree: Tree, run: RunView, now_s: float) -> None:
    """An executor with its workload below it, or what is known of a run that has none."""
    text = Text()
    if run.executor_pid is not None:
        text.append_text(_line("executor", run.executor_pid))
    else:
        text.append("run", style="bold")
    text.append(f" {run.task or run.name}", style="bold" if run.task else "")
    text.append(f" {run.state}", style=STATE_STYLES.get(run.state, ""))
    if run.outcome is not None:
        text.append(f": {run.outcome}")
    since_s = run.created_at_s if run.ended_at_s is None else run.ended_at_s
    if since_s is not None:
        text.append(f" {age(now_s - since_s)}", style="dim")
    if run.alloc_id:
        text.append(f"  alloc {run.alloc_id[:8]}", style="dim")
    text.append_text(_memory(run.executor_pss_bytes))
    branch = tree.add(text)
    _add_processes(branch, run.workload, "workload")


def _add_processes(tree: Tree, processes: Sequence[ProcessView], label: str) -> None:
    """Processes below those of their parents that are shown, too."""
    branches: dict[int, Tree] = {}
    pending = list(processes)
    known = {process.pid for process in processes}
    while pending:
        process = pending.pop(0)
        if process.parent in branches:
            branch = branches[process.parent]
        elif process.parent in known:
            pending.append(process)
            continue
        else:
            branch = tree
        branches[process.pid] = branch.add(
            _line(
                label if branch is tree else "",
                process.pid,
                short(process.command),
                process.pss_bytes,
            )
        )


def _line(label: str, pid: int, detail: str = "", pss_bytes: int | None = None) -> Text:
    parts = [(f"{label} ", "bold") if label else "", str(pid), f"  {detail}" if detail else ""]
    return Text.assemble(*parts, _memory(pss_bytes))


def _memory(pss_bytes: int | None) -> Text:
    return Text("" if pss_bytes is None else f"  {pss_bytes / 1e6:.1f} MB", style="dim")


def short(command: Sequence[str]) -> str:
    """A command line on one line, cut where it gets long."""
    line = " ".join(" ".join(command).split())
    return line if len(line) <= COMMAND_COLUMNS else f"{line[: COMMAND_COLUMNS - 3]}..."


def age(seconds: float) -> str:
    """A time span for people: `12s`, `3m`, `5h`, `2d`."""
    for limit_s, unit_s, unit in ((120, 1, "s"), (7200, 60, "m"), (172800, 3600, "h")):
        if seconds < limit_s:
            return f"{max(int(seconds), 0) // unit_s}{unit}"
    return f"{int(seconds) // 86400}d"
